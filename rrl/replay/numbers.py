"""Replay's own numbers, refused at the door where they are impossible."""

from __future__ import annotations


def check_numbers(
    *, rescore_every: int, max_score_age: int, eps_uniform: float, eps_stale: float, max_per_problem: int,
    max_replay_frac: float, posterior_decay: float, root_decay: float, max_credits: int,
) -> None:
    """See ``Replay``. Raises ValueError naming the config key."""
    if rescore_every < 1 or max_score_age < rescore_every:
        raise ValueError(f"replay.rescore_every is {rescore_every} and max_score_age {max_score_age}; "
                         "expected 1 <= rescore_every <= max_score_age")
    if max_per_problem < 1:
        raise ValueError(f"replay.max_per_problem is {max_per_problem}; expected >= 1; "
                         "use replay/schedule=none to train without replay")
    if min(eps_uniform, eps_stale) < 0.0 or eps_uniform + eps_stale > 1.0:
        raise ValueError(f"replay.eps_uniform is {eps_uniform} and eps_stale {eps_stale}; expected shares >= 0 "
                         "whose sum is at most 1")
    if not 0.0 <= max_replay_frac <= 1.0:
        raise ValueError(f"replay.max_replay_frac is {max_replay_frac}; expected a number in [0, 1]")
    if not 0.0 < posterior_decay <= 1.0 or not 0.0 <= root_decay <= 1.0:
        raise ValueError(f"replay.posterior_decay is {posterior_decay} and root_decay {root_decay}; expected "
                         "(0, 1] and [0, 1]")
    if max_credits < 0:
        raise ValueError(f"replay.max_credits is {max_credits}; expected >= 0 (0 = no limit)")
