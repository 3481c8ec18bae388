"""The same losses and advantages from an installed peer: verl's core_algos.

verl cannot stand beside the other peers in an extra: it wants tensordict <= 0.10, TorchRL 0.14 a newer one. The gate
installs it without its dependencies; what core_algos imports and never calls here (Ray, a stop watch) is stood in for.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from rrl.objective.cispo import CISPO
from rrl.objective.gspo import GSPO
from rrl.objective.ppo_clip import PPOClip
from rrl.ops.importance import truncated_weight
from rrl.types import Start
from rrl.value.group_mean import GroupMean
from rrl.value.group_norm import GroupNorm
from rrl.value.leave_one_out import LeaveOneOut
from tests.unit.learner.tabular import SoloRanks, problem, scored_of
from tests.unit.objective.peer_rows import LONGEST, MASK, NUM_TOKENS, padded, peer_rows

CLIP = {"clip_low": 0.2, "clip_high": 0.28}
PPO = {**CLIP, "dual_clip": 3.0, "entropy_coef": 0.0}
CASES = {
    "token mean": ("vanilla", "token-mean", PPOClip(**PPO, aggregation="token_mean")),
    "sequence mean": ("vanilla", "seq-mean-token-mean", PPOClip(**PPO, aggregation="sequence_mean")),
    "constant": ("vanilla", "seq-mean-token-sum-norm", PPOClip(**PPO, aggregation="constant")),
    "gspo": ("gspo", "seq-mean-token-mean", GSPO(**CLIP, entropy_coef=0.0, aggregation="sequence_mean")),
    "cispo": ("cispo", "token-mean", CISPO(**CLIP, entropy_coef=0.0, aggregation="token_mean")),
}


class StandIn:
    """Finds modules that are imported and not used."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        wanted = name.split(".")[0] in self.names
        return importlib.util.spec_from_loader(name, self, is_package=True) if wanted else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> Any:
        return MagicMock(__path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, module: Any) -> None: ...


@pytest.fixture(scope="module")
def core() -> Iterator[Any]:
    if importlib.util.find_spec("verl") is None:
        pytest.skip("needs verl: pip install --no-deps verl==0.9.0")
    missing = [name for name in ("ray", "codetiming") if importlib.util.find_spec(name) is None]
    finder = StandIn(*missing)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        import verl.trainer.ppo.core_algos as core_algos

        yield core_algos
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name in [n for n in sys.modules if n.split(".")[0] in {"verl", *missing}]:
            del sys.modules[name]  # nobody else shall meet a stand-in


def settings_of(core: Any) -> Any:
    return core.ActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio=0.2, clip_ratio_low=0.2,
        clip_ratio_high=0.28, clip_ratio_c=3.0,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cap", [None, 1.3])
def test_loss_and_gradient_equal_verls_with_truncated_importance_weights_and_without(
    core: Any, name: str, seed: int, cap: float | None
) -> None:
    loss, aggregation, objective = CASES[name]
    rows, logprob, old, advantage = peer_rows(seed, moved=1.0)
    weight = None
    if cap is not None:
        sampler = old.float() + 0.3 * torch.randn(NUM_TOKENS, generator=torch.Generator().manual_seed(seed))
        weight, whole = truncated_weight(old.float(), sampler, cap)
        assert 0 < int((whole > cap).sum()) < NUM_TOKENS
        rows.advantage.mul_(weight)
    index = torch.arange(NUM_TOKENS)
    ours, slope, _ = objective.bind(rows, 1.0, NUM_TOKENS, 4)(logprob.detach(), torch.zeros(NUM_TOKENS), index)

    expected, _ = core.get_policy_loss_fn(loss)(
        padded(old), padded(logprob), advantage[:, None].expand(4, LONGEST), MASK, aggregation, settings_of(core),
        None if weight is None else padded(weight.double()),
    )  # fmt: skip
    # Their sequence mean divides by length + 1e-8.
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-6, atol=1e-7)
    (wanted,) = torch.autograd.grad(expected, logprob)
    if name == "gspo" and cap is not None:
        # A row's ratio is one number: here its tokens share the mean of their weights, there each keeps its own.
        slope, wanted = padded(slope).sum(1), padded(wanted).sum(1)
    torch.testing.assert_close(slope, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_group_advantages_equal_verls(core: Any, name: str) -> None:
    counts = {"ranks": SoloRanks(), "kappa": 2.0, "decay": 0.95}
    starts = [Start(problem=problem(n)) for n in "abca"]
    rows = [(starts[i], (1,) * (1 + i)) for i in (0, 1, 0, 2, 0, 1, 3)]  # groups of 4, 2 and 1 (a stands twice)
    scores = [0.0, 1.0, 1.0, 0.4, 0.3, 0.0, 0.0]
    ours = {
        "grpo": GroupNorm(eps=1e-6, **counts), "dr_grpo": GroupMean(**counts), "rloo": LeaveOneOut(**counts),
    }[name].estimate(scored_of(rows, scores))
    first = ours.advantage[ours.sequences.offsets[:-1]]

    reward = torch.tensor(scores)[:, None]
    groups = [start.problem.id for start, _ in rows]
    estimate = core.get_adv_estimator_fn("rloo" if name == "rloo" else "grpo")
    how = {} if name == "rloo" else {"norm_adv_by_std_in_grpo": name == "grpo"}
    wanted, _ = estimate(token_level_rewards=reward, response_mask=torch.ones(7, 1), index=groups, **how)
    # A group of one has no baseline: there its advantage is its reward, here it is 0.
    alone = torch.tensor([groups.count(g) == 1 for g in groups])
    torch.testing.assert_close(first[~alone], wanted[~alone, 0], rtol=1e-5, atol=1e-6)
    assert first[alone].tolist() == [0.0]
