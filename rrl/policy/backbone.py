"""What ``CausalLM`` asks of a network, whoever wrote it.

The house's own tiny decoder (``rrl.policy.tiny``) and any transformers decoder (``rrl.policy.hf``)
both stand behind this door; everything about tokens, rows and padding is on this side of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from rrl.ops.logprob import Head
from rrl.types import Tokens


class Codec(Protocol):
    """Text to token ids and back. A tiny task is one; so is a wrapped tokenizer."""

    pad: int

    def encode(self, text: str) -> Tokens: ...
    def decode(self, tokens: Sequence[int]) -> str: ...


class Body(nn.Module):
    """A decoder without its output layer, called with a ``Layout``. width: of its hidden states."""

    width: int


class Backbone(Protocol):
    """A causal decoder.

    module: everything that learns.  body: an ``nn.Module`` called with a ``Layout`` that returns
    hidden states [N, T, width].  max_positions: the longest row it can read.  fingerprint: changes
    when the function that the weights stand for changes.
    """

    module: nn.Module
    codec: Codec
    width: int
    vocab_size: int
    max_positions: int
    fingerprint: str

    @property
    def body(self) -> nn.Module: ...

    def head(self, logits_dtype: torch.dtype) -> Head:
        """The output layer, its logits held in ``logits_dtype`` or the weights' own where that is wider."""
        ...

    def new_body(self, *, init: str, num_layers: int, seed: int) -> Body:
        """A body of the same family. init "scratch", "policy" (copied weights) or, where it can load one, a model's
        name or folder; num_layers 0 = as many as there."""
        ...

    def copy(self) -> Backbone:
        """The same network with weights of its own, as far as they can change."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The weights that can change, under their own names; not copied."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse. Raises ValueError or RuntimeError for weights of another network."""
        ...


def check_new_body(init: str, num_layers: int, have: int) -> int:
    """How many layers a new body gets. Raises ValueError for a word or number that cannot be had."""
    if init not in ("scratch", "policy"):
        raise ValueError(f"trunk init is {init!r}; expected scratch or policy (a model's name needs policy=causal_lm)")
    if num_layers < 0 or (init == "policy" and num_layers > have):
        raise ValueError(f"trunk num_layers is {num_layers}; expected 0..{have} to copy a policy of {have} layers")
    return num_layers or have
