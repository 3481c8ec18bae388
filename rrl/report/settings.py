"""Which settings differ between arms: the resolved configs, flattened and held side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rrl.report.arms import Arm
from rrl.report.load import Run

_NOT_SETTINGS = ("seed", "name", "resume", "hydra", "tracker", "expected")
_ABSENT = "-"


def differing(arms: Sequence[Arm]) -> tuple[dict[str, list[str]], list[str]]:
    """(dotted key -> its value in each arm, notes): keys whose values differ between arms, in alphabetic order.

    Within an arm, the first run with a config speaks; a key that its other runs do not share is left out, as the seed
    is. An arm without any config is noted, and shows "-".
    """
    flat, notes = [], []
    for arm in arms:
        configs = [c for run in arm.runs if (c := flattened(run)) is not None]
        if not configs:
            notes.append(f"{arm.label}: no readable config.yaml, so its settings are not known")
        first = configs[0] if configs else {}
        flat.append({k: v for k, v in first.items() if all(c.get(k, _ABSENT) == v for c in configs)})
    keys = sorted({key for settings in flat for key in settings})
    rows = {key: [settings.get(key, _ABSENT) for settings in flat] for key in keys}
    known = [place for place, settings in enumerate(flat) if settings]
    return {k: v for k, v in rows.items() if len({v[i] for i in known}) > 1}, notes


def flattened(run: Run, *, keep: Sequence[str] = ()) -> dict[str, str] | None:
    """{"replay.schedule._target_": "Window", ...} of config.yaml; None where there is none that can be read.

    keep: groups that are told although they are no settings of an arm, such as "tracker".
    """
    if not run.config:
        return None
    try:
        config = OmegaConf.to_container(OmegaConf.create(run.config), resolve=False)
    except (OmegaConfBaseException, YAMLError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    flat: dict[str, str] = {}
    _flatten({str(k): v for k, v in config.items() if k in keep or k not in _NOT_SETTINGS}, "", flat)
    return flat


def _flatten(node: Mapping[str, Any], above: str, into: dict[str, str]) -> None:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            _flatten({str(k): v for k, v in value.items()}, f"{above}{key}.", into)
        else:
            text = str(value)
            into[f"{above}{key}"] = text.rpartition(".")[2] if key == "_target_" else text
