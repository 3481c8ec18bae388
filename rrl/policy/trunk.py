"""Networks that a value estimator stands on: one of its own, or the policy's.

A trunk turns starts and sequences into hidden states; the estimator adds the head. States on axis A
stand *before* their action, so a value read from them never sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rrl.policy.prefix.reader import ActionReader
from rrl.types import Sequences, Start


class OwnTrunk:
    """A trunk with weights of its own; whoever asked for it trains and saves it."""

    def __init__(self, *, body: nn.Module, width: int, reader: ActionReader) -> None:
        self.width = width
        self._body = body
        self._read = reader

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._body.parameters()

    def hidden(self, sequences: Sequences) -> Float[Tensor, "A d"]:
        return self._read(self._body, sequences)

    def start_hidden(self, starts: Sequence[Start]) -> Float[Tensor, "S d"]:
        return self._read.starts(self._body, starts)

    def state_dict(self) -> dict[str, Any]:
        return {name: tensor.detach().clone() for name, tensor in self._body.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._body.load_state_dict(state)


class SharedTrunk:
    """The policy's own trunk. The policy saves it, so its state is empty here.

    detach: stop the head's gradient at the states; then ``parameters()`` is empty too. Without it,
    ``parameters()`` are the policy's, which two optimisers then move.
    """

    def __init__(self, *, body: nn.Module, width: int, reader: ActionReader, detach: bool) -> None:
        self.width = width
        self._own = OwnTrunk(body=body, width=width, reader=reader)
        self._detach = detach

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(()) if self._detach else self._own.parameters()

    def hidden(self, sequences: Sequences) -> Float[Tensor, "A d"]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._detach):
            return self._own.hidden(sequences)

    def start_hidden(self, starts: Sequence[Start]) -> Float[Tensor, "S d"]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._detach):
            return self._own.start_hidden(starts)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            raise ValueError(f"a shared trunk has no state of its own; got {sorted(state)[:3]}")
