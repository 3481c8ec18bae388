"""Which way of reading is taken, what is refused and why, and that no choice changes a number."""

import logging

import pytest
import torch
from transformers import LlamaModel, MambaConfig, MambaModel

from rrl.policy.hf import HFBody
from rrl.policy.prefix import cost
from rrl.policy.prefix.groups import groups_of
from rrl.policy.prefix.reader import ActionReader
from rrl.policy.prefix.refusals import refusal
from rrl.types import sequences_of
from tests.unit.policy.families import FAMILIES, ROWS, body
from tests.unit.policy.small import Echo, start, tiny, tiny_hf

LARGE = {"vocab_size": 16, "hidden_size": 64, "intermediate_size": 128, "head_dim": 32}
PROMPT = start(prompt=tuple(1 + i % 15 for i in range(48)), max_response=20)
SHARED = sequences_of([(PROMPT, (1 + i, 2, 3, 4, 5, 6)) for i in range(8)])
ALONE = sequences_of([(PROMPT, (1, 2, 3, 4))])


def reader(sharing="auto", rows_per_batch=64, packing="never", prefix_gradient=True):
    return ActionReader(sharing=sharing, pad=0, rows_per_batch=rows_per_batch, packing=packing,
                        prefix_gradient=prefix_gradient)


def taken(network, rows, read):
    """The way that is taken, by what the decoder is called with."""
    calls = []
    hook = network.decoder.register_forward_pre_hook(lambda m, a, k: calls.append(k), with_kwargs=True)
    read(network, rows)
    hook.remove()
    if any(k.get("past_key_values") is not None for k in calls[-2:]):
        return "kv_reuse"
    return "tree_mask" if calls[-1].get("attention_mask") is not None else "repeat"


# ------------------------------------------------------------------------------------------------ work


def test_the_work_of_each_way_by_hand():
    # Context of 6 tokens; continuations read 2 and 1 of their own tokens (the last action is never read).
    begin = start(prompt=(1, 2, 3, 4, 5, 6))
    groups = groups_of(sequences_of([(begin, (1, 2, 3)), (begin, (4, 5))]), 0)
    assert cost.repeated(groups) == cost.Work(tokens=16, pairs=64, forwards=1)
    assert cost.reused(groups) == cost.Work(tokens=6 + 4, pairs=18, masked=2 * 2 * 8, forwards=2)
    assert cost.masked(groups) == cost.Work(tokens=9, pairs=0, masked=81, forwards=1)
    assert cost.blocked(groups) == cost.Work(tokens=9, pairs=18 + 12 + 2 + 6 + 0.5, forwards=1)
    price = cost.Price(token=10.0, pair=1.0, masked=2.0, forward=100.0)
    assert price.of(cost.repeated(groups)) == 160 + 64 + 100
    assert price.of(cost.reused(groups)) == 100 + 18 + 2 * 32 + 200


def test_the_price_of_a_token_is_two_operations_a_weight_without_the_embedding():
    decoder = body("llama").decoder
    layer = 16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24 + 2 * 16   # q and o, k and v of one head, MLP, norms
    price = cost.price_of(decoder)
    assert price.token == 2 * (2 * layer + 16)
    assert price.pair == 4 * 2 * 2 * 8   # 4 x layers x heads x head size


# ---------------------------------------------------------------------------------------------- choose


def test_auto_shares_where_it_saves_work_and_repeats_where_it_does_not(caplog):
    network, read = body("llama", torch.float32, **LARGE), reader()
    with caplog.at_level(logging.INFO, "rrl"), torch.no_grad():
        assert taken(network, ALONE, read) == "repeat"
        assert taken(network, ROWS["ragged groups"], read) == "repeat"   # too little to save
        assert not caplog.messages
        # 8 x 53 tokens against 48 + 8 x 5: one forward under a mask at this size, two on a cache at a larger one.
        assert taken(network, SHARED, read) == "tree_mask"
        assert taken(network, SHARED, read) == "tree_mask"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("prefix sharing, tree_mask: contexts are read once a group; predicted saving")


def test_auto_takes_the_cache_where_a_dense_mask_over_the_group_is_dear():
    long = start(prompt=tuple(1 + i % 15 for i in range(256)), max_response=200)
    rows = sequences_of([(long, (1 + i, *[2] * 95)) for i in range(8)])
    groups, network = groups_of(rows, 0), body("llama", torch.float32, **LARGE, max_position_embeddings=512)
    price = cost.price_of(network.decoder)
    assert price.of(cost.reused(groups)) < price.of(cost.masked(groups))
    with torch.no_grad():
        assert taken(network, rows, reader()) == "kv_reuse"


def test_a_way_asked_for_by_name_is_taken_whatever_it_saves():
    network = body("llama")
    assert taken(network, ALONE, reader("kv_reuse")) == "kv_reuse"
    assert taken(network, ALONE, reader("tree_mask")) == "tree_mask"
    assert taken(network, SHARED, reader("repeat")) == "repeat"


