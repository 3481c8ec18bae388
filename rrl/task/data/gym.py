"""Problems that reasoning-gym makes: any of its data sets by name, mixed by weight."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from rrl import rng
from rrl.task.data.row import Row, Table

_TRIES_EACH = 20  # items drawn for one new question before a data set is said to have no more


class GymData:
    """Distinct questions; training and held-out ones never meet.

    Args:
      tasks: mappings with ``name`` (of a data set of reasoning-gym), ``weight`` (share of the problems, relative to
        the sum, >= 0) and ``config`` (its arguments; seed and size are set here).
    Raises:
      ValueError: reasoning-gym is not installed, a name or argument that it does not know, weights without a sum.
    """

    def __init__(self, *, tasks: tuple[dict[str, Any], ...]) -> None:
        try:
            from reasoning_gym.factory import DATASETS
        except ImportError as error:
            raise ValueError("task.data is GymData, which needs reasoning-gym: pip install 'rrl[tasks]'") from error
        for i, task in enumerate(tasks):
            if set(task) != {"name", "weight", "config"} or task["weight"] < 0:
                raise ValueError(f"task.data.tasks[{i}] is {task}; expected name, weight >= 0 and config")
            if task["name"] not in DATASETS or task["name"] == "composite":
                near = difflib.get_close_matches(str(task["name"]), DATASETS, n=3)
                raise ValueError(
                    f"task.data.tasks[{i}].name is {task['name']!r}, which reasoning-gym does not have; "
                    f"near: {', '.join(near) or '-'} (all {len(DATASETS)}: reasoning_gym.factory.DATASETS)"
                )
        names = [task["name"] for task in tasks]
        if len(set(names)) < len(names) or not sum(task["weight"] for task in tasks) > 0:
            raise ValueError(f"task.data.tasks has {names}; expected names of their own and a weight > 0 among them")
        self._tasks = [task for task in tasks if task["weight"] > 0]

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        """See ``Data``; both numbers >= 1."""
        for key, number in (("num_train", num_train), ("num_heldout", num_heldout)):
            if number < 1:
                raise ValueError(f"task.{key} is {number}; expected >= 1: these problems are made, not read")
        weights = [float(task["weight"]) for task in self._tasks]
        train, heldout = Table(rows=[], bad=[]), Table(rows=[], bad=[])
        shares = zip(self._tasks, shared_out(num_heldout, weights), shared_out(num_train, weights), strict=True)
        for task, num_held, num_learnt in shares:
            seen: set[str] = set()
            heldout.rows.extend(_made(task, num_held, "heldout", seed, seen))
            train.rows.extend(_made(task, num_learnt, "train", seed, seen))
        return train, heldout


def shared_out(num: int, weights: Sequence[float]) -> list[int]:
    """``num`` by largest remainder. 10 by (1, 1, 1) -> [4, 3, 3]; 10 by (3, 1) -> [8, 2]."""
    exact = [num * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: num - sum(counts)]:
        counts[i] += 1
    return counts


def _made(task: dict[str, Any], num: int, split: str, seed: int, seen: set[str]) -> list[Row]:
    from reasoning_gym.factory import create_dataset

    name, limit = task["name"], _TRIES_EACH * num + 100
    own = int(rng.generator(seed, f"task.reasoning_gym.{split}.{name}").integers(2**31))
    config = {**task["config"], "seed": own, "size": limit}
    try:
        dataset = create_dataset(name, **config)
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"task.data.tasks: {name} refuses its config {task['config']}: {error}") from error
    rows: list[Row] = []
    for i in range(limit):
        if len(rows) == num:
            return rows
        item = dataset[i]
        if item["question"] in seen:
            continue
        seen.add(item["question"])
        answer = item["answer"]
        rows.append(Row(
            where=f"{name}:{own}:{i}", prompt=item["question"].strip(), answer="" if answer is None else str(answer),
            solution=None if answer is None else "", hard=True,
            entry={"name": name, "config": json.dumps(config), "item": item},
        ))  # fmt: skip
    if len(rows) == num:
        return rows
    raise ValueError(
        f"task.data.tasks: {name} made {len(rows)} distinct questions in {limit} draws, {num} are wanted; "
        "lower task.num_train or its weight, or give it a wider config"
    )
