"""Mixed precision on a CPU: near float32, the same while sampling, scoring and training, weights untouched by it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rrl.policy.precision import products_of
from tests.unit.policy.small import MIXED, start, tiny_hf


def both():
    return tiny_hf(dtype="float32"), tiny_hf(dtype="float32", mixed="bfloat16")


def test_log_probs_are_near_those_of_float32_and_not_equal():
    plain, mixed = both()
    rows = plain.rollout(MIXED, samples_per_start=2, step=0).sequences
    gap = (plain.logprob(rows)[0] - mixed.logprob(rows)[0]).abs()
    assert 1e-4 < float(gap.max()) < 0.1


def test_log_probs_while_sampling_are_those_while_scoring():
    _, mixed = both()
    rollouts = mixed.rollout(MIXED, samples_per_start=4, step=0)
    gap = (rollouts.behavior_logprob - mixed.logprob(rollouts.sequences)[0]).abs()
    assert float(gap.max()) < 0.06   # bfloat16 keeps 8 bits: other sums in one row and in a batch
    assert float(gap.median()) < 0.01


def test_the_gradient_is_in_float32_and_near_that_of_float32():
    plain, mixed = both()
    rows = plain.rollout(MIXED, samples_per_start=4, step=0).sequences

    def token_loss(logprob, entropy, index):
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    found = []
    for policy in (plain, mixed):
        policy.loss(rows, token_loss)[0].backward()
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in policy.parameters())
        found.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    gap = float((found[0] - found[1]).norm() / found[0].norm())
    assert 1e-5 < gap < 0.05


@pytest.mark.parametrize("sharing", ["kv_reuse", "tree_mask"])
def test_shared_prefixes_are_read_alike(sharing):
    whole, shared = (tiny_hf(dtype="float32", mixed="bfloat16", sharing=s) for s in ("repeat", sharing))
    rows = whole.rollout([start(prompt=(1, 2), prefix=(3, 4), max_response=6)], samples_per_start=6, step=0).sequences
    gap = (whole.logprob(rows)[0] - shared.logprob(rows)[0]).abs()
    assert float(gap.max()) < 0.06


def test_copies_and_trunks_compute_alike():
    _, mixed = both()
    bodies = [mixed.frozen().backbone.body]
    bodies += [mixed.backbone.new_body(init=i, num_layers=0, seed=1) for i in ("policy", "scratch")]
    assert [products_of(b.decoder) for b in bodies] == [torch.bfloat16] * 3


class Rounded(TorchDispatchMode):
    """Counts weights that are brought to bfloat16."""

    def __init__(self, weights):
        super().__init__()
        self.times, self._weights = 0, {w.data_ptr() for w in weights}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        copies = function is torch.ops.aten._to_copy.default and kwargs["dtype"] == torch.bfloat16
        self.times += copies and args[0].data_ptr() in self._weights
        return function(*args, **kwargs)


@pytest.mark.parametrize("frozen", [False, True])
def test_sampling_rounds_each_weight_once_whether_or_not_it_learns(frozen):
    _, mixed = both()
    policy = mixed.frozen() if frozen else mixed
    matrices = [p for p in policy.backbone.module.parameters() if p.ndim == 2]
    learns = [p.requires_grad for p in matrices]
    with Rounded(matrices) as rounded:
        policy.rollout(MIXED, samples_per_start=2, step=0)
    assert rounded.times == len(matrices) - 1   # the embedding is looked up in float32
    assert [p.requires_grad for p in matrices] == learns == [not frozen] * len(learns)


def test_it_is_part_of_the_fingerprint():
    plain, mixed = both()
    assert plain.fingerprint != mixed.fingerprint


@pytest.mark.parametrize(("dtype", "name", "said"), [
    ("float32", "float16", "policy.backbone.mixed_precision is 'float16'"),
    ("float64", "bfloat16", "expected policy.dtype=float32"),
])
def test_what_it_cannot_be_is_said(dtype, name, said):
    with pytest.raises(ValueError, match=said):
        tiny_hf(dtype=dtype, mixed=name)
