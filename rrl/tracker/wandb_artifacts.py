"""Which checkpoints and stores W&B keeps: none, the last one, or those that were the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rrl.metrics import CATALOGUE
from rrl.types import Metrics

Rule = Literal["none", "last", "best"]


class Artifacts:
    """Decides; it uploads nothing itself.

    Args:
      rules: kind -> rule, for the kinds "checkpoint" and "store".
      best_metric: says which is best; its direction stands in the catalogue.
    Raises:
      ValueError: best_metric is no name of the catalogue, or has no better direction.
    """

    def __init__(self, *, rules: Mapping[str, Rule], best_metric: str) -> None:
        if best_metric not in CATALOGUE or not CATALOGUE[best_metric].better:
            raise ValueError(f"tracker.wandb.best_metric is {best_metric!r}; expected a name of rrl.metrics.CATALOGUE "
                             "of which more or less is better, such as eval/hard_success")
        self.last: dict[str, Path] = {}
        self._rules, self._metric, self._newest = dict(rules), best_metric, float("nan")

    def note(self, metrics: Metrics) -> None:
        """A record of the run; evaluations are rarer than checkpoints, so the newest value counts until the next."""
        self._newest = metrics.get(self._metric, self._newest)

    def wants(self, kind: str) -> bool:
        return self._rules[kind] != "none"

    def is_best(self, path: Path, kind: str, best: dict[str, float]) -> bool:
        """Whether ``path`` is to be kept now. A kind of which the last one is kept goes into ``last`` instead.

        Args:
          best: kind -> value of the last one that was kept; written to.
        """
        if self._rules[kind] == "last":
            self.last[kind] = path
        if self._rules[kind] != "best" or self._newest != self._newest:  # nothing was measured yet
            return False
        if kind in best and (self._newest - best[kind]) * CATALOGUE[self._metric].better <= 0:
            return False
        best[kind] = self._newest
        return True
