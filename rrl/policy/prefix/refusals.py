"""Why a decoder cannot be read in some way. Whoever asks by name gets the reason as an error, ``auto`` logs it."""

from __future__ import annotations

from typing import Any

import torch

from rrl.policy.prefix.flex import attention_of

KINDS = {"full_attention", "sliding_attention"}


def refusal(decoder: Any, backend: str) -> str | None:
    """The reason, or None where nothing speaks against it.

    - A layer that is not attention (linear attention, Mamba) carries a state that no mask can cut.
    - A model outside transformers' attention interface may ignore the mask, as may a kernel that takes none.
    - A dropped attention weight would be dropped for one row of a group and for all of them alike.
    - transformers drops the cache under gradient checkpointing, and with it the context.
    """
    attention, name = attention_of(decoder), type(decoder).__name__
    reason = inseparable(decoder)
    if reason is not None:
        return reason
    if attention not in ("sdpa", "eager"):
        return f"attn_implementation is {attention}, which takes no mask of its own; sdpa and eager do"
    if decoder.training and any(getattr(part, "attention_dropout", 0.0) for part in decoder.modules()):
        return f"{name} drops attention weights while it is trained"
    if backend == "kv_reuse" and decoder.training and checkpointed(decoder):
        return "gradient checkpointing switches the cache off"
    if backend == "flex":
        return _flex_refusal(decoder, attention)
    return None


def inseparable(decoder: Any) -> str | None:
    """Why what stands in one row cannot be kept apart in this decoder, or None."""
    kinds, name = set(getattr(decoder.config, "layer_types", None) or ()) - KINDS, type(decoder).__name__
    if kinds:
        return f"{name} has layers of kind {', '.join(sorted(kinds))}"
    if not getattr(decoder, "_supports_attention_backend", False):
        return f"{name} does not take its attention from transformers' interface"
    return None


def checkpointed(decoder: Any) -> bool:
    """Whether activations are recomputed in backward."""
    return any(getattr(part, "gradient_checkpointing", False) for part in decoder.modules())


def _flex_refusal(decoder: Any, attention: str) -> str | None:
    if attention != "sdpa":
        return f"attn_implementation is {attention}; flex stands in for sdpa only"
    if getattr(decoder.config, "attn_logit_softcapping", None) is not None:
        return "the model caps its attention scores, which sdpa does not and flex would"
    if torch.is_grad_enabled() and next(decoder.parameters()).device.type == "cpu":
        return "flex attention has no backward on a CPU"
    return None
