"""Data never becomes code: no pickles, no eval, no code from a model's folder, no class that nobody vouched for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rrl import build
from rrl.targets import VARIABLE, check_target
from tests.config.tree import ROOT

SOURCES = [p for part in ("rrl", "kernels/rrl_kernels", "sweeps") for p in sorted((ROOT / part).rglob("*.py"))]
NAMES = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle": {"load", "loads", "Unpickler"}, "marshal": {"load", "loads"}, "shelve": {"open"},
           "dill": {"load", "loads"}, "cloudpickle": {"load", "loads"}, "joblib": {"load"},
           "yaml": {"load", "load_all", "unsafe_load", "full_load"}, "os": {"system", "popen"}}
KNOWN = {   # file -> what it may call, and why that is no way in
    "rrl/pretrained.py": {"from_pretrained"},              # asks for code of the model's own only where the config does
    "rrl/sandbox/guest.py": {"exec", "compile"},           # the program under judgement, behind all walls
    "rrl/task/grade/arithmetic.py": {"eval"},              # of what ``checked`` let through: numbers and signs
    "rrl/task/grade/worker.py": {"pickle.loads"},          # from the pipe of the process that started it
}


def dangerous(tree: ast.AST) -> set[str]:
    """Calls that turn data into code."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, keywords = node.func, {k.arg: k.value for k in node.keywords}
        if isinstance(called, ast.Name) and called.id in NAMES:
            found.add(called.id)
        if not isinstance(called, ast.Attribute):
            continue
        owner = called.value.id if isinstance(called.value, ast.Name) else ""
        if called.attr in MODULES.get(owner, set()):
            found.add(f"{owner}.{called.attr}")
        if owner == "torch" and called.attr == "load" and not is_constant(keywords.get("weights_only"), True):
            found.add("torch.load")
        if owner in ("np", "numpy") and called.attr == "load" and not is_constant(keywords.get("allow_pickle"), False):
            found.add("np.load")
        if called.attr == "from_pretrained" or owner.startswith("Auto") and called.attr == "from_config":
            found.add(called.attr)
        if is_constant(keywords.get("shell"), True):
            found.add("shell=True")
    return found


def is_constant(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_source_turns_data_into_code() -> None:
    found = {str(p.relative_to(ROOT)): dangerous(ast.parse(p.read_text())) for p in SOURCES}
    assert len(found) > 200
    assert {name: calls for name, calls in found.items() if calls} == KNOWN


@pytest.mark.parametrize("line", [
    "pickle.loads(x)", "eval(x)", "exec(x)", "yaml.load(x)", "torch.load(x)", "torch.load(x, weights_only=False)",
    "np.load(x)", "AutoModel.from_pretrained(x)", "cls.from_pretrained(x)", "AutoModel.from_config(x)",
    "subprocess.run(x, shell=True)", "os.system(x)",
])  # fmt: skip
def test_each_of_them_would_be_found(line: str) -> None:
    assert dangerous(ast.parse(line))


@pytest.mark.parametrize("line", [
    "torch.load(x, weights_only=True)", "np.load(x, allow_pickle=False)", "model.eval()", "yaml.safe_load(x)",
    "json.loads(x)",
])  # fmt: skip
def test_the_safe_forms_are_not(line: str) -> None:
    assert not dangerous(ast.parse(line))


# ------------------------------------------------------------------------------------------ _target_


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "builtins.eval", "rrlx.evil.Class", "torch.load"])
def test_a_class_of_nobody_we_know_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=f"replay.selection._target_ is '{target}', which is not imported"):
        build.make({"_target_": target}, "replay.selection")
    with pytest.raises(ValueError, match="is not imported"):
        build.check({"replay": {"selection": {"_target_": target, "command": "true"}}})


@pytest.mark.parametrize("target", ["", "os", 7, None, "rrl..x", "rrl.x;y", ["rrl.x"]])
def test_what_is_no_dotted_name_is_refused(target: object) -> None:
    with pytest.raises(ValueError, match=r"policy._target_ is .*; expected the dotted name of a class"):
        check_target(target, "policy")


def test_a_package_that_the_user_vouches_for_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mine, theirs.part.")
    assert check_target("mine.selection.Own", "k") == "mine.selection.Own"
    assert check_target("theirs.part.X", "k") == "theirs.part.X"
    for other in ("mines.X", "theirs.other.X", "tests.X"):
        with pytest.raises(ValueError, match="under rrl., mine, theirs.part. only"):
            check_target(other, "k")


def test_a_hostile_target_runs_nothing_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    code = "import sys; sys.path.insert(0, '.'); from rrl.train import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "replay.selection._target_=evil.Evil", "hydra.run.dir=run"], cwd=tmp_path,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and not (tmp_path / "ran").exists()
    line = done.stderr.strip()
    assert line.startswith("rrl-train: replay.selection._target_ is 'evil.Evil'") and "\n" not in line
