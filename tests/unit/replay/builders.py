"""Problems, attempts and a whole Replay from the real option files, for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rrl.build import make
from rrl.records import Attempt, Candidates, Harvest, Prefix, Progress, Signals
from rrl.replay.intake import Added, Proposal
from rrl.replay.replay import Replay
from rrl.replay.store import Store
from rrl.starts import packed
from rrl.types import Problem, Start, Tokens

CONF = Path(__file__).parents[3] / "conf" / "replay"


class Toy:
    """As much of a task as names its symbols."""

    name, vocab_size, pad = "toy", 64, 0

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))


NOTHING = Harvest(fresh_tokens=0, fresh_solved=0, replayed_tokens=0, replayed_solved=0)


def a_problem(name: str = "p", *, solution: Tokens = (), answer: str = "", max_response: int = 8) -> Problem:
    return Problem(
        id=name, prompt=(1, 2), answer=answer, solution=solution, task="toy", difficulty="hard",
        max_response=max_response, stop=(0,), exact_length=False,
    )


def an_attempt(
    problem: Problem, tokens: Sequence[int], *, prefix: Tokens = (), solved: bool = False,
    value: Sequence[float] | None = None, score: float = 0.0,
) -> Attempt:
    value = [0.5] * len(tokens) if value is None else value
    return Attempt(
        start=Start(problem=problem, prefix=prefix), tokens=tuple(tokens), value=np.array(value, dtype=np.float32),
        entropy=np.zeros(len(tokens), dtype=np.float32), score=score, solved=solved, ended=True,
    )


def a_prefix(
    problem: Problem, tokens: Tokens, *, step: int = 0, value: float = 0.5, origin: str = "rollout",
    depth_frac: float = 0.5,
) -> Prefix:
    return Prefix(problem=problem, tokens=tokens, origin=origin, born_step=step, born_value=value,
                  depth_frac=depth_frac, parent=Start(problem=problem).key)


def some_candidates(
    *, value: Sequence[float], tries: Sequence[float] | None = None, conversions: Sequence[float] | None = None,
    root_success: float = 0.0, idle: Sequence[int] | None = None,
) -> Candidates:
    size = len(value)
    whole, real = np.zeros(size, dtype=np.int64), np.zeros(size)
    return Candidates(
        problem="p", depth=whole + 1, depth_frac=real + 0.5, value=np.array(value, dtype=np.float64), value_std=real,
        born_value=real, score_age=whole, tries=real if tries is None else np.array(tries, dtype=np.float64),
        conversions=real if conversions is None else np.array(conversions, dtype=np.float64), born_step=whole,
        idle=whole if idle is None else np.array(idle, dtype=np.int64), td=real, root_success=root_success,
        root_value=0.0,
    )


def progress_at(
    step: int, *, done: float = 0.5, history: Sequence[Signals] = (), first: Signals | None = None,
    peak: Signals | None = None,
) -> Progress:
    return Progress(step=step, sampled_tokens=round(done * 100_000), token_budget=100_000, history=tuple(history),
                    first=first, peak=peak)


def option(group: str, name: str) -> dict[str, Any]:
    node: dict[str, Any] = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    of_the_run = {"token_divisor": 1.0, "rho": 0.25}
    return node | {key: x for key, x in of_the_run.items() if str(node.get(key)).startswith("${run.")}


def a_store(**changed: Any) -> Store:
    store: Store = make(option("store", "default") | changed, "replay.store")
    return store


def a_proposal(prefix: Prefix) -> Proposal:
    return Proposal(prefix, prefix.key, packed(prefix.tokens), 0.0)


def add(store: Store, prefix: Prefix, *, done: float = 0.5, quarantined: bool = False) -> Added:
    verdict = "quarantine" if quarantined else "keep"
    return store.add([a_proposal(prefix)], done_frac=done, judged=lambda _: verdict, td=lambda _: 0.0)[0]


def remove(store: Store, row: int) -> None:
    number = int(store.shelf.columns["problem"][row])
    store.shelf.remove(row)
    store.booked([number])


def row_of(store: Store, problem: Problem, tokens: Tokens) -> int:
    row = store.shelf.find(Start(problem=problem, prefix=tokens).key)
    assert row is not None, tokens
    return row


def stored(store: Store, problem: Problem | None = None) -> list[list[int]]:
    return [r["tokens"] for r in store.rows() if problem is None or r["problem"] == problem.id]


def a_replay(
    *, seed: int = 0, filters: Sequence[str] = ("length",), store: dict[str, Any] | None = None,
    schedule: tuple[str, dict[str, Any]] = ("constant", {"rho": 0.5}), admission: str = "first_boundary",
    selection: str = "thompson", problem_weight: str = "root_gap",
    credit: tuple[str, dict[str, Any]] = ("positive", {}), cut: str = "token", task: Any = None,
    output_dir: Path = Path("no run"), **changed: Any,
) -> Replay:
    """Replay with the numbers of its option files but for what is named here."""
    node = option(".", "default") | changed | {
        "store": option("store", "default") | (store or {}),
        "admission": option("admission", admission),
        "selection": option("selection", selection),
        "problem_weight": option("problem_weight", problem_weight),
        "schedule": option("schedule", schedule[0]) | schedule[1],
        "cut": option("cut", cut),
        "filter": {name: option("filter", name) for name in filters},
        "credit": option("credit", credit[0]) | credit[1],
    }
    replay: Replay = make(node, "replay", seed=seed, task=task or Toy(), output_dir=output_dir)
    return replay


def fill(replay: Replay, problems: Sequence[Problem], tokens: Sequence[Tokens], *, step: int = -1) -> None:
    """Store the one-token prefixes that unsolved warm-up attempts ``tokens`` of each problem begin with."""
    replay.observe([an_attempt(p, t) for p in problems for t in tokens], progress_at(step), warm_up=True)


def same(left: Any, right: Any) -> bool:
    """Deep equality of states that hold arrays."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)
