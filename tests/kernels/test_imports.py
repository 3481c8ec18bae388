"""What importing the kernels may and may not drag in."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _said(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_public_operations_imports_no_triton_and_running_them_on_a_cpu_imports_no_kernel():
    code = (
        "import sys, torch, rrl_kernels.api as api\n"
        "print('triton' in sys.modules)\n"
        "api.logprob_entropy(torch.zeros(2, 3), torch.tensor([0, 2]))\n"  # here torch itself imports triton
        "print([m for m in sys.modules if m.startswith('rrl_kernels') and 'triton' in m])"
    )
    assert _said(code, ROOT) == "False\n[]"


def test_the_kernels_folder_is_not_taken_for_the_hub_client_of_that_name(tmp_path):
    assert not (ROOT / "kernels/__init__.py").exists()
    code = "from transformers.utils import is_kernels_available as a; print(a())"
    assert _said(code, ROOT) == _said(code, tmp_path)
