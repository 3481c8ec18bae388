"""A search as a YAML: what is varied and measured; the overrides of its trials, and the same search as a W&B sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rrl.reading import yaml_of

if TYPE_CHECKING:
    from optuna.trial import Trial

KINDS = ("uniform", "log_uniform", "int", "log_int", "choice")
_KEYS = ("metric", "goal", "num_trials", "seed", "folder", "overrides", "space")
_KINDS = {"metric": str, "num_trials": int, "seed": int, "folder": str, "overrides": list, "space": dict}
_WANDB = {
    "uniform": "uniform", "log_uniform": "log_uniform_values", "int": "int_uniform", "log_int": "q_log_uniform_values",
}  # fmt: skip


class Axis(NamedTuple):
    """One key of the config. values: [low, high], both included, or the choices."""

    key: str
    kind: str
    values: tuple[Any, ...]


class Space(NamedTuple):
    """One search.

    metric: of a run's last evaluation.  goal: maximize or minimize it.  num_trials: in all.  seed: of the sampler.
    overrides: what every trial is given first.
    """

    name: str
    metric: str
    goal: Literal["maximize", "minimize"]
    num_trials: int
    seed: int
    folder: str
    overrides: tuple[str, ...]
    axes: tuple[Axis, ...]


def read_space(path: Path) -> Space:
    """The search of a YAML.

    Raises:
      ValueError: an unknown or missing key, a kind that is none, a range that is none; names file and key.
    """
    try:
        content = yaml_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({said}); expected YAML without tags") from error
    if not isinstance(content, dict) or set(content) != set(_KEYS):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else "-"
        raise ValueError(f"{path} has the keys {keys}; expected exactly: {', '.join(_KEYS)}")
    if content["goal"] not in ("maximize", "minimize"):
        raise ValueError(f"{path}: goal is {content['goal']!r}; expected maximize or minimize")
    for key, kind in _KINDS.items():
        if not isinstance(content[key], kind) or isinstance(content[key], bool):
            raise ValueError(f"{path}: {key} is {content[key]!r}; expected {kind.__name__}")
    axes = tuple(_axis(path, key, node) for key, node in content["space"].items())
    rest = {key: content[key] for key in ("metric", "goal", "num_trials", "seed", "folder")}
    return Space(name=path.stem, overrides=tuple(content["overrides"]), axes=axes, **rest)


def suggest(trial: Trial, axes: tuple[Axis, ...]) -> list[str]:
    """The overrides of a trial, asked of the sampler; a trial that was asked before answers as it did."""
    return [f"{axis.key}={_asked(trial, axis)}" for axis in axes]


def first_point(axes: tuple[Axis, ...]) -> list[str]:
    """Overrides of a corner of the space, to try whether its keys exist."""
    return [f"{axis.key}={axis.values[0]}" for axis in axes]


def wandb_sweep(space: Space) -> dict[str, Any]:
    """The same search for ``wandb sweep``: its agents run rrl-train."""
    given = [override for override in space.overrides if not override.startswith("tracker=")]
    return {
        "program": "rrl-train",
        "name": space.name,
        "method": "bayes",
        "metric": {"name": space.metric, "goal": space.goal},
        "run_cap": space.num_trials,
        "parameters": {axis.key: _wandb_axis(axis) for axis in space.axes},
        "command": ["${env}", "rrl-train", *given, "tracker=[jsonl,wandb]", "${args_no_hyphens}"],
    }


def _asked(trial: Trial, axis: Axis) -> Any:
    if axis.kind == "choice":
        return trial.suggest_categorical(axis.key, axis.values)
    low, high = axis.values
    log = axis.kind.startswith("log_")
    if axis.kind.endswith("int"):
        return trial.suggest_int(axis.key, low, high, log=log)
    return float(f"{trial.suggest_float(axis.key, low, high, log=log):.4g}")  # four digits: what a command line shows


def _wandb_axis(axis: Axis) -> dict[str, Any]:
    if axis.kind == "choice":
        return {"values": list(axis.values)}
    return {"distribution": _WANDB[axis.kind], "min": axis.values[0], "max": axis.values[1]} | (
        {"q": 1} if axis.kind == "log_int" else {}
    )


def _axis(path: Path, key: str, node: Any) -> Axis:
    if not isinstance(node, Mapping) or len(node) != 1 or next(iter(node)) not in KINDS:
        raise ValueError(f"{path}: space.{key} is {node}; expected one of {', '.join(KINDS)} with its values")
    ((kind, values),) = node.items()
    if kind == "choice":
        ok = isinstance(values, list) and len(values) > 0
    else:
        numbers = int if kind.endswith("int") else (int, float)
        ok = isinstance(values, list) and len(values) == 2 and all(
            isinstance(v, numbers) and not isinstance(v, bool) for v in values
        )
        ok = ok and values[0] < values[1] and (values[0] > 0 or not kind.startswith("log_"))
    if not ok:
        what = "a list" if kind == "choice" else "[low, high] with low < high" + (", low > 0" if "log" in kind else "")
        raise ValueError(f"{path}: space.{key}.{kind} is {values}; expected {what}")
    return Axis(key, kind, tuple(values))
