"""What every chunk of the output layer does: logits forward, two products backward. Legend: c rows of a chunk,
T rows, H hidden size, V vocabulary.

dW is summed over chunks in float32 whatever the weights are: in bfloat16 its error grows with the number of chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import tuning
from rrl_kernels.logits.torch_impl import empty_stats as empty_stats


def chunks(num_rows: int, mask: Tensor | None, size: int) -> list[Any]:
    """What picks out at most ``size`` rows at a time, in rising order: slices, or with a mask row numbers."""
    if mask is None:
        return [slice(first, min(first + size, num_rows)) for first in range(0, num_rows, size)]
    wanted = torch.nonzero(mask).flatten()
    return list(torch.split(wanted, size)) if len(wanted) else []


def chunk_size(chunk_tokens: int, hidden: Tensor, vocab_size: int, logits_dtype: torch.dtype) -> int:
    """``chunk_tokens``, or what the tuning table says where it is 0."""
    return chunk_tokens or tuning.head_chunk(hidden.device.type, vocab_size, logits_dtype.itemsize)


class Layer:
    """The output layer for one call, with its weights as the products read them.

    A CPU has no product of half-precision operands with a float32 result, so there the weights are widened, once a
    call and not once a chunk; a GPU's tensor cores have it, and nothing is copied.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, logits_dtype: torch.dtype) -> None:
        widen = not weight.is_cuda and logits_dtype.itemsize > weight.dtype.itemsize
        self.weight = weight.to(logits_dtype) if widen else weight
        self.bias = bias
        self.logits_dtype = logits_dtype

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden weight^T + bias [c, V], before any cap; products summed in float32, rounded once."""
        if self.weight.dtype == self.logits_dtype:
            states = hidden.to(self.logits_dtype)
            if self.bias is None:
                return states @ self.weight.t()
            return torch.addmm(self.bias.to(self.logits_dtype), states, self.weight.t())
        if self.weight.is_cuda:  # half-precision operands, float32 result
            logits = torch.mm(hidden, self.weight.t(), out_dtype=self.logits_dtype)
            return logits if self.bias is None else logits.add_(self.bias)
        raise AssertionError("logits are never narrower than the weights")

    @property
    def gradient_dtype(self) -> torch.dtype:
        """Of d loss / d logits as the two products of backward read it."""
        return self.weight.dtype


class Gradients:
    """dX, dW and db of the chunks seen so far; None where nobody wants them."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, wanted: tuple[bool, ...]) -> None:
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self._dtype = weight.dtype
        self.hidden = torch.zeros_like(hidden, memory_format=torch.contiguous_format) if wanted[0] else None
        self.weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wanted[1] else None
        self.bias = torch.zeros(bias.shape, dtype=wide, device=bias.device) if bias is not None and wanted[2] else None

    @property
    def any_wanted(self) -> bool:
        return any(g is not None for g in (self.hidden, self.weight, self.bias))

    def add(self, layer: Layer, rows: Tensor | slice, hidden: Tensor, d_logits: Tensor) -> None:
        """Add a chunk: rows of the whole, their hidden states [c, H], d loss / d logits [c, V]."""
        if self.bias is not None:
            self.bias += d_logits.sum(0, dtype=self.bias.dtype)
        if self.hidden is not None:
            self.hidden[rows] = (d_logits @ layer.weight).to(self.hidden.dtype)
        if self.weight is not None:
            if d_logits.dtype == self.weight.dtype:
                self.weight.addmm_(d_logits.t(), hidden.to(self.weight.dtype))
            elif d_logits.is_cuda:  # half-precision operands, added to the float32 sum without rounding
                torch.addmm(self.weight, d_logits.t(), hidden, out_dtype=self.weight.dtype, out=self.weight)
            else:
                self.weight.addmm_(d_logits.to(self.weight.dtype).t(), hidden.to(self.weight.dtype))

    def finished(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """(dX, dW, db), dW and db rounded once to the weights' dtype."""
        copy = torch.compiler.is_compiling()  # a traced function may not hand out what it keeps as well
        first, second, third = (
            None if g is None else g.to(self._dtype, copy=copy) for g in (self.hidden, self.weight, self.bias)
        )
        return first, second, third
