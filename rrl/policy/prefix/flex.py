"""Groups as one packed row under FlexAttention's block mask: blocks that nobody may see are never computed.

PyTorch's FlexAttention (Dong et al. 2024, arXiv 2412.05496) behind transformers' attention interface. A decoder
that is read this way keeps the house's attention: given a block mask it is FlexAttention, given anything else it
is sdpa as before. It stays, for gradient checkpointing looks the attention up once more in backward. On a CPU
there is a forward but no backward. Legend: as in ``groups``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rrl.policy.precision import read
from rrl.policy.prefix.backends import masks_for, windows
from rrl.policy.prefix.blocks import visible_blocks
from rrl.policy.prefix.groups import TRUNK, Groups, Tree, tree_of

NAME = "rrl_tree"
BLOCK = 128  # columns of a block; rows are padded to whole blocks


def flex(decoder: Any, groups: Groups) -> Float[Tensor, "A d"]:
    """All groups in one row. Raises RuntimeError, torch's, where a CPU is to differentiate it."""
    install(decoder)
    device = next(decoder.parameters()).device
    tree = tree_of(groups, one_row=True, multiple_of=BLOCK)
    got = read(
        decoder, input_ids=tree.ids.to(device), position_ids=tree.positions.to(device), use_cache=False,
        attention_mask=masks_for(decoder, {w: block_mask(tree, w, device) for w in windows(decoder)}),
    )
    return got.last_hidden_state[0].index_select(0, tree.index.to(device))  # type: ignore[no-any-return]


def block_mask(tree: Tree, window: int | None, device: torch.device) -> Any:
    """``Tree.visible`` as FlexAttention wants it; columns without a token see each other, and nobody sees them."""
    from torch.nn.attention.flex_attention import BlockMask

    root, branch, position = (x[0].to(device) for x in (tree.root, tree.branch, tree.positions))
    width = tree.ids.shape[1]
    reach = width if window is None else window
    some, whole = visible_blocks(tree, BLOCK, windowed=window is not None)
    return BlockMask.from_kv_blocks(
        *_listed(some & ~whole, device), *_listed(whole, device), BLOCK_SIZE=BLOCK, seq_lengths=(width, width),
        # A lambda, for torch traces it, which a function whose arguments are checked (in tests) would forbid.
        mask_mod=lambda _batch, _head, q, k: (
            (k <= q) & (root[k] == root[q]) & ((branch[k] == TRUNK) | (branch[k] == branch[q]))
            & (position[q] - position[k] < reach)
        ),
    )


def _listed(blocks: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """(how many, which ones first) of each row of blocks, with axes for batch and head."""
    count = torch.from_numpy(blocks.sum(1).astype(np.int32))
    order = torch.from_numpy(np.argsort(~blocks, axis=1, kind="stable").astype(np.int32))
    return count[None, None].to(device), order[None, None].to(device)


def install(decoder: Any) -> None:
    """Give a decoder with sdpa the house's attention. Its results under any other mask stay what they were."""
    if attention_of(decoder) == "sdpa" and decoder.config._attn_implementation != NAME:
        _register()
        decoder.config._attn_implementation = NAME


def attention_of(decoder: Any) -> str:
    """The attention that the decoder was loaded with."""
    name = str(decoder.config._attn_implementation)
    return "sdpa" if name == NAME else name


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any) -> Any:
        if isinstance(attention_mask, Tensor) or attention_mask is None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        run = _compiled() if query.is_cuda else _eager()
        query, key = query.to(value.dtype), key.to(value.dtype)  # mixed precision: as sdpa does itself
        scale = options.get("scaling")
        mixed = run(query, key, value, block_mask=attention_mask, scale=scale, enable_gqa=key.shape[1] < query.shape[1])
        return mixed.transpose(1, 2).contiguous(), None

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


@cache
def _compiled() -> Any:
    # dynamic: every micro-batch has another width, and a new one must not be compiled anew.
    return torch.compile(_eager(), dynamic=True)


def _eager() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention
