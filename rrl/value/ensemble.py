"""Several critics in one: their mean is the value, their spread says how little is known of a state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rrl import rng
from rrl.protocols import Policy, Task, Trunk
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Sequences, Start
from rrl.value.fitted import FittedHeads
from rrl.value.fitting import Fitting
from rrl.value.heads import Estimation, Heads
from rrl.value.losses import BoundedLoss, Labels, Losses, token_losses


class Ensemble:
    """K pairs of bounded heads, each fitted to its own random share of the rows; P(solved) has their spread.

    Bootstrapped heads, rows drawn by coin: Osband et al., 1602.04621, section 3. Member k learns from a row with
    probability ``row_prob``, by noise of (seed, step, row, k): the same in every epoch, however rows are dealt out.
    value and success are means over members, the deviation of success is the members' population standard deviation:
    0 before anything is fitted. With ``trunks: own`` the members share nothing, and K networks are K times the cost.
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
        members: int,
        trunks: Literal["shared", "own"],
        row_prob: float,
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
        """See conf/value/ensemble.yaml. Raises ValueError for numbers out of range."""
        if members < 2:
            raise ValueError(f"value.members is {members}; expected >= 2 (one member is value=critic)")
        if not 0.0 < row_prob <= 1.0:
            raise ValueError(f"value.row_prob is {row_prob}; expected a number in (0, 1]")
        seeds = [seed] if trunks == "shared" else [member_seed(seed, k) for k in range(members)]
        networks = [policy.trunk(init=init, num_layers=num_layers, seed=s) for s in seeds]
        trunk = Several(networks)
        like = next(trunk.parameters())
        heads = [
            Heads(width=network.width, score_range=task.score_range, like=like, members=members // len(networks))
            for network in networks
        ]
        joined = JoinedHeads(heads)
        bounded = BoundedLoss(loss=loss, success_coef=success_coef, value_clip=0.0)
        self._fitted = FittedHeads(
            trunk=trunk, heads=joined, own=[*trunk.parameters(), *joined.parameters()], trained=[],
            losses=bootstrapped(heads[0], bounded, members=members, row_prob=row_prob, seed=seed),
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
        """Value, success, advantage and target of every sampled token, by the members' means."""
        return self._fitted.estimate(scored)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean, spread of the members) of P(solved) from each start."""
        return self._fitted.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit each member to its rows of the step; how well the mean was calibrated before."""
        return self._fitted.fit(estimated, progress)

    def state_dict(self) -> dict[str, Any]:
        """Weights of trunks and heads, and Adam's moments."""
        return self._fitted.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        self._fitted.load_state_dict(state)


class Several:
    """Trunks side by side: their hidden states, end to end."""

    def __init__(self, trunks: Sequence[Trunk]) -> None:
        self._trunks = list(trunks)
        self.width = sum(trunk.width for trunk in trunks)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Of all, in order."""
        return (p for trunk in self._trunks for p in trunk.parameters())

    def hidden(self, sequences: Sequences) -> Float[Tensor, "A D"]:
        """The state before each action."""
        return torch.cat([trunk.hidden(sequences) for trunk in self._trunks], dim=1)

    def start_hidden(self, starts: Sequence[Start]) -> Float[Tensor, "S D"]:
        """The state at the end of each start's context."""
        return torch.cat([trunk.start_hidden(starts) for trunk in self._trunks], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Of each trunk, by its number."""
        return {str(k): trunk.state_dict() for k, trunk in enumerate(self._trunks)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        for k, trunk in enumerate(self._trunks):
            trunk.load_state_dict(state[str(k)])


class JoinedHeads(torch.nn.Module):
    """Heads that each read their own part of the hidden state; read together as ``Heads`` of all members."""

    def __init__(self, heads: Sequence[Heads]) -> None:
        super().__init__()
        self.each = torch.nn.ModuleList(heads)
        self._first = heads[0]
        self._widths = [head.linear.in_features for head in heads]

    def forward(self, hidden: Float[Tensor, "B D"]) -> Float[Tensor, "B M"]:
        """Logits of (value, success) of each member."""
        parts = torch.split(hidden, self._widths, dim=1)
        return torch.cat([head(x) for head, x in zip(self.each, parts, strict=True)], dim=1)

    def value(self, logits: Float[Tensor, "B M"]) -> Float[Tensor, "B"]:
        """The members' mean."""
        return self._first.value(logits)

    def success(self, logits: Float[Tensor, "B M"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """(mean, spread) of the members."""
        return self._first.success(logits)


def bootstrapped(heads: Heads, how: BoundedLoss, *, members: int, row_prob: float, seed: int) -> Losses:
    """Mean over members k of m_k / row_prob x ``token_losses`` of k, m_k ~ Bernoulli(row_prob) of each row."""

    def losses(logits: Tensor, labels: Labels) -> Tensor:
        rows, total = labels.row.numpy(), torch.zeros(len(logits)).to(logits)
        for k in range(members):
            drawn = rng.uniforms(seed, "value.row", labels.step, rows, k) < row_prob
            each = token_losses(heads, logits[:, 2 * k : 2 * k + 2], labels, how=how)
            total = total + torch.from_numpy(drawn).to(logits) * each
        return total / (row_prob * members)

    return losses


def member_seed(seed: int, member: int) -> int:
    """What names the weights of a member's own trunk."""
    return int(rng.generator(seed, "value.member", member).integers(2**31))
