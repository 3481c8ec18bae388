"""Low-rank adapters on a two-layer random Llama with grouped heads and a tied embedding."""

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM

from rrl import build
from rrl.types import sequences_of
from tests.contract.options import random_llama
from tests.unit.policy.small import MIXED, Digits, start

ROWS = sequences_of([(start(), (3, 4)), (start(prompt=(5,)), (6, 7, 8))])
HIDDEN, FF, KV = 16, 24, 8  # sizes of random_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(random_llama(tmp_path_factory.mktemp("model")))


def policy_of(folder, *overrides, option="lora", seed=0):
    node = OmegaConf.create({"policy": OmegaConf.load(f"conf/policy/{option}.yaml")})
    node.policy.merge_with_dotlist([f"model={folder}", "backbone.device=cpu", *overrides])
    return build.make(node.policy, "policy", seed=seed, task=Digits())


def taught(policy, steps=3, lr=0.05):
    optimiser = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        loss, _ = policy.loss(ROWS, lambda lp, h, i: (-lp.sum(), -torch.ones_like(lp), torch.zeros_like(h)))
        loss.backward()
        optimiser.step()
    return policy


def trained_of(policy):
    return {name: p for name, p in policy.backbone.module.named_parameters() if p.requires_grad}


def test_adapters_begin_as_nothing_and_are_all_that_is_trained(folder):
    plain, policy = policy_of(folder, option="causal_lm"), policy_of(folder, "backbone.source.r=2")
    assert torch.equal(policy.logprob(ROWS)[0], plain.logprob(ROWS)[0])
    # r (in + out) of q, o: 16 + 16; k, v: 16 + 8; gate, up: 16 + 24; down: 24 + 16; in 2 layers.
    per_layer = 2 * (HIDDEN + HIDDEN) + 2 * (HIDDEN + KV) + 2 * (HIDDEN + FF) + (FF + HIDDEN)
    assert sum(p.numel() for p in trained_of(policy).values()) == 2 * 2 * per_layer
    before = {name: p.clone() for name, p in policy.backbone.module.named_parameters() if not p.requires_grad}
    first = policy.logprob(ROWS)[0]
    taught(policy)
    assert float((policy.logprob(ROWS)[0] - first).sum()) > 0.1
    now = dict(policy.backbone.module.named_parameters())
    assert all(torch.equal(now[name], weight) and now[name].grad is None for name, weight in before.items())


def test_the_initial_adapters_are_a_function_of_the_seed_and_leave_the_global_generator_alone(folder):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, same, other = (policy_of(folder, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_frozen_copy_shares_the_model_and_keeps_its_adapters(folder):
    policy = taught(policy_of(folder))
    reference, before = policy.frozen(), policy.logprob(ROWS)[0]
    taught(policy)
    assert torch.equal(reference.logprob(ROWS)[0], before) and not torch.equal(policy.logprob(ROWS)[0], before)
    theirs = dict(reference.backbone.module.named_parameters())
    shared = {n for n, p in policy.backbone.module.named_parameters() if theirs[n].data_ptr() == p.data_ptr()}
    assert shared == {name for name in theirs if "lora_" not in name}
    assert len(trained_of(policy)) == 2 * 2 * 7 and not trained_of(reference)


def test_a_checkpoint_holds_adapters_alone_and_brings_the_policy_back(folder):
    policy = taught(policy_of(folder))
    state, before = policy.state_dict(), policy.logprob(ROWS)[0]
    assert len(state) == 2 * 2 * 7 and all("lora_" in name for name in state)  # A and B of 7 layers, in 2 blocks
    fresh = policy_of(folder, seed=1)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.logprob(ROWS)[0], before)
    with pytest.raises(ValueError, match=r"other names than this policy's.*expected a checkpoint of all weights"):
        policy_of(folder, option="causal_lm").load_state_dict(state)
    with pytest.raises(ValueError, match=r"expected a checkpoint of adapters \(policy=lora\)"):
        policy.load_state_dict(policy_of(folder, option="causal_lm").state_dict())


def test_an_exported_model_is_the_policy_without_adapters(folder, tmp_path):
    policy = taught(policy_of(folder))
    policy.backbone.export(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not any("lora" in name for name, _ in theirs.named_parameters())
    again = policy_of(str(tmp_path), option="causal_lm")
    torch.testing.assert_close(again.logprob(ROWS)[0], policy.logprob(ROWS)[0], rtol=0, atol=1e-5)
    assert again.encode("w3 w1") == (3, 1)
    assert len(trained_of(policy)) == 2 * 2 * 7  # exporting changed nothing


@pytest.mark.parametrize("num_layers", [0, 1])
def test_a_critics_trunk_begins_as_the_adapted_policy_with_whole_weights_of_its_own(folder, num_layers):
    policy = taught(policy_of(folder))
    trunk = policy.trunk(init="policy", num_layers=num_layers, seed=0)
    if num_layers == 0:
        torch.testing.assert_close(trunk.hidden(ROWS), policy.shared_trunk(detach=True).hidden(ROWS))
    names = [name for name, _ in trunk._body.named_parameters()]
    assert not any("lora" in name for name in names) and all(p.requires_grad for p in trunk.parameters())
    before = policy.logprob(ROWS)[0]
    with torch.no_grad():
        for p in trunk.parameters():
            p.mul_(2.0)
    assert torch.equal(policy.logprob(ROWS)[0], before)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.2)])
def test_it_samples_what_it_scores_and_adapters_are_float32(folder, dtype, atol):
    policy = taught(policy_of(folder, f"dtype={dtype}"))
    assert {p.dtype for p in trained_of(policy).values()} == {torch.float32}
    rollouts = policy.rollout(MIXED, samples_per_start=2, step=0)
    torch.testing.assert_close(policy.logprob(rollouts.sequences)[0], rollouts.behavior_logprob, rtol=0, atol=atol)


def test_gradient_checkpointing_changes_no_gradient_of_an_adapter(folder):
    gradients = []
    for saving in (False, True):
        policy = taught(policy_of(folder, f"backbone.gradient_checkpointing={str(saving).lower()}"))
        loss, _ = policy.loss(ROWS, lambda lp, h, i: (-lp.sum(), -torch.ones_like(lp), torch.zeros_like(h)))
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in trained_of(policy).values())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert max(float(g.abs().max()) for g in gradients[0]) > 0.0


@pytest.mark.parametrize(("overrides", "words"), [
    (["backbone.source.r=0"], "expected r >= 1"),
    (["backbone.source.target_modules=[nothing]"], r"target_modules is \['nothing'\]"),
    (["backbone.source.target_modules=[lm_head]"], "names the output layer"),
])  # fmt: skip
def test_a_rank_of_zero_unknown_layers_and_the_output_layer_are_refused(folder, overrides, words):
    with pytest.raises(ValueError, match=words):
        policy_of(folder, *overrides)
