"""Whether two runs are the same to the last bit: every room's state, and every record."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from rrl.build import House
from rrl.protocols import Relative
from rrl.records import Progress
from rrl.saver import ROOMS
from rrl.tracker.all import Trackers
from rrl.types import Metrics


class Records(Trackers):
    """Passes everything on and keeps what was logged, NaN and all."""

    def __init__(self, inner: Trackers) -> None:
        super().__init__({})
        self.inner, self.metrics = inner, list[Metrics]()

    def log(self, progress: Progress, metrics: Metrics) -> None:
        self.metrics.append(metrics)
        self.inner.log(progress, metrics)

    def measured(self, name: str, step: int) -> float | None:
        return self.inner.measured(name, step)

    def sync(self) -> None:
        self.inner.sync()


def state_of(house: House, progress: Progress) -> dict[str, Any]:
    """All that a checkpoint holds, less the seconds."""
    state: dict[str, Any] = {room: getattr(house, room).state_dict() for room in ROOMS}
    if isinstance(house.task, Relative):
        state["task"] = house.task.state_dict()
    return state | {"progress": {k: v for k, v in dataclasses.asdict(progress).items() if k != "seconds"}}


def timeless(metrics: Metrics) -> Metrics:
    """A record without what a clock said."""
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def differing(left: Any, right: Any, path: str = "") -> list[str]:
    """Paths of the leaves that are not equal to the last bit."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = {**left, **right}
        return [d for k in keys for d in differing(left.get(k), right.get(k), f"{path}/{k}")]
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return [f"{path} ({len(left)} and {len(right)} long)"]
        return [d for i, (a, b) in enumerate(zip(left, right, strict=True)) for d in differing(a, b, f"{path}/{i}")]
    return [] if _bits(left) == _bits(right) else [path]


def _bits(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        flat = leaf.detach().cpu().contiguous().reshape(-1)
        return leaf.dtype, tuple(leaf.shape), flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.str, leaf.shape, leaf.tobytes()
    return type(leaf) is bool, repr(leaf)  # repr tells -0.0 from 0.0, and NaN is NaN
