"""A job's own record in its folder, and what a rerun of its sweep does with it.

``job.jsonl`` has a line when an attempt starts and one when it ends, and is never cut. ``done.json`` says how the last
attempt ended; it is absent while one runs, and after a kill. ``.lock`` is held by whoever runs the job: the kernel lets
go of it when that process dies, so a killed job is never taken for a running one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from omegaconf import DictConfig, OmegaConf

from rrl import durable, stored
from rrl.reading import json_of

log = logging.getLogger(__name__)

HARMLESS = ("resume", "expected", "tracker", "run.checkpoint_every", "run.keep_checkpoints", "run.keep_best",
            "run.num_threads", "run.ranks_timeout_s")
"""Keys that do not change what a run means: a job that differs in nothing else is the same job."""

TAKEN = 75  # exit code of a process that found its job taken: EX_TEMPFAIL of sysexits.h


class Taken(Exception):
    """Another process runs this job now."""


class Plan(NamedTuple):
    """What to do with a job. value: a finished job's; why: for people."""

    verb: Literal["start", "resume", "skip"]
    why: str
    value: float | None


def fingerprint(cfg: DictConfig) -> str:
    """16 hexadecimal digits that two configs share where they mean the same run."""
    return hashlib.sha256(json.dumps(_flat(cfg), sort_keys=True).encode()).hexdigest()[:16]


def plan(folder: Path, cfg: DictConfig) -> Plan:
    """What a (re)run of the sweep does with the job in ``folder``.

    A finished job is skipped, any other is resumed from its newest checkpoint where it has one, else started. A failed
    job under another config is started again: that is how mistakes are mended.

    Args:
      folder: the job's; it need not exist.
      cfg: what the job would run now, without Hydra's own part.
    Raises:
      ValueError: a finished job, or one with a checkpoint, was made under another config.
    """
    status, done = status_of(folder), read_done(folder)
    if status == "new":
        return Plan("start", "new", None)
    saved = any((folder / "checkpoints").glob("step_*/meta.json"))
    if _fingerprint_of(folder) != fingerprint(cfg):
        if status == "finished" or (saved and status != "failed"):
            raise ValueError(
                f"{folder} holds a job ({status}) with another config{_difference(folder, cfg)}; expected the same "
                "one; give hydra.sweep.dir=<a new folder>, or delete the old one"
            )
        return Plan("start", f"{status} under another config", None)
    if status == "finished":
        return Plan("skip", "finished before", done.get("value"))
    return Plan("resume" if saved else "start", f"{status}, {'has a' if saved else 'no'} checkpoint", None)


def status_of(folder: Path) -> str:
    """new, running, finished, failed, interrupted, or killed (an attempt that never said how it ended)."""
    done = read_done(folder)
    if done:
        return str(done["status"])
    attempts = [event for event in events(folder) if event["event"] != "refused"]
    if not attempts and not (folder / "metrics.jsonl").is_file():
        return "new"
    return "running" if is_taken(folder) else "killed"


def events(folder: Path) -> list[dict[str, Any]]:
    """The lines of job.jsonl; a line that a kill tore apart is left out."""
    path, found = folder / "job.jsonl", []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            event = json_of(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            found.append(event)
    return found


def num_attempts(folder: Path) -> int:
    """How often the job has been started."""
    return sum(event["event"] == "started" for event in events(folder))


def read_done(folder: Path) -> dict[str, Any]:
    """done.json; empty where there is none, or where it is damaged: then nobody knows how the attempt ended."""
    path = folder / "done.json"
    try:
        done = json_of(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        log.warning("%s cannot be read (%s); the job is taken for a killed one", path, error)
        return {}
    return done if isinstance(done, dict) else {}


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the job. Raises Taken where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(f"{folder} is being run by another process") from None
        yield


def is_taken(folder: Path) -> bool:
    """Whether another process runs the job now."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with claimed(folder):
            return False
    except Taken:
        return True


def clear(folder: Path) -> None:
    """Make way for a start from the beginning: what an earlier attempt saved must not be taken for this one's."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "summary.json").unlink(missing_ok=True)


def begin(folder: Path, mark: str, from_step: int | None) -> None:
    """Note that an attempt starts.

    Args:
      mark: fingerprint of its config.
      from_step: of the checkpoint it goes on from; None = from the beginning.
    """
    (folder / "done.json").unlink(missing_ok=True)
    where = {"pid": os.getpid(), "host": socket.gethostname(), "from_step": from_step}
    append(folder, "started", fingerprint=mark, **where)


def end(folder: Path, outcome: dict[str, Any]) -> None:
    """Note how it ended. outcome: status, value, error, traceback, fingerprint. A full disk must not hide it."""
    try:
        durable.write_text(folder / "done.json", json.dumps(outcome, indent=2))
        append(folder, outcome["status"], error=outcome["error"])
    except OSError as error:
        log.error("how the run ended (%s) could not be written: %s", outcome["status"], error)


def append(folder: Path, event: str, **facts: Any) -> None:
    """One line more in job.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "job.jsonl", "a") as file:
        file.write(json.dumps({"event": event, "time": time.time(), **facts}) + "\n")


def _fingerprint_of(folder: Path) -> str | None:
    """Of the last attempt; of its config.yaml where an earlier version made the folder."""
    started = [event["fingerprint"] for event in events(folder) if event["event"] == "started"]
    if started:
        return str(started[-1])
    config = folder / "config.yaml"
    return fingerprint(_load(config)) if config.is_file() else None


def _difference(folder: Path, cfg: DictConfig) -> str:
    """The first keys that differ, old and new value; nothing where the old config was not written."""
    if not (folder / "config.yaml").is_file():
        return ""
    old, new = _flat(_load(folder / "config.yaml")), _flat(cfg)
    keys = [key for key in {**new, **old} if old.get(key) != new.get(key)]
    shown = ", ".join(f"{key} was {old.get(key)}, is {new.get(key)}" for key in keys[:3])
    return f" ({shown}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''})" if keys else ""


def _load(path: Path) -> DictConfig:
    return stored.from_yaml(path)


def _flat(cfg: DictConfig) -> dict[str, Any]:
    """Dotted key -> value of everything that matters."""
    found: dict[str, Any] = {}

    def walk(node: Any, key: str) -> None:
        if key in HARMLESS:
            return
        if isinstance(node, dict) and node:
            for name, child in node.items():
                walk(child, f"{key}.{name}".lstrip("."))
        else:
            found[key] = node

    walk(OmegaConf.to_container(cfg, resolve=True), "")
    return found
