"""Fresh problems without replacement: every epoch is a permutation of the training problems."""

from __future__ import annotations

from rrl import rng
from rrl.protocols import Task
from rrl.records import Progress
from rrl.types import Start


class Epoch:
    """Walks through permutations f(seed, stream, epoch), one after another.

    A step's rows begin at position step * starts_per_step of that walk, whatever earlier steps took:
    the draw is pure in (seed, stream, step), so a resumed run needs no saved position. The price: rows
    that replay takes from a step are skipped in this epoch (another permutation brings them next
    time), and a draw of more than ``starts_per_step`` rows (a large value warm-up) reads into the next
    step's. Steps of the warm-up are negative: they have epochs -1, -2, .. and a stream of their own.

    Args:
      starts_per_step: positions between two steps, >= 1; the run's own number.
    """

    def __init__(self, *, seed: int, task: Task, starts_per_step: int) -> None:
        if starts_per_step < 1:
            raise ValueError(f"problems.starts_per_step is {starts_per_step}; expected run.starts_per_step, >= 1")
        self._seed, self._starts_per_step = seed, starts_per_step
        self._starts = [Start(problem=p) for p in task.train_problems()]
        if not self._starts:
            raise ValueError("the task has no training problems; problems=epoch expects at least one")

    def draw(self, num: int, progress: Progress, stream: str = "problems") -> list[Start]:
        """``num`` fresh starts; pure in (seed, stream, step)."""
        drawn: list[Start] = []
        while len(drawn) < num:
            epoch, place = divmod(progress.step * self._starts_per_step + len(drawn), len(self._starts))
            order = rng.generator(self._seed, stream, epoch).permutation(len(self._starts))
            drawn += [self._starts[i] for i in order[place : place + num - len(drawn)]]
        return drawn