def test_the_tiny_decoder_reads_whole_rows():
    rows = sequences_of([(start(), (i, 2)) for i in range(8)])
    policy = tiny()
    policy.logprob(rows)
    with pytest.raises(ValueError, match=r"policy.prefix_sharing is kv_reuse, but the house's own tiny decoder reads"):
        reader("kv_reuse")(policy.backbone.body, rows)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="policy.prefix_sharing is 'tree'; expected auto, repeat, kv_reuse, tree_mask"):
        reader("tree")


# ---------------------------------------------------------------------------------------------- refuse


def checkpointing(network):
    network.decoder.gradient_checkpointing_enable({"use_reentrant": False})
    network.train()
    return network


def test_what_a_decoder_cannot_do_is_refused_with_its_reason():
    assert all(refusal(body(family).decoder, name) is None for family in FAMILIES for name in ("kv_reuse", "tree_mask"))
    saving = checkpointing(body("llama")).decoder
    assert refusal(saving, "kv_reuse") == "gradient checkpointing switches the cache off"
    assert refusal(saving, "tree_mask") is None
    assert "no backward on a CPU" in refusal(body("llama").decoder, "flex")
    with torch.no_grad():
        assert refusal(body("llama").decoder, "flex") is None
        assert "flex stands in for sdpa only" in refusal(body("llama, eager").decoder, "flex")
    dropping = body("llama", attention_dropout=0.1)
    assert refusal(dropping.decoder, "kv_reuse") is None   # nothing is dropped outside training
    assert "drops attention weights" in refusal(dropping.train().decoder, "kv_reuse")
    mixed = body("llama")
    mixed.decoder.config.layer_types = ["linear_attention", "full_attention"]
    assert refusal(mixed.decoder, "tree_mask") == "LlamaModel has layers of kind linear_attention"
    flash = body("llama")
    flash.decoder.config._attn_implementation = "flash_attention_2"
    assert "attn_implementation is flash_attention_2" in refusal(flash.decoder, "kv_reuse")


def mamba():
    config = MambaConfig(vocab_size=16, hidden_size=64, num_hidden_layers=1, state_size=4)
    return HFBody(MambaModel(config).eval())


def test_auto_falls_back_to_whole_rows_and_says_why_once(caplog):
    network, read = mamba(), reader()
    with caplog.at_level(logging.INFO, "rrl"), torch.no_grad():
        for _ in range(2):
            assert torch.equal(read(network, SHARED), reader("repeat")(network, SHARED))
    reason = "MambaModel has layers of kind linear_attention"
    assert [r.getMessage() for r in caplog.records if r.name.startswith("rrl.")] == [
        f"prefix sharing, kv_reuse is not used: {reason}", f"prefix sharing, tree_mask is not used: {reason}"
    ]
    with pytest.raises(ValueError, match="policy.prefix_sharing is tree_mask, but MambaModel has layers of kind"):
        reader("tree_mask")(network, SHARED)


def test_under_gradient_checkpointing_the_mask_is_taken_and_the_cache_refused():
    network = checkpointing(body("llama", torch.float32, **LARGE))
    assert taken(network, SHARED, reader()) == "tree_mask"
    with pytest.raises(ValueError, match="kv_reuse, but gradient checkpointing switches the cache off"):
        reader("kv_reuse")(network, SHARED)


class Deaf(LlamaModel):
    """Drops masks, as an attention kernel that takes none would."""

    def forward(self, *args, attention_mask=None, **options):
        return super().forward(*args, **options)


def test_the_first_use_of_a_way_is_compared_with_whole_rows(caplog):
    hearing = body("llama", torch.float32, **LARGE)
    deaf = HFBody(Deaf(hearing.decoder.config).eval())
    deaf.load_state_dict(hearing.state_dict())
    with caplog.at_level(logging.WARNING, "rrl"), torch.no_grad():
        assert torch.equal(reader()(deaf, SHARED), reader("repeat")(deaf, SHARED))
    reason = "tree_mask is not used: its states differ from those of whole rows by up to"
    assert any(reason in m for m in caplog.messages)
    with pytest.raises(ValueError, match="tree_mask, but its states differ from those of whole rows"):
        reader("tree_mask")(deaf, SHARED)


