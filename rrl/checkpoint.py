"""Checkpoints: a folder of safetensors and JSON, written beside and renamed into place.

Never a pickle. Names of tensors are paths in the nested state; everything else stands in JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

FORMAT = 1


def save(folder: Path, state: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Write ``state`` (nested dicts and lists of tensors, arrays and plain values) and ``meta`` to ``folder``."""
    tensors: dict[str, torch.Tensor] = {}
    plain = _split(state, "", tensors)
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}, beside / "state.safetensors")
    (beside / "state.json").write_text(json.dumps(plain))
    (beside / "meta.json").write_text(json.dumps({"format": FORMAT} | meta, indent=2))
    for path in beside.iterdir():
        with open(path, "rb+") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return folder


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state, meta) of a checkpoint. Raises ValueError naming the folder and what is wrong with it."""
    if not (folder / "meta.json").is_file():
        raise ValueError(
            f"checkpoint is {str(folder)!r}, which has no meta.json; "
            f"expected a folder such as <run>/checkpoints/step_000100"
        )
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except ValueError as error:
        raise ValueError(f"checkpoint {str(folder)!r}: meta.json cannot be read ({error})") from error
    if meta.get("format") != FORMAT:
        raise ValueError(f"checkpoint {str(folder)!r} has format {meta.get('format')}; this version reads {FORMAT}")
    try:
        plain = json.loads((folder / "state.json").read_text())
        tensors = load_file(folder / "state.safetensors")
    except Exception as error:
        raise ValueError(
            f"checkpoint {str(folder)!r} cannot be read ({error}); use an earlier one beside it"
        ) from error
    return _join(plain, tensors), meta


def latest(run: Path) -> Path:
    """The newest checkpoint of a run folder (or the folder itself where it is one)."""
    if (run / "meta.json").is_file():
        return run
    found = _all(run)
    if not found:
        raise ValueError(f"{str(run)!r} holds no checkpoint; expected a run folder with checkpoints/step_*/meta.json")
    return found[-1]


def prune(run: Path, keep: int) -> None:
    """Delete all but the first and the newest ``keep`` checkpoints of a run."""
    found = _all(run)
    for path in found[1:-keep] if keep else found[1:]:
        shutil.rmtree(path)


def _all(run: Path) -> list[Path]:
    """Whole checkpoints, oldest first; warm-up steps are negative, hence the number and not the text."""
    found = [p for p in (run / "checkpoints").glob("step_*") if p.suffix != ".tmp" and (p / "meta.json").is_file()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step_")))


def _split(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, dict):
        if bad := [k for k in node if not isinstance(k, str) or "/" in k or k.startswith("__")]:
            raise ValueError(f"state key {bad[0]!r} at {path or 'the top'}: expected text without '/' and leading '__'")
        return {k: _split(v, f"{path}/{k}", tensors) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_split(v, f"{path}/{i}", tensors) for i, v in enumerate(node)]
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


def _join(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, list):
        return [_join(v, tensors) for v in node]
    if not isinstance(node, dict):
        return node
    if "__tensor__" in node:
        return tensors[node["__tensor__"]]
    if "__array__" in node:
        return tensors[node["__array__"]].numpy().astype(node["dtype"])
    if "__text__" in node:
        return np.array(node["__text__"], dtype=str)
    return {k: _join(v, tensors) for k, v in node.items()}
