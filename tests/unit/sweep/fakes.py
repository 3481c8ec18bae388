"""Jobs whose processes take a moment: they write the records that rrl-train would, and no more."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rrl.sweep.jobs import Job
from rrl.sweep.record import fingerprint
from rrl.sweep.view import View

_PROCESS = """
import json, os, pathlib, signal, sys, time
folder, mark = pathlib.Path({folder!r}), {mark!r}
def note(event, **facts):
    with open(folder / "job.jsonl", "a") as file:
        file.write(json.dumps({{"event": event, "time": time.time(), **facts}}) + "\\n")
def end(status, value=None, error=None, traceback=None):
    done = {{"status": status, "value": value, "error": error, "traceback": traceback, "fingerprint": mark}}
    (folder / "done.json").write_text(json.dumps(done))
    note(status, error=error)
(folder / "done.json").unlink(missing_ok=True)
note("started", fingerprint=mark, pid=os.getpid(), gpu=os.environ.get("CUDA_VISIBLE_DEVICES"))
{body}
"""


def config(**changes: object) -> DictConfig:
    """What a job runs, as far as its record cares."""
    cfg = OmegaConf.create({"seed": 0, "learner": {"lr": 0.1}, "run": {"token_budget": 100, "num_threads": 1}})
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return cfg


def job(below: Path, number: int, body: str = "end('finished', 0.5)", cfg: DictConfig | None = None) -> Job:
    """A job that does ``body``: note(event), end(status, value, error, traceback), or die."""
    cfg, folder = cfg or config(seed=number), below / f"job_{number}"
    text = _PROCESS.format(folder=str(folder), mark=fingerprint(cfg), body=body)
    return Job(number, folder, f"seed={number}", (f"seed={number}",), cfg, (sys.executable, "-c", text))


def view_of(jobs: Sequence[Job], *, terminal: bool = False, slots: int = 1) -> tuple[View, io.StringIO]:
    """A view and what it writes."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    return View(title="sweep", num_jobs=len(jobs), slots=slots, refresh_s=0.01, console=console), out
