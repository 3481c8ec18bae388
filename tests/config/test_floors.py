"""Who may import whom: import-linter's contracts of pyproject.toml hold, and each of them can break."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.config.tree import ROOT


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    paths = os.pathsep.join([str(folder), str(folder / "kernels")])
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}
    )


def test_every_contract_is_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_breaks_when_a_wrong_import_is_planted(tmp_path: Path) -> None:
    for part in ("rrl", "kernels", "pyproject.toml"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tmp_path / part)
    planted = {
        "rrl/replay/planted.py": "import torch",                    # replay sees plain tokens
        "rrl/report/planted.py": "import torch",                    # a report opens without torch
        "rrl/objective/planted.py": "import rrl.value",             # rooms of one floor
        "rrl/value/planted.py": "import rrl_kernels\nimport triton",   # kernels through ops; triton in kernels only
        "kernels/rrl_kernels/planted.py": "import rrl.types",       # kernels stand alone
    }
    for name, line in planted.items():
        (tmp_path / name).write_text(line + "\n")
    loop = tmp_path / "rrl" / "loop.py"
    loop.write_text(loop.read_text() + "\nimport rrl.policy\n")     # the loop knows doors

    done = lint(tmp_path)

    assert done.returncode == 1
    verdicts = [line for line in done.stdout.splitlines() if line.endswith((" KEPT", " BROKEN"))]
    assert len(verdicts) == 7 and all(line.endswith(" BROKEN") for line in verdicts), done.stdout
