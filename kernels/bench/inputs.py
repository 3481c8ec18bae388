"""Random inputs, in two kinds: as a new model gives them, and as a trained one does.

With random weights every probability is about 1 / V, where gradient filters skip nearly all the work and errors at
the chosen token cannot show. A trained model's softmax is peaked: most targets have a probability near 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KINDS = ("random", "peaked")


def logits_and_targets(
    kind: str, num_rows: int, vocab_size: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(logits [C, V] of standard deviation 2, targets [C]); peaked: targets raised by ``_lift``."""
    device = generator.device
    logits = 2.0 * torch.randn(num_rows, vocab_size, device=device, generator=generator)
    targets = torch.randint(vocab_size, (num_rows,), device=device, generator=generator)
    if kind == "peaked":
        lift = _lift(num_rows, vocab_size, 2.0, generator)
        logits.scatter_(1, targets[:, None], lift[:, None])
    return logits.to(dtype), targets


def states_and_targets(
    kind: str, num_rows: int, hidden_size: int, vocab_size: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """(hidden [T, H], weight [V, H], targets [T]); logits have standard deviation about 1.

    peaked: each hidden state gets a part along its target's row of the weight, which lifts that logit alone.
    """
    device = generator.device
    hidden = torch.randn(num_rows, hidden_size, device=device, generator=generator)
    weight = torch.randn(vocab_size, hidden_size, device=device, generator=generator) / math.sqrt(hidden_size)
    targets = torch.randint(vocab_size, (num_rows,), device=device, generator=generator)
    if kind == "peaked":
        row = weight[targets]
        lift = _lift(num_rows, vocab_size, 1.0, generator)
        hidden += row * (lift / row.square().sum(1))[:, None]
    return hidden.to(dtype), weight.to(dtype), targets


def _lift(num_rows: int, vocab_size: int, std: float, generator: torch.Generator) -> Tensor:
    """Target logits from 2 below to 8 above the log-sum of the others: probabilities from 0.1 to 0.9997."""
    others = math.log(vocab_size) + std * std / 2
    return others - 2.0 + 10.0 * torch.rand(num_rows, device=generator.device, generator=generator)
