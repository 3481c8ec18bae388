"""The policy as its own judge: how probable it finds "yes" when asked whether it is on the right way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.protocols import Cut, Policy, SpeltTask, Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start, given, sequences_of
from rrl.value.judged import Judged


class SelfEval:
    """Score of a state = log pi(yes | state, question) - log pi(no | state, question), read by ``Judged``.

    Kadavath et al., 2207.05221, section 3 (P(True)): before it is calibrated P(solved) = pi(yes) / (pi(yes) + pi(no)).
    No further model and nothing sampled; the price is a forward pass a step and state. The question stands behind the
    state as given tokens, in these look-ups only: no rollout, stored prefix or loss ever holds it, and no gradient
    comes from here. The judge is today's policy at its own temperature, so what it says moves with it.
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(
        self, *, policy: Policy, task: Task, ranks: Ranks, question: str, affirm: str, deny: str, cut: Cut, lam: float,
        window: int,
    ) -> None:
        """See conf/value/self_eval.yaml. Raises ValueError for a task without words or numbers out of range."""
        if not isinstance(task, SpeltTask):
            raise ValueError(f"value=self_eval asks in words, and task {task.name!r} has none, only symbols of its "
                             "own; expected a task in words, e.g. task=gsm8k, or value=critic")
        self._policy = policy
        said = {"question": question, "affirm": affirm, "deny": deny}
        spelt = {name: task.encode(text) for name, text in said.items()}
        if empty := [name for name, tokens in spelt.items() if not tokens]:
            raise ValueError(f"value.{empty[0]} is {said[empty[0]]!r}; expected a text")
        if spelt["affirm"] == spelt["deny"]:
            raise ValueError(f"value.affirm and value.deny are both {affirm!r}; expected two different answers")
        self._question, self._affirm, self._deny = (spelt[name] for name in said)
        self._judged = Judged(
            score=self._log_odds, cut=cut, reduce="last", lam=lam, window=window, score_range=task.score_range,
            ranks=ranks,
        )  # fmt: skip

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
        """The calibration."""
        return self._judged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._judged.load_state_dict(state)

    def _log_odds(self, states: Sequence[Start]) -> np.ndarray:
        asked = [Start(problem=s.problem, prefix=s.prefix + given(self._question)) for s in states]
        sequences = sequences_of([(start, answer) for start in asked for answer in (self._affirm, self._deny)])
        logprob = self._policy.logprob(sequences)[0].double().numpy()
        answers = np.add.reduceat(logprob, sequences.offsets[:-1].numpy()).reshape(-1, 2)
        return np.asarray(answers[:, 0] - answers[:, 1])
