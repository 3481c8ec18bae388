"""One replay for many workers: a Ray actor of the same class, behind the verbs that a replay has.

Weights must stand where the draw is, so one process owns the store and the others ask it. Every verb of ``Replay`` but
``rescore`` crosses as it is, for its arguments are plain records; a value estimator does not, so ``rescore`` is called
with one that the owner can be sent (any picklable function of starts).

    owner = share(make_replay, name="replay")   # make_replay: builds the Replay, e.g. by rrl.build.make
    replay = Shared(owner)               # in any worker: pass ``owner`` to its task
    starts = replay.draw(progress, 64)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rrl.records import Attempt, Progress
from rrl.replay.replay import Replay
from rrl.types import Metrics, Problem, Start, Tokens


def share(make: Callable[[], Replay], *, name: str) -> Any:
    """Start the owner; returns its handle.

    Args:
        make: builds the replay, in the owner's process.
        name: of the actor; workers may also find it by ``ray.get_actor(name)``.

    Raises:
        ValueError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("a shared replay needs Ray: pip install 'rrl[cluster]'") from error
    return ray.remote(_Owner).options(name=name, max_restarts=0).remote(make)


class _Owner:
    """Holds the replay. One call at a time, in the order of arrival."""

    def __init__(self, make: Callable[[], Replay]) -> None:
        self._replay = make()

    def ask(self, verb: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        return getattr(self._replay, verb)(*arguments, **options)


class Shared:
    """A replay elsewhere, with the same verbs. Errors of the owner arrive as they were raised."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def rescore(
        self, success: Callable[[Sequence[Start]], tuple[np.ndarray, np.ndarray]], progress: Progress
    ) -> None:
        self._ask("rescore", success, progress)

    def draw(self, progress: Progress, num_starts: int) -> list[Start]:
        starts: list[Start] = self._ask("draw", progress, num_starts)
        return starts

    def start(self, problem: Problem, progress: Progress) -> Start:
        start: Start = self._ask("start", problem, progress)
        return start

    def converted(self, problem: Problem) -> Tokens | None:
        tokens: Tokens | None = self._ask("converted", problem)
        return tokens

    def lessons(self, attempts: Sequence[Attempt]) -> list[tuple[Start, Tokens, float]]:
        lessons: list[tuple[Start, Tokens, float]] = self._ask("lessons", list(attempts))
        return lessons

    def observe(self, attempts: Sequence[Attempt], progress: Progress, *, warm_up: bool = False) -> Metrics:
        metrics: Metrics = self._ask("observe", list(attempts), progress, warm_up=warm_up)
        return metrics

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask("rows")
        return rows

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._ask("state_dict")
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._ask("load_state_dict", state)

    def _ask(self, verb: str, *arguments: Any, **options: Any) -> Any:
        import ray
        from ray.exceptions import RayTaskError

        try:
            return ray.get(self._owner.ask.remote(verb, arguments, options))
        except RayTaskError as error:
            raise error.cause from error
