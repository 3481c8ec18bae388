"""The door between a transformers backbone and where its model comes from."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from rrl.policy.backbone import Codec


class Source(Protocol):
    """Where a model comes from. fingerprint: changes when the loaded function may."""

    @property
    def fingerprint(self) -> str: ...

    def load(self) -> tuple[nn.Module, Codec]:
        """A transformers ``...ForCausalLM`` in evaluation mode, and what turns text into its ids."""
        ...

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        """A decoder like ``decoder`` with ``num_layers`` layers and initial weights of its own."""
        ...

    def decoder_of(self, name: str) -> nn.Module:
        """The decoder of another model that reads the same ids. Raises ValueError where there is none."""
        ...
