"""A random boundary: the control that asks whether the choice of the cut matters at all."""

from __future__ import annotations

from collections.abc import Sequence

from rrl import rng
from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix
from rrl.types import prefix_key


class RandomCut:
    """One prefix an attempt: a boundary drawn uniformly, the same one for equal responses of a step.

    Args:
        seed: names the random stream.
        solved_too: also cut solved attempts.
    """

    def __init__(self, *, seed: int, solved_too: bool) -> None:
        self._seed, self._solved_too = seed, solved_too

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        cuts = open_boundaries(attempt, boundaries)
        if not cuts or (attempt.solved and not self._solved_too):
            return []
        # Named by content, not by row: the order of rows must not matter.
        name = int(prefix_key(attempt.start.problem.id, attempt.response), 16)
        generator = rng.generator(self._seed, "replay.admission", step, name, len(attempt.start.prefix))
        return own_prefix(attempt, cuts[int(generator.integers(len(cuts)))], step)
