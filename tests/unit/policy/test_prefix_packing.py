"""Rows laid end to end give the states and gradients of padded rows, on tiny decoders in float64."""

import pytest
import torch
from transformers import MambaConfig, MambaModel

from rrl.policy.hf import HFBody
from rrl.policy.layout import action_layout
from rrl.policy.prefix.packing import packed, packs
from rrl.policy.prefix.reader import ActionReader
from tests.unit.policy.families import FAMILIES, ROWS, body
from tests.unit.policy.small import MIXED, tiny, tiny_hf


def test_the_example():
    from rrl.types import sequences_of
    from tests.unit.policy.small import start

    rows = sequences_of([(start(prompt=(7, 8)), (1, 2)), (start(prompt=(9,)), (3,))])
    layout = packed(action_layout(rows, 0))
    assert layout.ids.tolist() == [[7, 8, 1, 9]] and layout.positions.tolist() == [0, 1, 2, 0]
    assert layout.column.tolist() == [1, 2, 3] and layout.restarts


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_are_those_of_padded_rows(family):
    network = body(family)
    for name, rows in ROWS.items():
        layout = action_layout(rows, 0)
        found, gradients = [], []
        for one in (layout, packed(layout)):
            states = one.gather(network(one))
            found.append(states.detach())
            gradients.append(torch.autograd.grad(states.square().sum(), list(network.parameters())))
        atol = 2e-6 if "eager" in family else 1e-12   # transformers' eager softmax is in float32
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
        ours, theirs = (torch.cat([g.flatten() for g in group]) for group in gradients[::-1])
        assert float((ours - theirs).norm() / theirs.norm()) < (1e-5 if "eager" in family else 1e-6), name


@pytest.mark.parametrize("rows_per_batch", [2, 64])
def test_the_reader_packs_where_it_is_told_to_and_no_padding_is_read(rows_per_batch):
    network, rows, seen = body("llama"), ROWS["ragged groups"], []
    network.decoder.register_forward_pre_hook(lambda m, a, k: seen.append(k["input_ids"]), with_kwargs=True)
    options = {"sharing": "repeat", "pad": 0, "rows_per_batch": rows_per_batch, "prefix_gradient": True}
    with torch.no_grad():
        expected = ActionReader(packing="never", **options)(network, rows)
        seen.clear()
        states = ActionReader(packing="always", **options)(network, rows)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    assert sum(ids.numel() for ids in seen) == int(action_layout(rows, 0).lengths.sum())


def test_auto_packs_for_flash_attention_alone():
    decoder = body("llama").decoder
    assert not packs(decoder, "auto")
    decoder.config._attn_implementation = "flash_attention_2"
    assert packs(decoder, "auto") and not packs(decoder, "never")


def test_a_decoder_that_carries_a_state_is_refused_by_name():
    sizes = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "pad_token_id": 0}
    network = HFBody(MambaModel(MambaConfig(**sizes)))
    with pytest.raises(ValueError, match="policy.packing is always, but MambaModel has"):
        packs(network.decoder, "always")
    with pytest.raises(ValueError, match="policy.packing is 'yes'; expected auto, always, never"):
        ActionReader(sharing="auto", pad=0, rows_per_batch=4, packing="yes", prefix_gradient=True)


def test_the_tiny_decoder_is_refused_by_name():
    rows = tiny_hf().rollout(MIXED, samples_per_start=1, step=0).sequences
    with pytest.raises(ValueError, match="policy.packing is always, but the house's own tiny decoder"):
        tiny(packing="always").logprob(rows)


def test_a_policy_scores_the_same_packed():
    whole, end_to_end = (tiny_hf(sharing="repeat", packing=p) for p in ("never", "always"))
    rows = whole.rollout(MIXED, samples_per_start=2, step=0).sequences
    torch.testing.assert_close(end_to_end.logprob(rows)[0], whole.logprob(rows)[0], rtol=0, atol=1e-6)
