"""Truncated importance sampling between the engine that samples and the network that learns.

They are the same weights, yet not the same numbers: another kernel, another precision, a quantised copy. What was
sampled is then slightly off-policy for the trainer, and a ratio taken against the sampler's log-probs mixes that
mismatch with the policy's own movement. Here the two are taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float32
from torch import Tensor

from rrl.ops.kl import k3
from rrl.protocols import Policy
from rrl.ranks import Ranks
from rrl.types import Estimated, Metrics


def truncated_weight(
    trainer: Float32[Tensor, "A"], sampler: Float32[Tensor, "A"], cap: float
) -> tuple[Float32[Tensor, "A"], Float32[Tensor, "A"]]:
    """(min(cap, w), w) of each token, w = pi_trainer(y_u) / mu_sampler(y_u).

    Example: log-probs log(.6) and log(.2), cap 2: w = 3, truncated to 2.
    """
    weight = torch.exp(trainer - sampler)
    return weight.clamp(max=cap), weight


def trainer_terms(
    terms: Sequence[tuple[Estimated, float]], policy: Policy, cap: float, ranks: Ranks
) -> tuple[list[tuple[Estimated, float]], Metrics]:
    """The terms as the trainer sees them: its own old log-probs, advantages times the truncated weight.

    With w_u = pi_old(y_u) / mu(y_u), pi_old the trainer before the update and mu the sampler, the gradient of token u
    is min(cap, w_u) times that of the objective with ratios pi / pi_old. Yao et al., "Your efficient RL framework
    secretly brings you off-policy RL training" (2025); truncation: Ionides, 2008. An objective sees w_u through
    w_u A_u, so that its mean, its bounds and its entropy bonus stay as they are, and so does `asymre`'s shift; where a
    row has one ratio (`gspo`) the row's tokens share the mean of their weights.
    Stored whole answers (``Start.recalled``) keep their log-probs: their distance from the policy is what the
    objective's own ratio is for. One forward of the policy over all rows.

    Args:
      terms: (rows, share), as the learner gets them; every rank gives equally many.
      policy: the trainer, before the update.
      cap: C, largest weight, >= 1.
      ranks: who else holds rows.
    Returns:
      The terms, and how far sampler and trainer are apart, over the tokens sampled now.
    """
    corrected: list[tuple[Estimated, float]] = []
    tokens = truncated = divergence = gap = 0.0
    for term, share in terms:
        if not term.sequences.num_rows:
            corrected.append((term, share))
            continue
        sampler = term.rollouts.behavior_logprob
        now = torch.tensor([not start.recalled for start in term.sequences.starts])
        here = now[term.sequences.start_index][term.sequences.row_of]
        trainer = torch.where(here, policy.logprob(term.sequences)[0].to(sampler), sampler)
        weight, whole = truncated_weight(trainer, sampler, cap)
        rollouts = replace(term.rollouts, behavior_logprob=trainer)
        scored = replace(term.scored, rollouts=rollouts)
        corrected.append((replace(term, scored=scored, advantage=weight * term.advantage), share))
        tokens += float(here.sum())
        truncated += float((whole > cap).sum())
        divergence += float(k3(sampler.double(), trainer.double())[0].sum())
        gap = max(gap, float((trainer - sampler).abs().max()))
    tokens, truncated, divergence = ranks.sum([tokens, truncated, divergence])
    gap = max(ranks.gather([gap]))
    if not tokens:
        return corrected, {}
    return corrected, {
        "learn/truncated_frac": truncated / tokens,
        "learn/kl_sampler_nats": divergence / tokens,
        "rollout/logprob_gap_nats": gap,
    }
