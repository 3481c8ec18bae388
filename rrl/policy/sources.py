"""Where a transformers model comes from: the hub or a folder, or the tiny decoder's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rrl import rng
from rrl.policy.backbone import Codec
from rrl.policy.hf import with_layers
from rrl.policy.tiny import TinyBackbone
from rrl.protocols import Task
from rrl.types import Tokens


class TokenizerCodec:
    """A transformers tokenizer as a ``Codec``; ids are exact, no special token is added or dropped."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # Padding is never attended to nor predicted, so any id serves where a tokenizer names none.
        self.pad = int(pad) if pad is not None else 0

    def encode(self, text: str) -> Tokens:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))


class HubModel:
    """A model and its tokenizer from the hub or a local folder.

    Args:
      model: name on the hub, or a folder that ``save_pretrained`` wrote.
      revision: branch, tag or commit on the hub; pin a commit for numbers that are to be repeated.
      dtype: "float32", "bfloat16", "float16" or "float64".
      attn_implementation: "sdpa", "eager", "flash_attention_2", ... (transformers' names).
    Raises:
      ValueError: dtype is not one of these.
    """

    def __init__(self, *, model: str, revision: str, dtype: str, attn_implementation: str) -> None:
        if dtype not in ("float32", "bfloat16", "float16", "float64"):
            raise ValueError(f"policy.backbone.source.dtype is {dtype!r}; expected float{{16,32,64}} or bfloat16")
        self._model, self._revision, self._dtype, self._attention = model, revision, dtype, attn_implementation

    @property
    def fingerprint(self) -> str:
        return f"{self._model}@{self._revision} {self._dtype}"

    def load(self) -> tuple[nn.Module, Codec]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model: Any = AutoModelForCausalLM.from_pretrained(
            self._model, revision=self._revision, dtype=getattr(torch, self._dtype), attn_implementation=self._attention
        )
        return model.eval(), TokenizerCodec(AutoTokenizer.from_pretrained(self._model, revision=self._revision))

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        with torch.random.fork_rng():  # transformers draws initial weights from the global generator
            torch.manual_seed(rng.torch_generator(seed, "trunk_init").initial_seed())
            body = type(decoder)(with_layers(decoder.config, num_layers))
        fresh: nn.Module = body.to(decoder.dtype).eval()
        return fresh


class TinyLlama:
    """``LlamaForCausalLM`` with the weights that policy=tiny has for the same seed; arguments as there."""

    def __init__(
        self, *, seed: int, task: Task, width: int, num_layers: int, num_heads: int, ff_width: int, max_positions: int,
        rope_base: float, norm_eps: float, embedding_std: float, linear_gain: float, dtype: str,
    ) -> None:
        self._tiny = TinyBackbone(
            seed=seed, task=task, width=width, num_layers=num_layers, num_heads=num_heads, ff_width=ff_width,
            max_positions=max_positions, rope_base=rope_base, norm_eps=norm_eps, embedding_std=embedding_std,
            linear_gain=linear_gain, dtype=dtype,
        )

    @property
    def fingerprint(self) -> str:
        return self._tiny.fingerprint

    def load(self) -> tuple[nn.Module, Codec]:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = self._tiny.shape
        arguments: dict[str, Any] = {"attn_implementation": "sdpa"}  # read by every config, declared by none
        config = LlamaConfig(
            vocab_size=shape.vocab_size, hidden_size=shape.width, intermediate_size=shape.ff_width,
            num_hidden_layers=shape.num_layers, num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_heads, max_position_embeddings=shape.max_positions,
            rms_norm_eps=shape.norm_eps, rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
            tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=self._tiny.codec.pad,
            **arguments,
        )
        model: Any = LlamaForCausalLM(config)
        model = model.to(shape.torch_dtype)
        model.load_state_dict(self._tiny.module.state_dict())
        return model.eval(), self._tiny.codec

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        body: nn.Module = type(decoder)(with_layers(decoder.config, num_layers)).to(decoder.dtype)
        body.load_state_dict(self._tiny.new_body(init="scratch", num_layers=num_layers, seed=seed).state_dict())
        return body.eval()
