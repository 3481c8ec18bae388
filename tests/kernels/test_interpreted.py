"""The Triton kernels' arithmetic on a machine without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "interpreted" / "rows_and_scans.py"


def test_every_kernel_in_the_interpreter_equals_the_truth():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.split() == ["96", "cases"], done.stdout
