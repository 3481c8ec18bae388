"""Ways to read groups with a transformers decoder: each gives the states that predict every action.

``kv_reuse`` reads the contexts, copies their cache to every continuation and reads those. ``tree_mask`` reads
contexts and continuations as one tree under an explicit mask of four dimensions. Neither may ever hand a
decoder positions that restart without such a mask: transformers takes that for packed sequences and cuts the
context off, silently. The oracle of both is the plain reading (``rrl.policy.layout``). Legend: as in ``groups``.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rrl.policy.precision import read
from rrl.policy.prefix.groups import Groups, tree_of

Mask = Any  # a tensor [*, 1, Q, K], a flex BlockMask, or one of these for each kind of layer


def kv_reuse(decoder: Any, groups: Groups, *, prefix_gradient: bool = True) -> Float[Tensor, "A d"]:
    """Contexts once, then all continuations on copies of their keys and values; the copy is differentiable.

    prefix_gradient: False reads contexts without a graph: their states, a first action's among them, are constants.
    """
    from transformers import DynamicCache

    device = next(decoder.parameters()).device
    cache = DynamicCache()  # without a config: layers with a sliding window keep everything, the mask limits them
    with torch.set_grad_enabled(torch.is_grad_enabled() and prefix_gradient):
        got = read(decoder, input_ids=groups.contexts.to(device), past_key_values=cache, use_cache=True)
    states = [got.last_hidden_state.flatten(0, 1)]
    if groups.continuations.shape[1]:
        _expand(cache, groups, device)
        own = torch.arange(groups.continuations.shape[1])
        got = read(
            decoder, input_ids=groups.continuations.to(device), position_ids=(groups.before[:, None] + own).to(device),
            attention_mask=masks_for(decoder, {w: behind_context(groups, w)[:, None] for w in windows(decoder)}),
            past_key_values=cache, use_cache=True,
        )
        states.append(got.last_hidden_state.flatten(0, 1))
    return torch.cat(states).index_select(0, groups.index().to(device))


def tree_mask(decoder: Any, groups: Groups) -> Float[Tensor, "A d"]:
    """Each group as one row under a boolean mask; its attention is dense, so this is for short groups."""
    device = next(decoder.parameters()).device
    tree = tree_of(groups, one_row=False)
    got = read(
        decoder, input_ids=tree.ids.to(device), position_ids=tree.positions.to(device), use_cache=False,
        attention_mask=masks_for(decoder, {w: tree.visible(w)[:, None] for w in windows(decoder)}),
    )
    return got.last_hidden_state.flatten(0, 1).index_select(0, tree.index.to(device))  # type: ignore[no-any-return]


def behind_context(groups: Groups, window: int | None) -> Bool[Tensor, "N C K"]:
    """What each token of a continuation sees of (its context, padded on the right; its continuation).

    Context (7,) in two columns, continuation (1, 2): 1 sees (7, -; 1, -), 2 sees (7, -; 1, 2).
    """
    old, own = torch.arange(groups.contexts.shape[1]), torch.arange(groups.continuations.shape[1])
    before = groups.before[:, None, None]
    context = (old < before).expand(-1, len(own), -1)
    past = (own <= own[:, None]).expand(len(before), -1, -1)
    if window is not None:
        context = context & (before + own[:, None] - old < window)
        past = past & (own[:, None] - own < window)
    return torch.cat([context, past], 2)


def windows(decoder: Any) -> tuple[int | None, ...]:
    """The sliding windows that the decoder's layers have: None for a layer that sees everything."""
    config = decoder.config
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if kinds is None:
        return (window,)
    found = dict.fromkeys(window if kind == "sliding_attention" else None for kind in kinds)
    return tuple(found)


def masks_for(decoder: Any, by_window: dict[int | None, Any]) -> Mask:
    """The masks as this decoder wants them: additive for the eager attention, by name where its layers differ."""
    device, dtype = next(decoder.parameters()).device, decoder.dtype
    ready = {w: _ready(x, device, dtype, decoder.config._attn_implementation) for w, x in by_window.items()}
    if "sliding_attention" in (getattr(decoder.config, "layer_types", None) or ()):
        return {"sliding_attention" if window is not None else "full_attention": x for window, x in ready.items()}
    return next(iter(ready.values()))


def _ready(mask: Any, device: torch.device, dtype: torch.dtype, attention: str) -> Any:
    if not isinstance(mask, Tensor):
        return mask
    mask = mask.to(device)
    if attention != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=device).masked_fill_(~mask, torch.finfo(dtype).min)


def _expand(cache: Any, groups: Groups, device: torch.device) -> None:
    """Each context's keys and values, once for each of its rows."""
    num_groups, num_rows = len(groups.context_lengths), len(groups.group)
    times = num_rows // num_groups
    if torch.equal(groups.group, torch.arange(num_groups).repeat_interleave(times)):
        cache.batch_repeat_interleave(times)
    else:
        cache.batch_select_indices(groups.group.to(device))
