"""On a real GPU: every way of reading groups against whole rows in float64, and rollouts against those of a CPU."""

import pytest
import torch

from rrl.policy.layout import action_layout
from rrl.policy.prefix.backends import kv_reuse, tree_mask
from rrl.policy.prefix.flex import flex
from rrl.policy.prefix.groups import groups_of
from rrl.types import sequences_of
from tests.unit.policy.families import LONG, ROWS, SHORT, body, head
from tests.unit.policy.small import MIXED, tiny_hf

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

WIDE = {"hidden_size": 32, "head_dim": 16}   # FlexAttention's kernels take heads of 16 or more
BACKENDS = {"kv_reuse": kv_reuse, "tree_mask": tree_mask, "flex": flex}
FAMILIES = ["llama", "qwen2", "qwen3", "gemma", "qwen2 with sliding layers", "mistral, all layers sliding"]
LARGE = sequences_of([(s, tuple(range(1, n))) for s in (LONG, SHORT) for n in (15, 3, 9, 12, 14)] * 12)   # many blocks


@pytest.fixture(autouse=True)
def exact_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def scored(network, states, rows):
    device = states.device
    logits = states.double() @ head(32).to(device).T
    logprob = torch.log_softmax(logits, -1).gather(1, rows.actions.to(device)[:, None])[:, 0]
    weight = torch.linspace(-1, 1, len(logprob), dtype=torch.float64, device=device)
    gradients = torch.autograd.grad(torch.dot(logprob, weight), list(network.parameters()))
    return logprob.detach().cpu(), torch.cat([g.flatten() for g in gradients]).double().cpu()


def truth(family, rows):
    network, layout = body(family, **WIDE), action_layout(rows, 0)
    return scored(network, layout.gather(network(layout)), rows)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_gradients_are_those_of_whole_rows_in_float64(family, backend):
    network = body(family, torch.float32, **WIDE).cuda()
    for name in ("ragged groups", "one row", "one token each", "given tokens", "large"):
        rows = LARGE if name == "large" else ROWS[name]
        expected, gradient = truth(family, rows)
        found, ours = scored(network, BACKENDS[backend](network.decoder, groups_of(rows, 0)), rows)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}")
        assert float((ours - gradient).norm() / gradient.norm()) < 1e-4, name


@pytest.mark.parametrize("backend", ["tree_mask", "flex"])
def test_gradient_checkpointing_changes_nothing(backend):
    network, rows = body("llama", torch.float32, **WIDE).cuda(), LARGE
    network.decoder.gradient_checkpointing_enable({"use_reentrant": False})
    network.train()
    expected, gradient = truth("llama", rows)
    found, ours = scored(network, BACKENDS[backend](network.decoder, groups_of(rows, 0)), rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-4


def test_a_block_mask_of_another_width_is_not_compiled_anew():
    from torch._dynamo.utils import counters

    network = body("llama", torch.float32, **WIDE).cuda()

    def run(*copies):
        for n in copies:
            rows = sequences_of([(LONG, tuple(range(1, 15)))] * (20 * n))
            flex(network.decoder, groups_of(rows, 0)).sum().backward()

    run(1, 9, 30)   # what is compiled once for static and once for dynamic widths
    before = counters["stats"]["unique_graphs"]
    run(2, 5, 14, 22)
    assert counters["stats"]["unique_graphs"] == before


@pytest.mark.parametrize("sharing", ["repeat", "kv_reuse", "tree_mask"])
def test_mixed_precision_is_near_float32_and_alike_while_sampling_and_scoring(sharing):
    plain, mixed = (tiny_hf(dtype="float32", device="cuda", mixed=m, sharing=sharing) for m in (None, "bfloat16"))
    rollouts = mixed.rollout(MIXED, samples_per_start=4, step=0)
    scored = mixed.logprob(rollouts.sequences)[0]
    gap = (rollouts.behavior_logprob - scored).abs()
    assert float(gap.max()) < 0.1
    assert float(gap.median()) < 0.01
    gap = (plain.logprob(rollouts.sequences)[0] - scored).abs()
    assert 1e-4 < float(gap.max()) < 0.15


def test_flex_takes_mixed_precision():
    from rrl.policy.precision import set_products

    network = body("qwen3", torch.float32, **WIDE).cuda()
    set_products(network.decoder, "bfloat16")
    expected, gradient = truth("qwen3", LARGE)
    found, ours = scored(network, flex(network.decoder, groups_of(LARGE, 0)), LARGE)
    assert float((found - expected).abs().max()) < 0.5
    assert float((ours - gradient).norm() / gradient.norm()) < 0.1


def test_rollouts_are_those_of_a_cpu():
    cpu, gpu = (tiny_hf(dtype="float64", device=d).rollout(MIXED, samples_per_start=3, step=2) for d in ("cpu", "cuda"))
    assert gpu.sequences.all_tokens() == cpu.sequences.all_tokens()
    torch.testing.assert_close(gpu.behavior_logprob, cpu.behavior_logprob, rtol=0, atol=1e-5)


def test_scores_and_loss_on_a_gpu_are_those_of_a_cpu():
    cpu, gpu = (tiny_hf(dtype="float64", device=d) for d in ("cpu", "cuda"))
    rows = cpu.rollout(MIXED, samples_per_start=3, step=2).sequences
    torch.testing.assert_close(gpu.logprob(rows)[0], cpu.logprob(rows)[0], rtol=0, atol=1e-5)

    def token_loss(logprob, entropy, index):
        return -logprob.sum() - 0.1 * entropy.sum(), -torch.ones_like(logprob), torch.full_like(entropy, -0.1)

    for policy in (cpu, gpu):
        policy.loss(rows, token_loss)[0].backward()
    for mine, theirs in zip(gpu.parameters(), cpu.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.cpu(), theirs.grad, rtol=1e-4, atol=1e-5)   # norms are in float32
