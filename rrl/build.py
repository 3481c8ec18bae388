"""From a composed config to live objects: the only place that calls Hydra's ``instantiate``.

``make`` checks every value of a node against the constructor's annotations before it calls it, and
hands in runtime objects *by parameter name*, so a new option needs no change here. ``check`` does
the same for a whole config without building anything.
"""

from __future__ import annotations

import inspect
import re
import traceback
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from rrl import protocols as doors
from rrl.annotations import fit, is_target
from rrl.capacity import enough
from rrl.exploration import Exploration
from rrl.ranks import Ranks
from rrl.rng import check_seed
from rrl.run_group import check_run
from rrl.targets import check_target
from rrl.tracker.all import Trackers

RUNTIME = (
    "seed",
    "ranks",
    "codec",
    "task",
    "policy",
    "reference",
    "problems",
    "reward",
    "value",
    "objective",
    "output_dir",
    "resolved_config",
)
"""Names of the objects that ``make`` offers to constructors."""

TOP = (
    "policy", "codec", "warm_start", "task", "problems", "reward", "value", "objective", "learner", "recall", "replay",
    "evaluate", "tracker", "run", "name", "seed", "kernels", "resume", "expected",
)  # fmt: skip
"""Keys of a composed config."""

ROOMS = TOP[: TOP.index("tracker")]  # those that name an object each
_NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every room of one run, ready to use."""

    seed: int
    run: DictConfig
    ranks: Ranks
    task: doors.Task
    problems: doors.Problems
    policy: doors.Policy
    reward: doors.Reward
    recall: doors.Recall
    value: doors.ValueEstimator
    replay: doors.Replay
    learner: doors.Learner
    exploration: Exploration
    evaluate: doors.Evaluator
    tracker: Trackers


def make(node: DictConfig | dict[str, Any], key: str, **runtime: Any) -> Any:
    """Build the object that ``node`` describes; nested nodes first.

    Args:
      node: an option file's content: ``_target_`` and every argument.
      key: where the node stands in the config, for error messages.
      runtime: objects offered to the constructor by parameter name.
    Raises:
      ValueError: an unknown or missing argument, or a value of the wrong type, named by its key.
    """
    arguments = _arguments(node, key, offered=runtime)
    numbers = {f"{key}.{name}": value for name, value in arguments.items() if name not in runtime}
    for name, value in arguments.items():
        if is_target(value):
            arguments[name] = make(value, f"{key}.{name}", **runtime)
        elif isinstance(value, Mapping) and value and all(is_target(v) for v in value.values()):
            arguments[name] = {k: make(v, f"{key}.{name}.{k}", **runtime) for k, v in value.items()}
    with enough(key, numbers):
        return instantiate({"_target_": node["_target_"], "_partial_": True})(**arguments)


def check(node: Any, key: str = "") -> None:
    """Check every ``_target_`` node below ``node`` without building it. Raises as ``make`` does."""
    if is_target(node):
        _arguments(node, key, offered=dict.fromkeys(RUNTIME))
    if isinstance(node, Mapping):
        for name, child in node.items():
            check(child, f"{key}.{name}".lstrip("."))


def _arguments(node: Mapping[str, Any], key: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    if not is_target(node):
        raise ValueError(f"{key} has no _target_; expected an option of that group (see rrl-train --help)")
    if isinstance(node, DictConfig):
        node = typing.cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
    target = check_target(node["_target_"], key)
    try:
        cls = get_class(target)
    except (InstantiationException, ImportError, ValueError) as error:
        raise ValueError(f"{key}._target_ is {target!r}, which cannot be loaded: {error}{_place(error)}") from error
    check_target(f"{cls.__module__}.{cls.__qualname__}", key)  # a name may lead through a module into another's
    hints = typing.get_type_hints(getattr(cls, "__init__"))  # noqa: B009  (mypy calls the plain form unsound)
    wanted = [n for n, p in inspect.signature(cls).parameters.items() if p.kind == inspect.Parameter.KEYWORD_ONLY]
    short: tuple[str, ...] = getattr(cls, "short_keys", ())  # read by deeper keys alone, through interpolation
    given = {n: v for n, v in node.items() if n not in ("_target_", *short)}
    if unknown := sorted(set(given) - set(wanted)):
        raise ValueError(
            f"{key}.{unknown[0]} is not an argument of {cls.__name__}; expected one of: "
            + ", ".join((*short, *(n for n in wanted if n not in RUNTIME)))
        )
    if missing := [n for n in wanted if n not in given and n not in offered]:
        raise ValueError(f"{key}.{missing[0]} is missing; {cls.__name__} needs: {', '.join(wanted)}")
    arguments = {n: fit(v, hints.get(n, Any), f"{key}.{n}") for n, v in given.items()}
    return arguments | {n: offered[n] for n in wanted if n not in given}


def _place(error: BaseException) -> str:
    """" at file:line" of the deepest error's last line, where a class's own module failed while it was imported."""
    while error.__cause__ is not None:
        error = error.__cause__
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return "".join(f" at {frame.filename}:{frame.lineno}" for frame in last if "importlib" not in frame.filename)


def validate(cfg: DictConfig, ranks: Ranks) -> None:
    """Refuse impossible configs before anything heavy is built. Raises ValueError."""
    if "sweeps" in cfg:
        raise ValueError(
            "key 'sweeps' was added as plain values; run a sweep as: rrl-train --config-dir=. +sweeps=<name>"
        )
    if unknown := sorted(str(k) for k in set(cfg) - set(TOP)):
        raise ValueError(f"{unknown[0]} is not a key of the config; expected one of: {', '.join(TOP)}")
    if missing := [key for key in TOP if key not in cfg]:
        raise ValueError(f"{missing[0]} is missing in the config; expected the keys {', '.join(TOP)}")
    if not isinstance(cfg.run, DictConfig):
        raise ValueError(f"run is {cfg.run!r}; expected an option of that group (see rrl-train --help)")
    if odd := [key for key in ROOMS if not is_target(cfg[key])]:
        raise ValueError(f"{odd[0]} is {cfg[odd[0]]!r}; expected an option of that group (see rrl-train --help)")
    if not isinstance(cfg.name, str) or not _NAME.fullmatch(cfg.name):
        raise ValueError(f"name is {str(cfg.name)[:120]!r}; expected a text of 1 to 100 characters, without / and "
                         "control characters: it names the run's folder")
    check(OmegaConf.to_container(cfg, resolve=True))
    check_run(cfg, ranks)
    check_seed(cfg.seed)


def build(cfg: DictConfig, output_dir: Path, ranks: Ranks) -> House:
    """Build every room of a validated config.

    The policy is warm-started here, before the reference and the value's trunk are copied from it; rooms that do not
    need its weights come first, so that their complaints do not wait for the warm start.
    """
    pool = build_policy(cfg, output_dir, ranks)
    task, policy = pool["task"], pool["policy"]
    pool["problems"] = make(cfg.problems, "problems", **pool)
    pool["objective"] = make(cfg.objective, "objective", **pool)
    recall, replay = make(cfg.recall, "recall", **pool), make(cfg.replay, "replay", **pool)
    trackers = {name: make(node, f"tracker.{name}", **pool) for name, node in cfg.tracker.items() if ranks.is_main}
    make(cfg.warm_start, "warm_start", **pool).prepare(policy)
    pool["reference"] = policy.frozen()
    if isinstance(task, doors.Relative):
        task.relative_to(pool["reference"])
    pool["reward"] = make(cfg.reward, "reward", **pool)  # before the value, which may score what it tries
    value = pool["value"] = make(cfg.value, "value", **pool)
    return House(
        seed=cfg.seed,
        run=cfg.run,
        ranks=ranks,
        task=task,
        problems=pool["problems"],
        policy=policy,
        value=value,
        reward=pool["reward"],
        recall=recall,
        replay=replay,
        learner=make(cfg.learner, "learner", **pool),
        exploration=Exploration(),
        evaluate=make(cfg.evaluate, "evaluate", **pool),
        tracker=Trackers(trackers),
    )


def build_policy(cfg: DictConfig, output_dir: Path, ranks: Ranks) -> dict[str, Any]:
    """The pool of runtime objects up to codec, task and policy: where every house begins, and enough to evaluate."""
    pool = build_task(cfg, output_dir, ranks) | {"resolved_config": OmegaConf.to_container(cfg, resolve=True)}
    _check_lengths(pool["task"], cfg)
    pool["policy"] = make(cfg.policy, "policy", **pool)
    return pool


def build_task(cfg: DictConfig, output_dir: Path, ranks: Ranks) -> dict[str, Any]:
    """The pool up to codec and task: enough to read what a store holds."""
    check_seed(cfg.seed)
    pool: dict[str, Any] = {"seed": cfg.seed, "ranks": ranks, "output_dir": output_dir}
    pool["codec"] = make(cfg.codec, "codec", **pool)
    pool["task"] = make(cfg.task, "task", **pool)
    return pool


def _check_lengths(task: doors.Task, cfg: DictConfig) -> None:
    longest = max(len(p.prompt) + p.max_response for p in task.train_problems() + task.eval_problems())
    longest += task.max_given if isinstance(task, doors.Environment) else 0
    room = OmegaConf.select(cfg, "policy.backbone.max_positions")
    if room is not None and longest > room:
        raise ValueError(
            f"policy.backbone.max_positions is {room}; task {task.name!r} needs {longest} (prompt + longest response "
            "and what its environment says in it)"
        )
