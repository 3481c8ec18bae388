"""Which wall this machine can have: the strongest that starts and holds under a real attack, else a refusal by name."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rrl.sandbox.syscalls import NUMBERS

Wall = Literal["bwrap", "sealed", "unsafe"]
"""bwrap: sealed inside bubblewrap's namespaces.  sealed: limits, Landlock where there is one, filter of calls.
unsafe: limits alone."""

_ROOT = Path(__file__).parents[2]
_INSIDE = "/sandbox"  # where the zygote's code is mounted


class SandboxUnavailable(ValueError):
    """Programs cannot be run safely here, as the config asks; says what is missing and what can be done."""


def possible(wanted: Literal["auto", "bwrap", "sealed"], unsafe: bool) -> list[Wall]:
    """Walls to try, best first.

    Args:
      wanted: auto = the best there is; or one by name, and no other.
      unsafe: after all others, none.
    Raises:
      SandboxUnavailable: not even a zygote can run here.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in NUMBERS:
        raise SandboxUnavailable(
            f"this is {sys.platform} on {machine}; programs are run on Linux on {' or '.join(NUMBERS)} only, also with "
            "unsafe=true. Train on such a machine, or choose a task that runs no programs"
        )
    if unsafe:
        return ["unsafe"]
    if wanted != "auto":
        return [wanted]
    return ["bwrap", "sealed"] if shutil.which("bwrap") else ["sealed"]


def command(wall: Wall, packages: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Starts a zygote behind ``wall``.

    Args:
      packages: modules that programs may import besides the standard library's.
      paths: folders that hold them.
    """
    root = _INSIDE if wall == "bwrap" else str(_ROOT)
    code = (
        # Behind the standard library's: this folder may be a site-packages with modules of any name.
        f"import sys; sys.path.append({root!r}); from rrl.sandbox.zygote import serve; sys.path.pop(); "
        f"sys.path += {list(paths)!r}; serve({{fd}}, {wall != 'unsafe'}, {tuple(packages)!r})"
    )
    # The base interpreter without site: no .pth files, no user's packages. -B: it writes nothing.
    python = [getattr(sys, "_base_executable", None) or sys.executable, "-P", "-s", "-S", "-B", "-c", code]
    return python if wall != "bwrap" else [*_bwrap(paths), *python]


def _bwrap(paths: Sequence[str]) -> list[str]:
    """No network, no other process, no home: the interpreter and this package, read-only."""
    package = _ROOT / "rrl"
    read_only = [sys.base_prefix, *paths]
    return [
        shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--disable-userns",
        "--new-session", "--clearenv", "--setenv", "PYTHONHASHSEED", "0", "--setenv", "OPENBLAS_NUM_THREADS", "1",
        "--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--cap-drop", "ALL",
        *_mounted("/usr/lib"), "--ro-bind-try", "/usr/lib64", "/usr/lib64",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--proc", "/proc", "--dev", "/dev", "--size", str(16 << 20), "--tmpfs", "/tmp",
        *(word for path in read_only for word in _mounted(path)),
        "--ro-bind", str(package / "__init__.py"), f"{_INSIDE}/rrl/__init__.py",
        "--ro-bind", str(package / "sandbox"), f"{_INSIDE}/rrl/sandbox",
        "--chdir", "/tmp", "--remount-ro", "/", "--",
    ]  # fmt: skip


def _mounted(path: str) -> list[str]:
    return ["--ro-bind", path, path]
