"""The cache with room holds and shows what transformers' own does."""

import pytest
import torch
from transformers import DynamicCache

from rrl.policy.engine import room
from rrl.policy.engine.room import roomy_cache
from tests.unit.policy.families import body


@pytest.mark.parametrize("family", ["llama", "qwen2 with sliding layers", "mistral, all layers sliding"])
@pytest.mark.parametrize("columns", [1, 3, 128])
def test_states_are_those_of_the_dynamic_cache_whatever_the_room(family, columns, monkeypatch):
    monkeypatch.setattr(room, "ROOM", columns)
    decoder, generator = body(family).decoder, torch.Generator().manual_seed(0)
    caches = [roomy_cache(decoder.config), DynamicCache(config=decoder.config)]
    position = 0
    with torch.no_grad():
        for step, keep in enumerate([None, (0, 0, 1, 1, 1), None, (4, 2), None, None, (1, 1, 0)]):
            shape = (2 if step == 0 else states.shape[0], 5 if step in (0, 4) else 1)
            ids = torch.randint(1, 16, shape, generator=generator)
            positions = position + torch.arange(ids.shape[1])[None]
            states, expected = (
                decoder(input_ids=ids, position_ids=positions, past_key_values=c, use_cache=True).last_hidden_state
                for c in caches
            )
            assert torch.equal(states, expected)
            position += ids.shape[1]
            if keep is not None:
                for cache in caches:
                    cache.batch_select_indices(torch.tensor(keep))
                states = states[list(keep)]
    for mine, theirs in zip(*(c.layers for c in caches), strict=True):
        assert torch.equal(mine.keys, theirs.keys) and torch.equal(mine.values, theirs.values)


def test_a_token_is_written_where_there_is_room_and_nothing_is_copied():
    decoder = body("llama").decoder
    cache = roomy_cache(decoder.config)
    with torch.no_grad():
        decoder(input_ids=torch.tensor([[1, 2, 3]]), past_key_values=cache, use_cache=True)
        before = cache.layers[0].keys.data_ptr()
        decoder(input_ids=torch.tensor([[4]]), past_key_values=cache, use_cache=True)
    assert cache.layers[0].keys.data_ptr() == before and cache.get_seq_length() == 4