# ----------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("sharing", ["kv_reuse", "tree_mask"])
@pytest.mark.parametrize("rows_per_batch", [1, 2, 3, 64])
def test_batches_of_any_size_give_the_same_states_in_order(sharing, rows_per_batch):
    network, rows = body("llama"), ROWS["ragged groups"]
    with torch.no_grad():
        expected = reader("repeat")(network, rows)
        torch.testing.assert_close(reader(sharing, rows_per_batch)(network, rows), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sharing", ["kv_reuse", "tree_mask"])
def test_a_policy_scores_learns_and_lends_its_trunk_alike(sharing):
    one, other = tiny_hf(sharing="repeat", task=Echo(), max_positions=64), tiny_hf(
        sharing=sharing, task=Echo(), max_positions=64
    )
    begin = [start(prompt=(1, 2), prefix=(3,) * i, name=str(i)) for i in range(3)]
    rows = one.rollout(begin, samples_per_start=4, step=0).sequences
    assert len(rows.given)
    for x, y in zip(one.logprob(rows), other.logprob(rows), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12)

    def loss(logprob, entropy, index):
        weight = (1 + index % 3).to(logprob)
        return (weight * logprob).sum(), weight, torch.zeros_like(entropy)

    for policy in (one, other):
        policy.loss(rows, loss)[0].backward()
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-6)   # transformers' norms are in float32
    for kind in ({"init": "policy", "num_layers": 0, "seed": 0}, {"init": "scratch", "num_layers": 1, "seed": 3}):
        torch.testing.assert_close(one.trunk(**kind).hidden(rows), other.trunk(**kind).hidden(rows), rtol=0, atol=1e-10)
    states = [p.shared_trunk(detach=True).hidden(rows) for p in (one, other)]
    torch.testing.assert_close(*states, rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------- no gradient through prefixes


def test_without_prefix_gradient_states_are_the_same_and_contexts_are_constants():
    network, rows = body("llama"), ROWS["ragged groups"]
    through, apart = reader("kv_reuse")(network, rows), reader(prefix_gradient=False)(network, rows)
    torch.testing.assert_close(apart.detach(), through.detach(), rtol=0, atol=1e-12)
    first, token = rows.offsets[:-1], network.decoder.embed_tokens.weight
    assert not torch.autograd.grad(apart[first, 0].sum(), token, retain_graph=True)[0].any()
    # Token 4 stands in the long context; the second action of row 0, behind token 1, teaches it through the context.
    own = [torch.autograd.grad(states[1, 0], token, retain_graph=True)[0][4] for states in (through, apart)]
    taught = [gradient.abs().sum() for gradient in own]
    assert float(taught[0]) > 1e-3
    assert float(taught[1]) == 0.0


def test_without_prefix_gradient_the_gradient_is_that_of_a_cache_that_is_a_constant():
    network, rows = body("qwen3"), sequences_of([(PROMPT, (1, 2, 3)), (PROMPT, (4, 5, 6))])
    with torch.no_grad():
        cache = network.decoder(input_ids=torch.tensor([PROMPT.context] * 2), use_cache=True).past_key_values
    positions = torch.arange(48, 50)[None].expand(2, -1)
    own = network.decoder(input_ids=torch.tensor([[1, 2], [4, 5]]), past_key_values=cache, position_ids=positions)
    own.last_hidden_state.square().sum().backward()
    expected = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad(set_to_none=True)
    reader(prefix_gradient=False)(network, rows)[[1, 2, 4, 5]].square().sum().backward()
    for mine, theirs in zip((p.grad for p in network.parameters() if p.grad is not None), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_where_contexts_cannot_be_read_apart_it_is_said():
    rows = ROWS["ragged groups"]
    with pytest.raises(ValueError, match="policy.prefix_gradient is false and policy.prefix_sharing tree_mask"):
        reader("tree_mask", prefix_gradient=False)
    with pytest.raises(ValueError, match="policy.prefix_gradient is false, but the house's own tiny decoder"):
        tiny(prefix_gradient=False).loss(rows, lambda logprob, entropy, index: None)
    network = body("llama")
    network.decoder.gradient_checkpointing_enable({"use_reentrant": False})
    network.train()
    with pytest.raises(ValueError, match="prefix_gradient is false, but gradient checkpointing switches the cache off"):
        reader(prefix_gradient=False)(network, rows)


def test_a_value_trunk_learns_through_prefixes_whatever_the_policy_does():
    policy = tiny_hf(prefix_gradient=False)
    rows = policy.rollout([start(prompt=(1, 2), prefix=(7,))], samples_per_start=3, step=0).sequences
    trunk = policy.trunk(init="policy", num_layers=0, seed=0)
    trunk.hidden(rows)[:, 0].sum().backward()
    (embedding,) = [p for p in trunk.parameters() if p.shape == (11, 16)]
    assert float(embedding.grad[7].abs().sum()) > 1e-3


def test_one_token_rows_under_a_frozen_head_teach_nothing_without_prefix_gradient():
    policy = tiny_hf(prefix_gradient=False)
    policy.backbone.module.get_output_embeddings().weight.requires_grad_(False)   # as policy=lora has it
    loss, _ = policy.loss(
        sequences_of([(start(), (3,)), (start(), (4,))]),
        lambda logprob, entropy, index: (-logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)),
    )
    loss.backward()
    assert float(loss.detach()) > 0.0 and all(p.grad is None for p in policy.parameters())
