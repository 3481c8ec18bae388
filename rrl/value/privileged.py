"""A critic that may look at the answer while the policy may not: asymmetric actor-critic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rrl.protocols import Policy, Task, Trunk
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Problem, Scored, Sequences, Start, Tokens
from rrl.value.fitted import FittedHeads
from rrl.value.fitting import Fitting
from rrl.value.heads import Estimation, Heads
from rrl.value.losses import BoundedLoss


class Privileged:
    """``critic`` on a network of its own that reads answer, separator, prompt and response.

    Pinto et al., 1710.06542: the critic is thrown away after training, so it may see what the policy must not.
    The answer is a function of the problem, so V(state, answer) is a baseline that no action changes, and the policy
    gradient keeps its mean. What is privileged stays behind ``Seeing``: estimates are numbers on the same rows, whose
    starts are handed on untouched, so neither the policy's inputs nor a stored prefix can hold it. The trunk is a copy
    or a network of its own, never the policy's, so no gradient reaches the policy either.

    It still tells replay, by a number, which stored states lead to the answer.
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(
        self,
        *,
        policy: Policy,
        task: Task,
        ranks: Ranks,
        seed: int,
        sees: Literal["answer", "solution"],
        init: str,
        num_layers: int,
        gamma: float,
        lam_actor: float,
        lam_critic: float,
        lam_alpha: float,
        bootstrap_truncated: bool,
        normalise: Literal["none", "per_stream"],
        loss: Literal["bce", "mse"],
        success_coef: float,
        value_clip: float,
        lr: float,
        lr_final_frac: float,
        betas: tuple[float, ...],
        eps: float,
        epochs: int,
        minibatches: int,
        warm_up_steps: int,
        grad_norm: float,
        micro_batch_rows: int,
    ) -> None:
        """See conf/value/privileged.yaml. Raises ValueError for numbers out of range, or problems that say nothing."""
        secret = secret_of(task, sees)
        problems = task.train_problems()
        if silent := [p.id for p in problems if not secret(p)]:
            raise ValueError(f"value.sees is {sees}, but {len(silent)} of {len(problems)} training problems of task "
                             f"{task.name!r} have none, {silent[0]!r} the first; expected value.sees="
                             f"{'answer' if sees == 'solution' else 'solution'}, or value=critic")
        trunk = Seeing(policy.trunk(init=init, num_layers=num_layers, seed=seed), secret, task.pad)
        trunk.try_longest(problems)
        heads = Heads(width=trunk.width, score_range=task.score_range, like=next(trunk.parameters()), members=1)
        self._fitted = FittedHeads(
            trunk=trunk, heads=heads, own=[*trunk.parameters(), *heads.parameters()], trained=[],
            losses=BoundedLoss(loss=loss, success_coef=success_coef, value_clip=value_clip).of(heads),
            estimation=Estimation(
                gamma=gamma, lam_actor=lam_actor, lam_critic=lam_critic, lam_alpha=lam_alpha,
                bootstrap_truncated=bootstrap_truncated, normalise=normalise, micro_batch_rows=micro_batch_rows,
            ),
            fitting=Fitting(
                lr=lr, lr_final_frac=lr_final_frac, betas=betas, eps=eps, grad_norm=grad_norm, epochs=epochs,
                minibatches=minibatches, warm_up_steps=warm_up_steps, micro_batch_rows=micro_batch_rows,
            ),
            ranks=ranks, seed=seed,
        )  # fmt: skip

    def estimate(self, scored: Scored) -> Estimated:
        """Value, success, advantage and target of every sampled token; the rows are the very rows given."""
        return self._fitted.estimate(scored)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), zeros) of each start: one critic knows no spread."""
        return self._fitted.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit value and success to the step's rows; how well they were calibrated before."""
        return self._fitted.fit(estimated, progress)

    def state_dict(self) -> dict[str, Any]:
        """Weights of trunk and heads, and Adam's moments."""
        return self._fitted.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        self._fitted.load_state_dict(state)


class Seeing:
    """``trunk``, in front of which every prompt becomes secret, separator, prompt."""

    def __init__(self, trunk: Trunk, secret: Callable[[Problem], Tokens], separator: int) -> None:
        self._trunk, self._secret, self._separator = trunk, secret, separator
        self.width = trunk.width

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The trunk's."""
        return self._trunk.parameters()

    def hidden(self, sequences: Sequences) -> Tensor:
        """The state before each action, of one who knows."""
        return self._trunk.hidden(replace(sequences, starts=tuple(self._told(s) for s in sequences.starts)))

    def start_hidden(self, starts: Sequence[Start]) -> Tensor:
        """The state at the end of each start's context, of one who knows."""
        return self._trunk.start_hidden([self._told(s) for s in starts])

    @torch.no_grad()
    def try_longest(self, problems: Sequence[Problem]) -> None:
        """Read once what will be longest, so that a network that is too short says so now. Raises ValueError."""
        longest = max(problems, key=lambda p: len(self._secret(p)) + len(p.prompt) + p.max_response)
        full = replace(longest, prompt=longest.prompt + (self._separator,) * longest.max_response)
        self.start_hidden([Start(problem=full)])

    def state_dict(self) -> dict[str, Any]:
        """The trunk's."""
        return self._trunk.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._trunk.load_state_dict(state)

    def _told(self, start: Start) -> Start:
        problem = start.problem
        prompt = self._secret(problem) + (self._separator,) + problem.prompt
        return replace(start, problem=replace(problem, prompt=prompt))


def secret_of(task: Task, sees: str) -> Callable[[Problem], Tokens]:
    """What of a problem its critic may see: the scorer's answer as tokens, or the canonical solution's tokens."""
    if sees == "solution":
        return lambda problem: problem.solution
    if sees == "answer":
        return lambda problem: task.encode(problem.answer)
    raise ValueError(f"value.sees is {sees!r}; expected answer or solution")
