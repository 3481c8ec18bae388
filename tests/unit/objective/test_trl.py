"""The same loss and gradient from an installed peer: TRL's GRPOTrainer and RLOOTrainer (extra `dev`)."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rrl.objective.cispo import CISPO
from rrl.objective.gspo import GSPO
from rrl.objective.ppo_clip import PPOClip
from rrl.objective.reinforce import Reinforce
from tests.unit.objective.peer_rows import LONGEST, MASK, NUM_TOKENS, padded, peer_rows

CLIP = {"clip_low": 0.2, "clip_high": 0.28}
CASES = {
    "grpo": ("grpo", "token", PPOClip(**CLIP, dual_clip=0.0, entropy_coef=0.0, aggregation="sequence_mean")),
    "dr_grpo": ("dr_grpo", "token", PPOClip(**CLIP, dual_clip=0.0, entropy_coef=0.0, aggregation="constant")),
    "dapo": ("dapo", "token", PPOClip(**CLIP, dual_clip=0.0, entropy_coef=0.0, aggregation="token_mean")),
    "bnpo": ("bnpo", "token", PPOClip(**CLIP, dual_clip=0.0, entropy_coef=0.0, aggregation="token_mean")),
    "gspo": ("grpo", "sequence", GSPO(**CLIP, entropy_coef=0.0, aggregation="sequence_mean")),
    "cispo": ("cispo", "token", CISPO(clip_low=1.0, clip_high=0.28, entropy_coef=0.0, aggregation="token_mean")),
}


def theirs(peer: Any, loss_type: str, level: str, logprob: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor):
    """TRL's loss; the trainer is a namespace of the settings that the function reads."""
    wide, wide_old = padded(logprob), padded(old)
    # CISPO's bound is the ratio itself there, the distance from 1 elsewhere.
    high = 1.28 if loss_type == "cispo" else 0.28
    accelerator = SimpleNamespace(gather=lambda x: x, num_processes=1, sync_gradients=True, reduce=lambda x, **_: x)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (wide, torch.zeros_like(wide), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=0.0,
        importance_sampling_level=level, loss_type=loss_type, epsilon_low=0.2, epsilon_high=high,
        args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False), use_vllm=False,
        vllm_importance_sampling_correction=False, model=SimpleNamespace(training=True), accelerator=accelerator,
        current_gradient_accumulation_steps=1, max_completion_length=LONGEST, _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, LONGEST, dtype=torch.long), "completion_mask": MASK,
        "advantages": advantage, "old_per_token_logps": wide_old, "num_items_in_batch": MASK.sum(),
    }  # fmt: skip
    return peer.GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_equal_trls(name: str, seed: int) -> None:
    peer = pytest.importorskip("trl.trainer.grpo_trainer", reason="needs trl: pip install -e .[dev]")
    loss_type, level, objective = CASES[name]
    rows, logprob, old, advantage = peer_rows(seed)
    index = torch.arange(NUM_TOKENS)
    ours, slope, _ = objective.bind(rows, 1.0, NUM_TOKENS, 4)(logprob.detach(), torch.zeros(NUM_TOKENS), index)

    expected = theirs(peer, loss_type, level, logprob, old, advantage)
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, logprob)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_rloos_gradient_equals_trls_on_policy(seed: int) -> None:
    # There a clipped ratio of whole rows, here -A log pi of each token over rows and the longest response: on policy,
    # where RLOO is used, the same gradient up to that constant length.
    peer = pytest.importorskip("trl.trainer.rloo_trainer", reason="needs trl: pip install -e .[dev]")
    rows, logprob, old, advantage = peer_rows(seed, moved=0.0)
    objective = Reinforce(entropy_coef=0.0, aggregation="constant")
    index = torch.arange(NUM_TOKENS)
    _, slope, _ = objective.bind(rows, 1.0, NUM_TOKENS, 4)(logprob.detach(), torch.zeros(NUM_TOKENS), index)

    wide = padded(logprob)
    accelerator = SimpleNamespace(gather=lambda x: x, reduce=lambda x, **_: x)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (wide, torch.zeros_like(wide), None),
        aux_loss_enabled=False, epsilon_low=0.2, epsilon_high=0.28, model=SimpleNamespace(training=True),
        accelerator=accelerator, _metrics={"train": defaultdict(list)},
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, LONGEST, dtype=torch.long), "completion_mask": MASK,
        "advantages": advantage, "old_logps": padded(old).sum(1),
    }  # fmt: skip
    expected = peer.RLOOTrainer._compute_loss(trainer, None, inputs)
    (wanted,) = torch.autograd.grad(expected, logprob)
    torch.testing.assert_close(slope * LONGEST, wanted, rtol=1e-12, atol=1e-12)
