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

from rrl.policy.layout import Layout, action_layout, start_layout
from rrl.types import Sequences, Start


def read(body: nn.Module, layout: Layout, rows_per_batch: int) -> Float[Tensor, "K d"]:
    """The wanted states of ``layout``; without gradient, ``rows_per_batch`` rows at a time."""
    parts = [layout] if torch.is_grad_enabled() else layout.split(rows_per_batch)
    states = [part.gather(body(part)) for part in parts]
    return states[0] if len(states) == 1 else torch.cat(states)


class OwnTrunk:
    """A trunk with weights of its own; whoever asked for it trains and saves it."""

    def __init__(self, *, body: nn.Module, width: int, pad: int, rows_per_batch: int) -> None:
        self.width = width
        self._body = body
        self._pad = pad
        self._rows_per_batch = rows_per_batch

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._body.parameters()

    def hidden(self, sequences: Sequences) -> Float[Tensor, "A d"]:
        return read(self._body, action_layout(sequences, self._pad), self._rows_per_batch)

    def start_hidden(self, starts: Sequence[Start]) -> Float[Tensor, "S d"]:
        return read(self._body, start_layout(starts, self._pad), self._rows_per_batch)

    def state_dict(self) -> dict[str, Any]:
        return {name: tensor.detach().clone() for name, tensor in self._body.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._body.load_state_dict(state)


class SharedTrunk:
    """The policy's own trunk. The policy saves it, so its state is empty here.

    detach: stop the head's gradient at the states; then ``parameters()`` is empty too. Without it,
    ``parameters()`` are the policy's, which two optimisers then move.
    """

    def __init__(self, *, body: nn.Module, width: int, pad: int, rows_per_batch: int, detach: bool) -> None:
        self.width = width
        self._own = OwnTrunk(body=body, width=width, pad=pad, rows_per_batch=rows_per_batch)
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
