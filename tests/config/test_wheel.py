"""The built wheel holds what the tree holds: every YAML, every package, the licence."""

from __future__ import annotations

import os
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
    sweeps = ROOT / "sweeps"
    plugins = {p.relative_to(sweeps).as_posix() for p in (sweeps / "hydra_plugins").rglob("*.py")}
    assert samples and plugins and rrl | kernels | assets | samples | plugins <= set(wheel.namelist())
    assert "hydra_plugins/__init__.py" not in wheel.namelist()


@pytest.mark.slow
def test_hydra_finds_the_launchers_of_an_installed_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]; "
        "from hydra import compose, initialize_config_module; from hydra.core.plugins import Plugins; "
        "import hydra_plugins.rrl_launchers as ours; from hydra.plugins.launcher import Launcher; "
        "print(ours.__file__); "
        "print('ProcLauncher' in [c.__name__ for c in Plugins.instance().discover(Launcher)]);\n"
        "with initialize_config_module('rrl.conf', version_base='1.3'):\n"
        "    print(compose('train', ['hydra/launcher=proc'], return_hydra_config=True).hydra.launcher._target_)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    path, found, target = done.stdout.split()
    assert Path(path).is_relative_to(tmp_path) and found == "True"
    assert target == "hydra_plugins.rrl_launchers.ProcLauncher"


@pytest.mark.slow
def test_the_wheel_installs_the_commands_and_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    names = {Path(n).name: n for n in wheel.namelist() if ".dist-info/" in n}
    assert "rrl-train = rrl.train:main" in wheel.read(names["entry_points.txt"]).decode()
    assert wheel.read(names["LICENSE"]) == (ROOT / "LICENSE").read_bytes()
