"""Configs of other people's folders: nothing that stands in one is built, imported or read unless somebody vouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from rrl.hydra_node import check
from rrl.stored import VARIABLE, from_plain, from_yaml, running_code
from rrl.targets import VARIABLE as TARGETS
from tests.e2e.commands import Answer, many

EVIL = {"_target_": "os.system", "command": "true"}


@pytest.fixture
def node() -> dict[str, Any]:
    """Hydra's part of our own config, unresolved."""
    with initialize_config_module("rrl.conf", version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", return_hydra_config=True), resolve=False)
    assert isinstance(plain, dict)
    found: dict[str, Any] = plain["hydra"]
    return found


def put(node: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split("/")
    for part in path:
        node = node.setdefault(part, {})
    node[last] = value


def test_our_own_is_let_build(node: dict[str, Any]) -> None:
    check(node)
    for target in ("hydra_plugins.rrl_launchers.SlurmLauncher", "hydra_plugins.hydra_optuna_sweeper.x.Sweeper"):
        node["launcher"] = {"_target_": target, "folder": "${hydra.sweep.dir}/x", "partition": "${oc.env:USER}"}
        check(node)


@pytest.mark.parametrize(("dotted", "value"), [
    ("callbacks/evil", EVIL), ("callbacks/evil", "${evil}"), ("callbacks", "${evil}"),
    ("callbacks/report/more", EVIL), ("callbacks/report/more", "${evil}"), ("callbacks/report/more", [EVIL]),
    ("callbacks/report/more", "${oc.decode:'{_target_: os.system}'}"), ("callbacks/report/_target_", "${evil}"),
    ("callbacks/report/_target_", "rrl.report.callback.MultirunReport.__init__"),
    ("callbacks/report/_target_", "rrl.durable.discard"), ("callbacks/report/_target_", "hydra.utils.instantiate"),
    ("callbacks/report/_target_", ["os.system"]),
    ("launcher/_target_", "os.system"), ("launcher/args", EVIL), ("launcher/args", {"a": {"b": EVIL}}),
    ("sweeper/_target_", "subprocess.Popen"), ("sweeper/params", EVIL), ("sweeper/params", "${evil}"),
    ("job/config", EVIL), ("help", EVIL),
    ("job_logging/handlers/file/class", "os.system"), ("job_logging/handlers/file/()", "os.system"),
    ("job_logging/formatters/simple/()", "${evil}"), ("job_logging/handlers", "${evil}"),
    ("job_logging/handlers/console/stream", "ext://os.environ"), ("job_logging/handlers/console/stream", "${.x}//os.x"),
    ("job_logging/handlers/file/filename", "/etc/profile"),
    ("job_logging/handlers/file/filename", "${hydra.runtime.output_dir}/../../.profile"),
    ("job_logging/handlers/file/filename", "ext://os.x"), ("hydra_logging/filters/x/()", "os.system"),
    ("hydra_logging", EVIL), ("hydra_logging/loggers/x/handlers", ["ext://evil.x"]),
    ("job/env_set", {"LD_PRELOAD": "/lib/x.so"}), ("job/env_set", {"RRL_TARGETS": "os."}),
    ("job/env_set", {"PYTHONPATH": "/tmp"}), ("job/env_set", {VARIABLE: "1"}), ("job/env_set", {"WANDB_BASE_URL": "x"}),
])  # fmt: skip
def test_anything_else_is_refused_by_its_key(node: dict[str, Any], dotted: str, value: Any) -> None:
    put(node, dotted, value)
    with pytest.raises(ValueError, match=rf"^hydra\.{dotted.split('/')[0]}.*; "):
        check(node)


def test_threads_and_devices_may_be_set(node: dict[str, Any]) -> None:
    node["job"]["env_set"] = {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "0", "TOKENIZERS_PARALLELISM": "false"}
    check(node)


def test_a_package_that_the_user_vouches_for_is_let_build(
    node: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    node["callbacks"]["mine"] = {"_target_": "mine.Callback"}
    monkeypatch.setenv(TARGETS, "mine")
    check(node)
    node["callbacks"]["mine"] = {"_target_": "mines.Callback"}
    with pytest.raises(ValueError, match="hydra.callbacks.mine._target_ is 'mines.Callback'"):
        check(node)


# ------------------------------------------------------------------------------------------ through the command


BAD_FILES = {
    "callback": "hydra: {callbacks: {evil: {_target_: builtins.open, file: '{}', mode: w}}}",
    "logging": "hydra: {job_logging: {handlers: {evil: {'()': builtins.open, file: '{}', mode: w}}}}",
    "early": "hydra: {hydra_logging: {handlers: {evil: {'()': builtins.open, file: '{}', mode: w}}}}",
    "preload": "hydra: {job: {env_set: {LD_PRELOAD: '{}'}}}",
    "secret": "name: ${oc.env:MY_SECRET}",
    "tag": "name: !!python/object/apply:builtins.open ['{}', w]",
    "decoded": "seed: ${oc.decode:\"__import__('os').system('touch {}')\"}",
    "deep": "seed: " + "[" * 3000,
    "torn": "hydra: {",
    "binary": "name: \x01",
    "target": "replay: {selection: {_target_: os.system}}",
}


def test_a_colleagues_experiment_runs_nothing_and_is_one_line(tmp_path: Path) -> None:
    folder, marker = tmp_path / "theirs" / "experiment", tmp_path / "ran"
    folder.mkdir(parents=True)
    for name, text in BAD_FILES.items():
        (folder / f"{name}.yaml").write_text("# @package _global_\n" + text.replace("'{}'", f"'{marker}'"))
    lines = [[f"--config-dir={folder.parent}", f"experiment={name}", "tracker=[]"] for name in BAD_FILES]
    lines += [["-m", *lines[1][:1], "experiment=ppo,logging", "tracker=[]", "run.token_budget=1"]]
    answers = many(tmp_path, "rrl-train", lines)
    for name, answer in zip([*BAD_FILES, "sweep"], answers, strict=True):
        check_answer(name, answer)
    assert not marker.exists()


def check_answer(name: str, answer: Answer) -> None:
    assert answer.code == 1, (name, answer)
    assert answer.err.startswith("rrl-train: ") and answer.err.count("\n") == 1, (name, answer.err)
    assert "Traceback" not in answer.out, name


def test_debug_shows_the_traceback_and_stands_anywhere(tmp_path: Path) -> None:
    plain, first, last = many(tmp_path, "rrl-train", [["seed=-1"], ["--debug", "seed=-1"], ["seed=-1", "--debug"]])
    assert plain.err == "rrl-train: seed is -1; expected an integer >= 0\n"
    for answer in (first, last):
        assert answer.code == 1 and "Traceback (most recent call last)" in answer.err
        assert answer.err.endswith(plain.err)


@pytest.mark.parametrize(("program", "argv"), [
    ("rrl-train", ["seed=-1"]), ("rrl-eval", ["checkpoint=none"]), ("rrl-reward", ["seed=0"]),
])  # fmt: skip
def test_every_hydra_command_has_it(tmp_path: Path, program: str, argv: list[str]) -> None:
    module = {"rrl-reward": "rrl-reward_models"}.get(program, program)
    plain, debugged = many(tmp_path, module, [argv, [*argv, "--debug"]])
    assert plain.code == debugged.code == 1 and "Traceback" not in plain.err and "Traceback" in debugged.err


@pytest.mark.parametrize(("main", "argv"), [
    ("rrl.report.cli", ["{}/none"]), ("rrl.review", ["{}/none"]), ("rrl.store_cli", ["stats", "{}/none"]),
    ("rrl.search.cli", ["none"]), ("rrl.sweep.cli", ["x", "-j", "2", "--sweeps", "{}"]),
])  # fmt: skip
def test_every_other_command_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], main: str, argv: list[str]
) -> None:
    import importlib

    (tmp_path / "x.yaml").write_text("mode: MULTIRUN\nhydra: 7\n")   # a sweep that is none
    argv, run = [word.format(tmp_path) for word in argv], importlib.import_module(main).main
    for given, traced in ((argv, False), ([*argv, "--debug"], True), (["--debug", *argv], True)):
        monkeypatch.setenv("RRL_DEBUG", "0")
        assert run(given) == 1
        said = capsys.readouterr().err
        assert ("Traceback" in said) == traced and said.splitlines()[-1].startswith("rrl-"), said


# ---------------------------------------------------------------------------------------- configs out of files of ours


def test_a_stored_config_is_taken_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "hunter2")
    said = {"name": "${oc.env:MY_SECRET}", "list": ["\\${seed}", "a${"], "seed": 3}
    assert OmegaConf.to_container(from_plain(said, "x"), resolve=True) == said
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(said))
    assert OmegaConf.to_container(from_yaml(tmp_path / "config.yaml"), resolve=True) == said


