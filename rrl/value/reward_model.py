"""A trained reward model as the value: no critic is fitted, only the scale of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from rrl.protocols import Cut, Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.classifier import Classifier
from rrl.value.judged import Judged


class RewardModel:
    """P(solved) of a state from a process or outcome reward model's score of it, read by ``Judged``.

    A process reward model is read by the least score of the steps so far, an outcome or preference model by the score
    of the state alone (Lightman et al., 2305.20050, compare both kinds). The model is frozen and is not saved with the
    run; the scale of its scores is: it is fitted to what became of the run's rows.
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(
        self, *, task: Task, ranks: Ranks, model: str, revision: str, trust_remote_code: bool,
        reads: Literal["text", "ids"], good_label: int, dtype: str, device: str, rows_per_batch: int,
        reduce: Literal["last", "min"], cut: Cut, lam: float, window: int,
    ) -> None:
        """See conf/value/reward_model.yaml. Raises ValueError for a model that cannot be had or read."""
        classifier = Classifier(
            task=task, model=model, revision=revision, trust_remote_code=trust_remote_code, reads=reads,
            good_label=good_label, dtype=dtype, device=device, rows_per_batch=rows_per_batch,
        )  # fmt: skip
        self._judged = Judged(
            score=classifier, cut=cut, reduce=reduce, lam=lam, window=window, score_range=task.score_range, ranks=ranks
        )

    def estimate(self, scored: Scored) -> Estimated:
        """Step-wise advantages; what happens inside a step is not valued."""
        return self._judged.estimate(scored)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), zeros) of each start."""
        return self._judged.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:  # noqa: ARG002 the door's signature
        """Calibrate on what became of the step's rows."""
        return self._judged.fit(estimated)

    def state_dict(self) -> dict[str, Any]:
        """The calibration; the model itself is as it was."""
        return self._judged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._judged.load_state_dict(state)
