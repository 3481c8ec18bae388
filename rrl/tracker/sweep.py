"""Which sweep a run is a job of, and which of its arms: read from what Hydra leaves in their folders.

Files and not Hydra's live state: they are the same under every launcher, and still there when a run is resumed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

_NO_ARM = ("seed", "tracker", "name", "hydra", "sweeps", "experiment")  # keys that make no other arm, or name it
_MOST_LEVELS = 4  # between a sweep's folder and a job's: hydra.sweep.subdir may hold slashes


class Sweep(NamedTuple):
    """name: of the sweep's YAML, else its folder's last two parts.  arm: what this job changes beside its seed,
    as "replay/schedule=window value=critic"; empty where the experiment alone tells arms apart."""

    name: str
    arm: str


def sweep_of(output_dir: Path) -> Sweep | None:
    """The sweep whose ``multirun.yaml`` stands above ``output_dir``; None for a run by itself."""
    for folder in output_dir.resolve().parents[:_MOST_LEVELS]:
        if (folder / "multirun.yaml").is_file():
            hydra = _read(folder / "multirun.yaml").get("hydra", {})
            choices = hydra.get("runtime", {}).get("choices", {})
            return Sweep(choices.get("sweeps") or "/".join(folder.parts[-2:]), _arm(output_dir, hydra))
    return None


def shortened(text: str, most: int) -> str:
    """``text``, or where it has more than ``most`` characters its beginning and a digest of the whole: arms whose long
    names begin alike stay apart."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return text if len(text) <= most else f"{text[: most - 7]}~{digest}"


def _arm(output_dir: Path, hydra: dict[str, Any]) -> str:
    """The job's overrides without those that all jobs of the sweep share."""
    path = output_dir / ".hydra" / "overrides.yaml"
    if not path.is_file():
        return ""
    params = hydra.get("sweeper", {}).get("params") or {}
    shared = {*hydra.get("overrides", {}).get("task", []), *(f"{key}={value}" for key, value in params.items())}
    return " ".join(sorted(_telling(set(_read(path)) - shared)))


def _telling(overrides: Iterable[str]) -> list[str]:
    plain = [override.lstrip("+~") for override in overrides]
    return [o for o in plain if o.split("=")[0].split(".")[0].split("/")[0] not in _NO_ARM]


def _read(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
