"""Every way of reading groups gives the states and gradients of whole rows, on tiny decoders in float64."""

import pytest
import torch

from rrl.policy.layout import action_layout
from rrl.policy.prefix.backends import behind_context, kv_reuse, tree_mask
from rrl.policy.prefix.flex import attention_of, flex
from rrl.policy.prefix.groups import groups_of, tree_of
from rrl.types import sequences_of
from tests.unit.policy.families import FAMILIES, ROWS, body, head
from tests.unit.policy.small import start

FEW = ("ragged groups", "one token each", "given tokens")   # flex is traced anew for each
BACKENDS = {"kv_reuse": kv_reuse, "tree_mask": tree_mask}


def logprobs(states, rows):
    return torch.log_softmax(states.double() @ head().T, -1).gather(1, rows.actions[:, None])[:, 0]


def repeated(network, rows):
    layout = action_layout(rows, 0)
    return layout.gather(network(layout))


def with_gradient(network, states, rows):
    logprob = logprobs(states, rows)
    weight = torch.linspace(-1, 1, len(logprob), dtype=torch.float64)
    gradients = torch.autograd.grad(torch.dot(logprob, weight), list(network.parameters()))
    return logprob.detach(), torch.cat([g.flatten() for g in gradients])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_gradients_are_those_of_whole_rows(family, backend):
    network = body(family)
    for name, rows in ROWS.items():
        expected, gradient = with_gradient(network, repeated(network, rows), rows)
        states = BACKENDS[backend](network.decoder, groups_of(rows, 0))
        found, ours = with_gradient(network, states, rows)
        atol = 3e-6 if "eager" in family else 1e-12   # transformers' eager softmax is in float32
        torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
        assert float((ours - gradient).norm() / gradient.norm()) < 1e-6, name


def test_the_mask_goes_with_gradient_checkpointing():
    network, rows = body("llama"), ROWS["ragged groups"]
    expected, gradient = with_gradient(network, repeated(network, rows), rows)
    network.decoder.gradient_checkpointing_enable({"use_reentrant": False})
    network.train()
    found, ours = with_gradient(network, tree_mask(network.decoder, groups_of(rows, 0)), rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-6


def test_gradient_flows_through_the_shared_context():
    network, rows = body("llama"), sequences_of([(start(prompt=(3, 9)), (i, 2)) for i in (4, 5)])
    states = kv_reuse(network.decoder, groups_of(rows, 0))
    # A second action is not predicted from a state of the context: what reaches token 3 went through the cache.
    logprobs(states, rows)[[1, 3]].sum().backward()
    assert float(network.decoder.embed_tokens.weight.grad[3].abs().sum()) > 1e-3


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma"])
def test_restarted_positions_without_a_mask_are_silently_wrong(family):
    network, rows = body(family), ROWS["equal groups in order"]
    tree = tree_of(groups_of(rows, 0), one_row=False)
    with torch.no_grad():
        expected = logprobs(repeated(network, rows), rows)
        unseen = network.decoder(input_ids=tree.ids, position_ids=tree.positions, use_cache=False).last_hidden_state
        wrong = logprobs(unseen.flatten(0, 1)[tree.index], rows)
    first = rows.offsets[:-1]
    torch.testing.assert_close(wrong[first], expected[first], rtol=0, atol=1e-12)   # the context itself is read right
    assert float((wrong - expected).abs().max()) > 0.1


@pytest.mark.parametrize("backend", [*BACKENDS, "flex"])
@pytest.mark.parametrize("family", ["llama", "qwen2 with sliding layers"])
def test_no_way_ever_reads_restarted_positions_without_a_mask_of_four_dimensions(family, backend):
    network = body(family, dtype=torch.float32)
    calls = []

    def spy(module, args, options):
        calls.append((options.get("position_ids"), options.get("attention_mask")))

    network.decoder.register_forward_pre_hook(spy, with_kwargs=True)
    with torch.no_grad():
        for name in FEW:
            (BACKENDS | {"flex": flex})[backend](network.decoder, groups_of(ROWS[name], 0))
    restarted = [mask for positions, mask in calls if positions is not None]
    assert len(restarted) >= len(FEW) - 1   # kv_reuse has nothing to continue where all rows have one action
    for mask in restarted:
        for one in mask.values() if isinstance(mask, dict) else [mask]:
            assert len(one.shape) == 4


def test_a_continuation_sees_its_context_and_its_own_past():
    rows = sequences_of([(start(prompt=(7,)), (1, 2, 3)), (start(prompt=(7, 8)), (4, 5))])
    seen = behind_context(groups_of(rows, 0), None).int()
    assert seen[0].tolist() == [[1, 0, 1, 0], [1, 0, 1, 1]] and seen[1, 0].tolist() == [1, 1, 1, 0]
    assert behind_context(groups_of(rows, 0), 2)[0].int().tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]


# ------------------------------------------------------------------------------------------------ flex


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma", "qwen2 with sliding layers"])
def test_flex_scores_like_whole_rows_and_leaves_other_readings_as_they_were(family):
    network = body(family, dtype=torch.float32)
    with torch.no_grad():
        before = {name: repeated(network, ROWS[name]) for name in FEW}
        for name in FEW:
            states = flex(network.decoder, groups_of(ROWS[name], 0))
            torch.testing.assert_close(states, before[name], rtol=0, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
        assert attention_of(network.decoder) == "sdpa"
        assert all(torch.equal(repeated(network, ROWS[name]), before[name]) for name in FEW)
        states = kv_reuse(network.decoder, groups_of(ROWS["ragged groups"], 0))
        torch.testing.assert_close(states, before["ragged groups"], rtol=0, atol=2e-5)


def test_flex_has_no_backward_on_a_cpu():
    network = body("llama", dtype=torch.float32)
    with pytest.raises(NotImplementedError, match="(?i)flex"):
        flex(network.decoder, groups_of(ROWS["ragged groups"], 0)).sum().backward()


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma", "qwen2 with sliding layers"])
def test_flex_learns_like_whole_rows_on_a_gpu(family):
    network = body(family, dtype=torch.float32, head_dim=16).to("cuda")   # the kernel wants heads of at least 16
    network.float()
    for name in FEW:
        rows = ROWS[name]
        gradients = []
        for states in (repeated(network, rows), flex(network.decoder, groups_of(rows, 0))):
            network.zero_grad(set_to_none=True)
            states.square().sum().backward()
            gradients.append((states.detach(), network.decoder.embed_tokens.weight.grad.clone()))
        for found, expected in zip(gradients[1], gradients[0], strict=True):
            assert float((found - expected).norm() / expected.norm()) < 1e-2, name   # tensor cores round to 10 bits
