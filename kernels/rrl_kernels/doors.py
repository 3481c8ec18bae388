"""What the row and head operations check before anything runs: see ``checks`` for the form of the messages."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels import checks


def check_head(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, mask: Tensor | None, temperature: float,
    softcap: float | None, logits_dtype: torch.dtype, chunk_tokens: int,
) -> torch.dtype:
    """Raises ValueError where something does not fit. Returns the dtype of the logits."""
    checks.shaped("weight", weight, (None, None), "[V, H]")
    checks.shaped("hidden", hidden, (None, weight.shape[1]), "[T, H] with weight's H")
    checks.floating("hidden", hidden)
    checks.typed("weight", weight, hidden.dtype)
    if bias is not None:
        checks.shaped("bias", bias, (weight.shape[0],), "[V]")
        checks.typed("bias", bias, hidden.dtype)
    checks.together(hidden=hidden, weight=weight, bias=bias)
    if chunk_tokens < 0:
        raise ValueError(f"chunk_tokens is {chunk_tokens}; expected >= 1, or 0 for the tuning table's")
    if hidden.dtype == torch.float64 and logits_dtype == torch.float32:
        logits_dtype = torch.float64
    if logits_dtype not in (hidden.dtype, torch.float32):
        raise ValueError(f"logits_dtype is {logits_dtype}; expected float32 or the dtype of weight, {weight.dtype}")
    check_rows("hidden", hidden, targets, weight.shape[0], mask, temperature, softcap)
    return logits_dtype


def check_logits(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float | None, overwrite: bool
) -> None:
    """Raises ValueError where something does not fit; ``overwrite``: the logits' memory will be written."""
    check_rows("logits", logits, targets, logits.shape[-1] if logits.ndim else 0, mask, temperature, softcap)
    if overwrite and logits.requires_grad:
        _may_overwrite(logits)


def check_rows(
    name: str, rows: Tensor, targets: Tensor, vocab_size: int, mask: Tensor | None, temperature: float,
    softcap: float | None,
) -> None:
    """Raises ValueError where something does not fit; targets of masked rows may be anything, such as -100."""
    checks.shaped(name, rows, (None, None), "[C, V]" if name == "logits" else "[T, H]")
    checks.floating(name, rows)
    if vocab_size < 1:
        raise ValueError(f"{name} has shape {list(rows.shape)}; expected a vocabulary of at least 1")
    checks.shaped("targets", targets, (rows.shape[0],), f"one for each row of {name}")
    checks.typed("targets", targets, torch.int64)
    if mask is not None:
        checks.shaped("mask", mask, (rows.shape[0],), f"one for each row of {name}")
        checks.typed("mask", mask, torch.bool)
    checks.together(**{name: rows}, targets=targets, mask=mask)
    checks.positive("temperature", temperature)
    if softcap is not None:
        checks.positive("softcap", softcap)
    checks.targets_in_range(targets if mask is None else targets * mask, vocab_size)


def _may_overwrite(logits: Tensor) -> None:
    said = "expected a tensor computed for this call alone"
    if logits.is_leaf:
        raise ValueError(f"logits is a leaf and inplace_backward=True would overwrite it; {said}")
    base = logits._base
    if base is not None and base.is_leaf and base.requires_grad:
        raise ValueError(f"logits is a view of a leaf and inplace_backward=True would overwrite that; {said}")
    if any(step == 0 and size > 1 for step, size in zip(logits.stride(), logits.shape, strict=True)):
        raise ValueError(f"logits is expanded and inplace_backward=True would write one number often; {said}")
