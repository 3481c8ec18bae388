"""What every chunk of the output layer does: logits forward, two products backward. Legend: c rows of a chunk,
T rows, H hidden size, V vocabulary.

dW is summed over chunks in float32 whatever the weights are: in bfloat16 its error grows with the number of chunks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels import tuning


def chunk_size(chunk_tokens: int, hidden: Tensor, vocab_size: int, logits_dtype: torch.dtype) -> int:
    """``chunk_tokens``, or what the tuning table says where it is 0."""
    return chunk_tokens or tuning.head_chunk(hidden.device.type, vocab_size, logits_dtype.itemsize)


def raw_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, logits_dtype: torch.dtype) -> Tensor:
    """hidden weight^T + bias [c, V] in ``logits_dtype``, before any cap; products summed in float32, rounded once."""
    if hidden.dtype == logits_dtype:
        logits = hidden @ weight.t()
    elif hidden.is_cuda:
        logits = torch.mm(hidden, weight.t(), out_dtype=logits_dtype)  # tensor cores with a float32 epilogue
    elif logits_dtype.itemsize < hidden.dtype.itemsize:
        logits = (hidden @ weight.t()).to(logits_dtype)
    else:
        logits = hidden.to(logits_dtype) @ weight.t().to(logits_dtype)
    return logits if bias is None else logits.add_(bias)


class Gradients:
    """dX, dW and db of the chunks seen so far; None where nobody wants them."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, wanted: tuple[bool, bool, bool]) -> None:
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self._weight = weight
        self.hidden = torch.zeros_like(hidden, memory_format=torch.contiguous_format) if wanted[0] else None
        self.weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wanted[1] else None
        self.bias = torch.zeros(bias.shape, dtype=wide, device=bias.device) if bias is not None and wanted[2] else None

    @property
    def any_wanted(self) -> bool:
        return self.hidden is not None or self.weight is not None or self.bias is not None

    def add(self, rows: Tensor | slice, hidden: Tensor, d_logits: Tensor) -> None:
        """Add a chunk: rows of the whole, their hidden states [c, H], d loss / d logits [c, V]."""
        if self.bias is not None:
            self.bias += d_logits.sum(0, dtype=self.bias.dtype)
        product = d_logits
        if d_logits.is_cuda:
            product = d_logits.to(self._weight.dtype)  # half-precision operands, float32 sums
        if self.hidden is not None:
            self.hidden[rows] = (product @ self._weight.to(product.dtype)).to(self.hidden.dtype)
        if self.weight is not None:
            if product.is_cuda and product.dtype != self.weight.dtype:
                self.weight += torch.mm(product.t(), hidden, out_dtype=self.weight.dtype)
            else:
                self.weight.addmm_(product.to(self.weight.dtype).t(), hidden.to(self.weight.dtype))

    def finished(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """(dX, dW, db), dW and db rounded once to the weights' dtype."""
        d_weight, d_bias = (None if g is None else g.to(self._weight.dtype) for g in (self.weight, self.bias))
        return self.hidden, d_weight, d_bias