@pytest.mark.parametrize(("dotted", "value", "what"), [
    ("policy/trust_remote_code", True, "code in a model's folder"), ("a/b/c/trust_remote_code", "yes", "code in"),
    ("task/grader/sandbox/unsafe", True, "programs without a sandbox"),
    ("task/grader/sandbox/package_paths", ["/tmp"], "modules of other folders"),
])  # fmt: skip
def test_a_stored_config_cannot_decide_that_strangers_code_runs(
    monkeypatch: pytest.MonkeyPatch, dotted: str, value: Any, what: str
) -> None:
    said: dict[str, Any] = {}
    put(said, dotted, value)
    key = dotted.replace("/", ".")
    with pytest.raises(ValueError, match=f"c: its config has {key}, which runs {what}.* set {VARIABLE}=1"):
        from_plain(said, "c")
    assert running_code(said) == [key]
    from_plain(said, "c", granted=[key])
    monkeypatch.setenv(VARIABLE, "1")
    from_plain(said, "c")


def test_a_bomb_of_aliases_and_a_tag_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    for text in ("\n".join(lines), "a: !!python/object/apply:os.system [true]", "[" * 5000, "- 1", "\xff", "7: 8"):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ValueError, match="config.yaml") as caught:
            from_yaml(tmp_path / "config.yaml")
        assert "\n" not in str(caught.value)
