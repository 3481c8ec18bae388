"""Tiny random decoders of transformers' families, in float64, and groups of rows for them."""

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
)

from rrl.policy.hf import HFBody
from rrl.types import given, sequences_of
from tests.unit.policy.small import Digits, start

SMALL = {
    "vocab_size": 16, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64, "initializer_range": 0.5,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "llama": (LlamaModel, LlamaConfig, {}),
    "qwen2": (Qwen2Model, Qwen2Config, {}),
    "qwen3": (Qwen3Model, Qwen3Config, {}),
    "gemma": (GemmaModel, GemmaConfig, {}),
    "qwen2 with sliding layers": (Qwen2Model, Qwen2Config, SLIDING),
    "mistral, all layers sliding": (MistralModel, MistralConfig, {"sliding_window": 4}),
    "gemma2, eager": (Gemma2Model, Gemma2Config, SLIDING | {"attn_implementation": "eager"}),
    "llama, eager": (LlamaModel, LlamaConfig, {"attn_implementation": "eager"}),
}


def body(family, dtype=torch.float64, **changes):
    model, config, special = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = model(config(**SMALL | {"attn_implementation": "sdpa"} | special | changes))
    return HFBody(decoder.to(dtype).eval())


class Family:
    """A source of a whole model of this family."""

    def __init__(self, family):
        self.fingerprint = self._family = family

    def load(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(body(self._family).decoder.config)
        return model.double().eval(), Digits()


def head(width=16, seed=1):
    """An output layer [V, d] for log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, width, dtype=torch.float64, generator=generator) / 2


LONG = start(prompt=(3, 1, 4), prefix=(1, 5, 9, 2, 6), max_response=40, name="long")
SHORT = start(prompt=(7,), max_response=40, name="short")
ROWS = {
    "ragged groups": sequences_of(
        [(LONG, (1, 2, 3)), (SHORT, (4, 5)), (LONG, (6,)), (SHORT, (7, 8, 9, 10)), (LONG, (11, 12, 13, 14, 2))]
    ),
    "equal groups in order": sequences_of([(s, (i, 2, 3)) for s in (LONG, SHORT) for i in (1, 4, 7)]),
    "one row": sequences_of([(LONG, (1, 2, 3))]),
    "groups of one": sequences_of([(LONG, (1, 2, 3)), (SHORT, (4, 5))]),
    "empty prefix": sequences_of([(start(prompt=(3, 1, 4)), (i, 5)) for i in range(3)]),
    "one token each": sequences_of([(LONG, (i,)) for i in range(4)]),
    "one token among longer": sequences_of([(LONG, (3,)), (LONG, (3, 4, 5))]),
    "given tokens": sequences_of([
        (LONG, (1, *given((9, 8)), 2)), (LONG, (1, 2, *given((5,)), 6, *given((7, 7, 3)), 4)), (SHORT, (5,)),
        (SHORT, (6, *given((2,)), 6)),
    ]),
}
