import pytest
import torch

from rrl.types import sequences_of
from tests.unit.policy.small import MIXED, SIZES, start, tiny, tiny_hf

POLICIES = [tiny, tiny_hf]
ROWS = sequences_of([(start(prompt=(1, 2)), (3, 4, 5)), (start(prompt=(6,), prefix=(7, 8)), (9, 1)), (start(), (4,))])


def weighted(logprob, entropy, index):
    """loss = sum w_i lp_i + .1 sum H_i with w = (1, 2, 3, ...)."""
    weight = (index + 1).to(logprob)
    return (weight * logprob).sum() + 0.1 * entropy.sum(), weight, torch.full_like(entropy, 0.1)


def eager(policy, rows):
    """The same loss, row by row and through autograd alone."""
    total, index = 0.0, 0
    for i in range(rows.num_rows):
        context, tokens = rows.start_of(i).context, rows.tokens_of(i)
        for u, token in enumerate(tokens):
            one = sequences_of([(start(prompt=context + tokens[:u], max_response=20), (token,))])
            hidden = policy.shared_trunk(detach=False).hidden(one)
            log_p = torch.log_softmax(policy.backbone.head(torch.float32).logits(hidden), -1)[0]
            total = total + (index + 1) * log_p[token] - 0.1 * (log_p.exp() * log_p).sum()
            index += 1
    return total


# transformers' RMSNorm and RoPE compute in float32 whatever the model's dtype.
@pytest.mark.parametrize(("make", "atol"), [(tiny, 1e-10), (tiny_hf, 1e-5)])
def test_value_and_gradient_of_the_loss_are_those_of_the_token_loss(make, atol):
    policy = make()
    loss, metrics = policy.loss(ROWS, weighted)
    loss.backward()
    ours = [p.grad.clone() for p in policy.parameters()]
    expected = eager(policy, ROWS)
    theirs = torch.autograd.grad(expected, list(policy.parameters()))
    torch.testing.assert_close(loss.detach(), expected.detach(), rtol=0, atol=atol)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)
    assert metrics["learn/entropy_nats"] == pytest.approx(policy.logprob(ROWS)[1].mean().item(), abs=1e-6)


