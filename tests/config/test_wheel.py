"""The built wheel holds what the tree holds: every YAML, every package, the licence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.config.tree import ROOT, files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    # A copy of what git would ship: setuptools leaves build/ behind, and a stale build/ would hide a missing file.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.mark.slow
def test_the_wheel_has_every_yaml_of_the_tree_with_the_same_content(wheel: zipfile.ZipFile) -> None:
    conf = ROOT / "conf"
    tree = {f"rrl/conf/{p.relative_to(conf).as_posix()}": p.read_bytes() for p in conf.rglob("*.yaml")}
    shipped = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".yaml")}
    assert shipped == tree


@pytest.mark.slow
def test_the_wheel_has_every_module_and_asset_of_the_tree(wheel: zipfile.ZipFile) -> None:
    rrl = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rrl").rglob("*.py")}
    kernels = {p.relative_to(ROOT / "kernels").as_posix() for p in (ROOT / "kernels" / "rrl_kernels").rglob("*.py")}
    assets = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rrl" / "report").glob("assets/*")}
    samples = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rrl" / "task" / "samples").glob("*.jsonl")}
    assert samples and rrl | kernels | assets | samples <= set(wheel.namelist())


@pytest.mark.slow
def test_the_wheel_installs_the_commands_and_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    names = {Path(n).name: n for n in wheel.namelist() if ".dist-info/" in n}
    assert "rrl-train = rrl.train:main" in wheel.read(names["entry_points.txt"]).decode()
    assert wheel.read(names["LICENSE"]) == (ROOT / "LICENSE").read_bytes()
