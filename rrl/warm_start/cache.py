"""Trained weights kept on disk under the hash of everything that led to them.

A file holds the weights, a few numbers and a digest of the weights: a file that does not match its
own digest is reported and ignored, never half loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrl.reading import json_of

_log = logging.getLogger(__name__)


class WeightCache:
    """One file a recipe. recipe: JSON-able facts that determine the weights."""

    def __init__(self, directory: Path, recipe: Mapping[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]
        self.path = directory / f"{name}.safetensors"

    def load(self) -> tuple[dict[str, Tensor], dict[str, float]] | None:
        """(weights, numbers), or None where there is no file or a broken one (logged)."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
                facts = file.metadata() or {}
            if facts.get("digest") != digest(weights):
                raise ValueError("its weights do not match its digest")
            return weights, json_of(facts["numbers"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            _log.warning("warm start cache %s cannot be used (%s); training again and replacing it", self.path, error)
            return None

    def save(self, weights: Mapping[str, Tensor], numbers: Mapping[str, float]) -> None:
        """Write under a name of our own, then rename: a reader sees a whole file or none."""
        from safetensors.torch import save_file

        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        tensors = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
        save_file(tensors, part, metadata={"digest": digest(tensors), "numbers": json.dumps(dict(numbers))})
        os.replace(part, self.path)


def digest(weights: Mapping[str, Tensor]) -> str:
    """Hash of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
