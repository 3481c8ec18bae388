"""The same loss and gradient from an installed peer: TRL's GRPOTrainer._compute_loss (extra `bench`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rrl.objective.cispo import CISPO
from rrl.objective.gspo import GSPO
from rrl.objective.ppo_clip import PPOClip
from rrl.types import Start
from tests.unit.learner.tabular import estimated_of, problem

LENGTHS = [5, 1, 8, 3]
LONGEST = 8
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
    mask = (torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]).long()
    padded, padded_old = torch.zeros(4, LONGEST, dtype=torch.float64), torch.zeros(4, LONGEST, dtype=torch.float64)
    padded = padded.masked_scatter(mask.bool(), logprob)
    padded_old = padded_old.masked_scatter(mask.bool(), old)
    # CISPO's bound is the ratio itself there, the distance from 1 elsewhere.
    high = 1.28 if loss_type == "cispo" else 0.28
    accelerator = SimpleNamespace(gather=lambda x: x, num_processes=1, sync_gradients=True, reduce=lambda x, **_: x)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (padded, torch.zeros_like(padded), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=0.0,
        importance_sampling_level=level, loss_type=loss_type, epsilon_low=0.2, epsilon_high=high,
        args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False), use_vllm=False,
        vllm_importance_sampling_correction=False, model=SimpleNamespace(training=True), accelerator=accelerator,
        current_gradient_accumulation_steps=1, max_completion_length=LONGEST, _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, LONGEST, dtype=torch.long), "completion_mask": mask,
        "advantages": advantage, "old_per_token_logps": padded_old, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return peer.GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_equal_trls(name: str, seed: int) -> None:
    peer = pytest.importorskip("trl.trainer.grpo_trainer", reason="needs trl: pip install -e .[bench]")
    loss_type, level, objective = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    advantage = torch.randn(4, generator=generator).double()
    old = -torch.rand(17, generator=generator)
    logprob = (old + torch.randn(17, generator=generator) * 0.5).double().requires_grad_()

    start = Start(problem=problem(max_response=LONGEST))
    flat = torch.repeat_interleave(advantage, torch.tensor(LENGTHS)).tolist()
    rows = estimated_of([(start, (1,) * n) for n in LENGTHS], flat)
    rollouts = replace(rows.rollouts, behavior_logprob=old)
    rows = replace(rows, scored=replace(rows.scored, rollouts=rollouts))
    ours, slope, _ = objective.bind(rows, 1.0, 17, 4)(logprob.detach(), torch.zeros(17), torch.arange(17))
    advantage = rows.advantage[torch.tensor([0, 5, 6, 14])].double()  # float32, as ours are

    expected = theirs(peer, loss_type, level, logprob, old.double(), advantage)
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, logprob)[0], rtol=1e-12, atol=1e-12)