def test_chunked_logits_change_neither_loss_nor_gradient():
    gradients = []
    for actions_per_chunk in (64, 4):
        policy = tiny(actions_per_chunk=actions_per_chunk)
        loss, _ = policy.loss(ROWS, weighted)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in policy.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_gradient_checkpointing_changes_neither_loss_nor_tokens():
    plain, saving = tiny_hf(), tiny_hf(checkpointing=True)
    losses = []
    for policy in (plain, saving):
        loss, _ = policy.loss(ROWS, weighted)
        loss.backward()
        losses.append(torch.cat([loss.detach().view(1), *(p.grad.flatten() for p in policy.parameters())]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=1e-12)
    a, b = (p.rollout(MIXED, samples_per_start=1, step=0).sequences.actions.tolist() for p in (plain, saving))
    assert a == b
    assert saving.backbone.module.training


def test_gradient_checkpointing_reads_every_layer_again_in_backward():
    for checkpointing, times in ((False, 1), (True, 2)):
        policy, read = tiny_hf(checkpointing=checkpointing), []
        for layer in policy.backbone.decoder.layers:
            layer.mlp.register_forward_pre_hook(lambda *_, read=read: read.append(1))
        loss, _ = policy.loss(ROWS, weighted)
        loss.backward()
        assert len(read) == times * len(policy.backbone.decoder.layers)


def test_a_prefix_is_context_only():
    # The loss of the continuation does not depend on the log-probs of prompt or prefix: only A = 2 numbers are seen.
    seen = []

    def spy(logprob, entropy, index):
        seen.append((len(logprob), index.tolist()))
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    tiny().loss(sequences_of([(start(prompt=(1, 2), prefix=(3, 4)), (5, 6))]), spy)
    assert seen == [(2, [0, 1])]


@pytest.mark.parametrize("make", POLICIES)
def test_scoring_in_small_batches_changes_nothing(make):
    whole, parts = (make(rows_per_batch=n).logprob(ROWS) for n in (64, 1))
    torch.testing.assert_close(whole[0], parts[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(whole[1], parts[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", POLICIES)
def test_a_frozen_copy_neither_learns_nor_follows(make):
    policy = make()
    reference = policy.frozen()
    before = reference.logprob(ROWS)[0]
    with torch.no_grad():
        for p in policy.parameters():
            p.mul_(1.5)
    assert torch.equal(before, reference.logprob(ROWS)[0])
    assert not torch.allclose(before, policy.logprob(ROWS)[0])
    assert not any(p.requires_grad for p in reference.parameters())
    assert all(p.requires_grad for p in policy.parameters())


@pytest.mark.parametrize("make", POLICIES)
def test_a_saved_state_is_a_copy_and_brings_the_policy_back(make):
    policy = make()
    before, state = policy.logprob(ROWS)[0], policy.state_dict()
    with torch.no_grad():
        next(policy.parameters()).add_(1.0)
    assert not torch.equal(before, policy.logprob(ROWS)[0])
    policy.load_state_dict(state)
    assert torch.equal(before, policy.logprob(ROWS)[0])


@pytest.mark.parametrize("make", POLICIES)
@pytest.mark.parametrize("num_layers", [0, 1])
def test_a_copied_trunk_begins_as_the_policy_and_then_goes_its_own_way(make, num_layers):
    policy = make()
    trunk = policy.trunk(init="policy", num_layers=num_layers, seed=5)
    shared = policy.shared_trunk(detach=False)
    assert torch.equal(trunk.hidden(ROWS), shared.hidden(ROWS)) == (num_layers == 0)
    before = shared.hidden(ROWS)
    with torch.no_grad():
        for p in trunk.parameters():
            p.mul_(2.0)
    assert torch.equal(before, shared.hidden(ROWS))


def test_a_one_layer_trunk_of_the_default_size_and_its_head_have_16672_parameters():
    class Wide(type(tiny().backbone.codec)):
        vocab_size = 197

    from rrl.policy.tiny import TinyBackbone

    backbone = TinyBackbone(seed=0, task=Wide(), dtype="float32", **(SIZES | {"width": 32, "ff_width": 64}))
    body = backbone.new_body(init="scratch", num_layers=1, seed=0)
    assert sum(p.numel() for p in body.parameters()) + 32 == 16_672


@pytest.mark.parametrize("make", POLICIES)
def test_a_scratch_trunk_is_a_function_of_its_seed_and_not_of_the_policy(make):
    seeds = ((0, 3), (1, 3), (0, 4))
    one, same, other = (make(seed=s).trunk(init="scratch", num_layers=1, seed=t).hidden(ROWS) for s, t in seeds)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_scratch_trunks_of_both_families_are_alike():
    ours, theirs = (make().trunk(init="scratch", num_layers=1, seed=3).hidden(ROWS) for make in POLICIES)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # transformers' RoPE angles are float32


def test_the_state_before_the_first_action_is_the_state_of_the_start():
    trunk = tiny().trunk(init="scratch", num_layers=0, seed=0)
    states = trunk.hidden(ROWS)[ROWS.offsets[:-1]]
    torch.testing.assert_close(states, trunk.start_hidden(list(ROWS.starts)), rtol=1e-12, atol=1e-12)


def test_a_detached_shared_trunk_has_nothing_to_train_or_save():
    policy = tiny()
    detached, attached = policy.shared_trunk(detach=True), policy.shared_trunk(detach=False)
    assert not detached.hidden(ROWS).requires_grad and attached.hidden(ROWS).requires_grad
    assert list(detached.parameters()) == [] and len(list(attached.parameters())) == 20
    assert detached.state_dict() == {}


def test_a_trunk_saves_and_loads():
    policy = tiny()
    one, other = (policy.trunk(init="scratch", num_layers=1, seed=s) for s in (0, 1))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.hidden(ROWS), other.hidden(ROWS))


@pytest.mark.parametrize(("init", "num_layers"), [("random", 0), ("policy", 3), ("scratch", -1)])
def test_a_trunk_that_cannot_be_is_refused(init, num_layers):
    with pytest.raises(ValueError, match="trunk"):
        tiny().trunk(init=init, num_layers=num_layers, seed=0)


def test_both_families_begin_with_the_same_weights_under_the_same_names():
    ours, theirs = tiny().state_dict(), tiny_hf().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_fingerprint_names_the_function_and_not_the_weights():
    assert tiny(seed=0).fingerprint == tiny(seed=1).fingerprint
    assert len({p.fingerprint for p in (tiny(), tiny(temperature=0.9), tiny(rope_base=10.0), tiny_hf())}) == 4


def test_text_goes_through_the_tasks_own_codec():
    policy = tiny()
    assert policy.encode("3 4") == (3, 4)
    assert policy.decode([3, 4]) == "3 4"


def test_temperature_zero_is_refused():
    with pytest.raises(ValueError, match="policy.temperature is 0.0"):
        tiny(temperature=0.0)
