"""How an artefact was made: command, commit, versions, device."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from rrl import __version__


def provenance(program: str) -> dict[str, Any]:
    """``command``, ``commit`` ("-" outside a checkout; "+" marks uncommitted changes), ``versions``, ``device``."""
    head, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    threads = torch.get_num_threads()
    cpu = f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
    return {
        "command": os.environ.get("RRL_COMMAND") or " ".join([program, *sys.argv[1:]]),  # of a sweep's job: the sweep's
        "commit": (head or "-") + ("+" if head and changes else ""),
        "versions": {"rrl": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
    }


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git still trains
        return ""
    return done.stdout.strip()
