"""Which steps are evaluated."""

from __future__ import annotations

from rrl.records import Progress


class Due:
    """When an evaluation is due: rarely, and densely at the beginning, where the curve bends."""

    def __init__(self, every_steps: int, dense_every: int, dense_until: int) -> None:
        for key, value in (("every_steps", every_steps), ("dense_every", dense_every)):
            if value < 1:
                raise ValueError(f"evaluate.{key} is {value}; expected >= 1")
        self._every, self._dense_every, self._dense_until = every_steps, dense_every, dense_until

    def __call__(self, progress: Progress) -> bool:
        step = progress.step
        if progress.finished:
            return True  # the run's last figures
        return step >= 0 and (step % self._every == 0 or (step <= self._dense_until and step % self._dense_every == 0))
