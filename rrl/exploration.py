"""What the rollouts of a step say about exploration: rollout/* and explore/* metrics, and Signals.

Works on gathered attempts (all ranks, plain numbers), reduced once over the whole step: never an
average of averages. Rows are split by origin, because a replayed start is another distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.records import Attempt, Progress, Signals
from rrl.turned import Turned
from rrl.types import Metrics

_DECAY = 0.9  # forgetting per row of the running win rates: the same as the root success rate e_p's


class Exploration:
    """Stateful observer of all attempts; remembers which problems were ever solved, and from where.

    turned: which replayed prefixes failed at first and were solved later.
    """

    def __init__(self) -> None:
        self.turned = Turned()
        self._solved: dict[str, set[str]] = {"bare": set(), "replayed": set()}
        self._hard: set[str] = set()
        # problem -> (decayed wins, decayed weight); the ratio is the running win rate, unbiased from the first row on.
        self._wins: dict[str, dict[str, tuple[float, float]]] = {"bare": {}, "replayed": {}}

    def observe(self, attempts: Sequence[Attempt], progress: Progress) -> tuple[Metrics, Signals | None]:
        """Book a step's attempts.

        Returns:
          Metrics, absent where undefined, and the signals of the fresh rows (None if there are none).
        """
        fresh = [a for a in attempts if not a.start.replayed]
        replayed = [a for a in attempts if a.start.replayed]
        metrics = _rollout_metrics("fresh", fresh) | _rollout_metrics("replayed", replayed)
        new = self._book("bare", fresh)
        self._book("replayed", replayed)
        self.turned.observe(replayed, progress.step)
        if replayed:
            metrics["rollout/prefix_tokens"] = float(sum(len(a.start.prefix) for a in replayed))
        for name, solved in self._solved.items():
            metrics[f"explore/coverage_{name}"] = len(solved)
            metrics[f"explore/hard_coverage_{name}"] = len(solved & self._hard)
        if (gain := self._prefix_gain()) is not None:
            metrics["explore/prefix_gain"] = gain
        if not fresh:
            return metrics, None
        signals = Signals(
            entropy=metrics["rollout/entropy_nats_fresh"],
            unique_frac=len({(a.start.problem.id, a.tokens) for a in fresh}) / len(fresh),
            new_solves=1000.0 * new / len(fresh),
            solve_rate=metrics["rollout/solved_fresh"],
        )
        return metrics | {"rollout/unique_frac": signals.unique_frac, "explore/new_solves": signals.new_solves}, signals

    def _book(self, origin: str, attempts: Sequence[Attempt]) -> int:
        """Update ever-solved sets and win rates, grouped by problem so that row order cannot matter.

        Returns the number of problems solved for the first time from this origin.
        """
        outcomes: dict[str, list[bool]] = {}
        for attempt in attempts:
            outcomes.setdefault(attempt.start.problem.id, []).append(attempt.solved)
        self._hard |= {a.start.problem.id for a in attempts if a.start.problem.difficulty == "hard"}
        wins = self._wins[origin]
        for problem, solved in outcomes.items():
            keep = _DECAY ** len(solved)
            won, weight = wins.get(problem, (0.0, 0.0))
            wins[problem] = (keep * won + (1 - keep) * sum(solved) / len(solved), keep * weight + 1 - keep)
        before = len(self._solved[origin])
        self._solved[origin] |= {problem for problem, solved in outcomes.items() if any(solved)}
        return len(self._solved[origin]) - before

    def _prefix_gain(self) -> float | None:
        bare, replayed = self._wins["bare"], self._wins["replayed"]
        gains = [replayed[p][0] / replayed[p][1] - bare[p][0] / bare[p][1] for p in replayed if p in bare]
        return float(np.mean(gains)) if gains else None

    def state_dict(self) -> dict[str, Any]:
        """Sorted, so that equal states are equal texts."""
        return {
            "solved": {origin: sorted(found) for origin, found in self._solved.items()},
            "hard": sorted(self._hard),
            "turned": self.turned.state_dict(),
            "wins": {o: {p: list(wins[p]) for p in sorted(wins)} for o, wins in self._wins.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._solved = {origin: set(found) for origin, found in state["solved"].items()}
        self._hard = set(state["hard"])
        if "turned" in state:  # a checkpoint of before this record: it begins empty, and decides nothing
            self.turned.load_state_dict(state["turned"])
        self._wins = {o: {p: (float(w), float(n)) for p, (w, n) in wins.items()} for o, wins in state["wins"].items()}


def _rollout_metrics(origin: str, attempts: Sequence[Attempt]) -> Metrics:
    if not attempts:
        return {}
    tokens = sum(a.num_sampled for a in attempts)
    metrics = {
        "score": float(np.mean([a.score for a in attempts])),
        "solved": float(np.mean([a.solved for a in attempts])),
        "entropy_nats": float(np.concatenate([a.entropy[a.own] for a in attempts]).mean(dtype=np.float64)),
        "length_tokens": tokens / len(attempts),
        "cut_frac": float(np.mean([not a.ended for a in attempts])),
        "tokens": float(tokens),
    }
    if hard := [a.solved for a in attempts if a.start.problem.difficulty == "hard"]:
        metrics["solved_hard"] = float(np.mean(hard))
    return {f"rollout/{name}_{origin}": value for name, value in metrics.items()}
