"""Checkpoints: a folder of safetensors and JSON, sealed by a manifest, written beside and renamed into place.

Never a pickle. Names of tensors are paths in the nested state; everything else stands in JSON. A large prefix store
stands in files of its own, which checkpoints share (``rrl.replay.segments``). ``rrl.durable`` makes a checkpoint whole
or absent, ``rrl.manifest`` knows a damaged file by its name.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rrl import durable, manifest, reading, stored
from rrl.replay import segment_state
from rrl.replay.segments import Part

log = logging.getLogger(__name__)

FORMAT = 3
"""1 had no manifest, 2 no files of a store: whatever it was written in, a checkpoint of 2 reads as one of 3."""

READ = (2, 3)
_STORE = "__store__"

BEST = "best"
"""Name of the link to the best checkpoint, beside the checkpoints."""


def save(folder: Path, state: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Write ``state`` (nested dicts and lists of tensors, arrays, plain values and ``Part``s) and ``meta``.

    Raises:
      ValueError: something in the state is of no such kind; it is named by its place.
      OSError: the disk is full or fails. Nothing is left of the attempt, and nothing older was touched.
    """
    tensors, parts = dict[str, torch.Tensor](), list[tuple[Part, dict[str, Any]]]()
    plain, linked = _split(state, "", tensors, parts), dict[str, Any]()
    beside = folder.with_name(folder.name + durable.BESIDE)
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for part, place in parts:
            place[_STORE], known = part.write(beside, folder)
            linked |= known
        save_file({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}, beside / "state.safetensors")
        (beside / "state.json").write_text(json.dumps(plain))
        (beside / "meta.json").write_text(json.dumps({"format": FORMAT} | meta, indent=2))
        manifest.seal(beside, linked)
        durable.put_folder(beside, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)  # a full disk gets its room back
        raise OSError(f"{str(folder)!r} cannot be written ({error})") from error
    return folder


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state, meta) of a checkpoint. Raises ValueError naming the folder, the file and what is wrong with it."""
    meta = meta_of(folder)
    if flaw := manifest.damage(folder):
        raise ValueError(f"checkpoint {str(folder)!r} is damaged: {flaw}; use an earlier one beside it")
    try:
        state = _join(reading.read_json(folder / "state.json"), load_file(folder / "state.safetensors"), folder)
    except (OSError, ValueError, SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"checkpoint {str(folder)!r} cannot be read ({error}); use an earlier one beside it"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"checkpoint {str(folder)!r} holds a {type(state).__name__}; expected rooms and their states")
    return state, meta


def meta_of(folder: Path) -> dict[str, Any]:
    """What is said about a checkpoint: config, step and so on, without reading its state. Raises as ``load`` does."""
    if not (folder / "meta.json").is_file():
        raise ValueError(
            f"checkpoint is {str(folder)!r}, which has no meta.json; "
            f"expected a folder such as <run>/checkpoints/step_000100"
        )
    try:
        meta: dict[str, Any] = reading.read_json(folder / "meta.json")
        found = meta.get("format")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"checkpoint {str(folder)!r}: meta.json cannot be read ({error})") from error
    if found not in READ:
        raise ValueError(
            f"checkpoint {str(folder)!r} has format {found}; this version reads {' and '.join(map(str, READ))}"
        )
    stored.check_meta(meta, f"checkpoint {str(folder)!r}")
    return meta


def latest(run: Path) -> Path:
    """The newest whole checkpoint of a run folder (or the folder itself where it is one); damaged ones are named.

    Raises:
      ValueError: there is no checkpoint, or none is whole.
    """
    if (run / "meta.json").is_file():
        return run
    found = _all(run)
    if not found:
        raise ValueError(f"{str(run)!r} holds no checkpoint; expected a run folder with checkpoints/step_*/meta.json")
    flaws: list[tuple[str, str]] = []
    for folder in reversed(found):
        if not (flaw := _flaw(folder)):
            for name, what in flaws:
                log.warning("checkpoint %s is damaged: %s; %s is used instead", name, what, folder.name)
            return folder
        flaws.append((folder.name, flaw))
    listed = "; ".join(f"{name}: {what}" for name, what in flaws)
    raise ValueError(f"{str(run)!r} holds no whole checkpoint: {listed}; start the run again")


def prune(run: Path, keep: int, metric: str | None = None) -> None:
    """Delete all checkpoints but the first from step 0 on, the newest ``keep`` and the one of the highest ``metric``.

    The last of these is linked as ``checkpoints/best``. Leftovers of saves and deletions that were cut short go too.
    """
    for leftover in (run / "checkpoints").glob(f"*{durable.BESIDE}"):
        durable.discard(leftover)
    found = _all(run)
    best = _best(found, metric) if metric else None
    if best is not None:
        try:
            durable.link(best.with_name(BEST), best.name)
        except OSError as error:  # some network disks know no links; the checkpoint is kept all the same
            log.warning("%s is the best checkpoint by %s; it cannot be linked as %s (%s)", best, metric, BEST, error)
    kept = {next((p for p in found if _step(p) >= 0), found[0]), best, *found[-keep:]} if found else set()
    for path in found:
        if path not in kept:
            durable.remove(path)


def set_aside(run: Path, after: int | None) -> None:
    """Move checkpoints of steps behind ``after`` (None: all) to ``checkpoints.old<n>``: this run did not make them.

    A run that begins anew in an old folder, or goes on from an earlier checkpoint, must not be resumed from them.
    """
    others = [path for path in _all(run) if after is None or _step(path) > after]
    if not others:
        return
    number = 1
    while (old := run / f"checkpoints.old{number}").exists():
        number += 1
    old.mkdir()
    for path in others:
        path.rename(old / path.name)
    best = run / "checkpoints" / BEST
    if best.is_symlink() and not best.exists():  # it named one of those
        best.unlink()
    log.warning("%d checkpoints of an earlier life of this run are now in %s", len(others), old)


def _flaw(folder: Path) -> str:
    """What is wrong with a checkpoint; "" for a whole one."""
    try:
        meta_of(folder)
    except ValueError as error:
        return str(error)
    return manifest.damage(folder)


def _best(found: list[Path], metric: str) -> Path | None:
    """The earliest of those with the highest ``metric``; None where it was measured at none of them."""
    measured = []
    for path in found:
        try:
            value = meta_of(path).get("measured", {}).get(metric)
        except ValueError:  # a damaged one is not the best; who resumes from it is told
            continue
        if value is not None:
            measured.append((-value, _step(path), path))
    return min(measured)[2] if measured else None


def _all(run: Path) -> list[Path]:
    """Checkpoints, oldest first, by number: warm-up steps are negative. What is not finished has another ending."""
    named = [p for p in (run / "checkpoints").glob("step_*") if re.fullmatch(r"step_-?\d+", p.name)]
    return sorted((p for p in named if any(p.iterdir())), key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def _split(node: Any, path: str, tensors: dict[str, torch.Tensor], parts: list[tuple[Part, dict[str, Any]]]) -> Any:
    if isinstance(node, dict):
        if bad := [k for k in node if not isinstance(k, str) or "/" in k or k.startswith("__")]:
            raise ValueError(f"state key {bad[0]!r} at {path or 'the top'}: expected text without '/' and leading '__'")
        return {k: _split(v, f"{path}/{k}", tensors, parts) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_split(v, f"{path}/{i}", tensors, parts) for i, v in enumerate(node)]
    if isinstance(node, Part):
        place = dict[str, Any]()  # it knows its files when it has written them
        parts.append((node, place))
        return place
    if isinstance(node, torch.Tensor):
        tensors[path] = node
        return {"__tensor__": path}
    if isinstance(node, np.ndarray):
        if node.dtype.kind in "US":
            return {"__text__": node.tolist()}
        if node.dtype.kind not in "biuf":
            raise ValueError(f"state at {path} is an array of {node.dtype}; expected numbers, booleans or text")
        wide = node.astype(np.int64) if node.dtype.kind == "u" and node.dtype.itemsize < 8 else node
        tensors[path] = torch.from_numpy(np.ascontiguousarray(wide))
        return {"__array__": path, "dtype": str(node.dtype)}
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise ValueError(
        f"state at {path} is a {type(node).__name__}; expected tensors, arrays, text, numbers, None, lists or dicts"
    )


def _join(node: Any, tensors: dict[str, torch.Tensor], folder: Path) -> Any:
    if isinstance(node, list):
        return [_join(v, tensors, folder) for v in node]
    if not isinstance(node, dict):
        return node
    if _STORE in node:
        return segment_state.read(folder, node[_STORE])
    if "__tensor__" in node:
        return tensors[node["__tensor__"]]
    if "__array__" in node:
        held, dtype = tensors[node["__array__"]].numpy(), np.dtype(node["dtype"])
        if not np.can_cast(held.dtype, dtype, "same_kind") and (held.dtype.kind, dtype.kind) != ("i", "u"):
            raise ValueError(f"{node['__array__']} holds {held.dtype}; expected {dtype}")
        return held.astype(dtype)
    if "__text__" in node:
        return np.array(node["__text__"], dtype=str)
    return {k: _join(v, tensors, folder) for k, v in node.items()}
