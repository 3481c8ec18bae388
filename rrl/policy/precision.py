"""Mixed precision: products in bfloat16 while weights, residual stream and optimizer stay float32 (torch.autocast).

A decoder carries its choice with it, so every way of reading it, its copies and value trunks made from it compute
alike, and log-probabilities while sampling stay those while training. Micikevicius et al., arXiv 1710.03740; bfloat16
needs no loss scaling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

_MARK = "_rrl_products"  # an attribute, so that copy.deepcopy takes it along
KNOWN = {"bfloat16": torch.bfloat16}


def products_of(decoder: Any) -> torch.dtype | None:
    """The dtype of its products; None = that of its weights."""
    return getattr(decoder, _MARK, None)


def set_products(decoder: Any, name: str | None) -> None:
    """Choose. Raises ValueError for a name that is neither null nor known, and for weights that are not float32."""
    if name is None:
        return
    if name not in KNOWN:
        raise ValueError(f"policy.backbone.mixed_precision is {name!r}; expected null or {', '.join(KNOWN)}")
    if decoder.dtype != torch.float32:
        raise ValueError(
            f"policy.backbone.mixed_precision is {name}, the weights are {decoder.dtype}; expected "
            "policy.dtype=float32, or mixed_precision=null"
        )
    setattr(decoder, _MARK, KNOWN[name])


def computing(decoder: Any) -> AbstractContextManager[Any]:
    """The context that the decoder is called in; what was rounded of weights that learn is kept until the outermost
    one ends."""
    dtype = products_of(decoder)
    if dtype is None:
        return nullcontext()
    return torch.autocast(next(decoder.parameters()).device.type, dtype)


@contextmanager
def computing_often(decoder: Any) -> Iterator[None]:
    """``computing`` around many calls without gradient. Autocast keeps what it rounded of weights that want a gradient
    alone, so frozen ones (all but the adapters of policy=lora) say that they do for as long as this lasts."""
    frozen = [p for p in decoder.parameters() if not p.requires_grad] if products_of(decoder) is not None else []
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        with torch.no_grad(), computing(decoder):
            yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


def plainly(decoder: Any) -> AbstractContextManager[Any]:
    """Inside ``computing``: what is not the decoder's keeps its own dtypes, as the output layer must."""
    if products_of(decoder) is None:
        return nullcontext()
    return torch.autocast(next(decoder.parameters()).device.type, enabled=False)


def read(decoder: Any, **inputs: Any) -> Any:
    """``decoder(**inputs)`` in its precision."""
    with computing(decoder):
        return decoder(**inputs)
