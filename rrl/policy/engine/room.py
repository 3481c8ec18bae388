"""A cache of keys and values with room for what is still to come: a token is written, not appended by a copy.

transformers' own dynamic cache makes every layer's keys and values anew for each token, which at a long context
costs more than the token. Here a layer holds ``ROOM`` columns more than it needs and gets a larger buffer only when
those are full. What attention sees is the same. Layers of another kind (sliding windows) stay transformers' own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

ROOM = 128  # columns; a copy every 128 tokens, and at most this many unused columns a row and layer


def roomy_cache(config: Any, *, keep_all: bool = False) -> Any:
    """A ``DynamicCache`` for a model of this config whose plain layers keep room.

    keep_all: layers with a sliding window are plain ones too, for masks that say themselves what is seen.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    made, plain = DynamicCache(config=config), {DynamicLayer} | ({DynamicSlidingWindowLayer} if keep_all else set())
    made.layers = [_layer_class()() if type(layer) in plain else layer for layer in made.layers]
    return made


@cache
def _layer_class() -> Any:
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
        """keys, values: views of the used columns of ``_whole``, a pair of buffers."""

        _whole: tuple[Tensor, Tensor] | None = None

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            key_states = key_states.to(value_states.dtype)  # mixed precision: attention would round it at each token
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            used = self.get_seq_length()
            end = used + key_states.shape[-2]
            if self._whole is None or end > self._whole[0].shape[-2]:
                self._whole = (
                    _grown(self.keys, used, key_states, end), _grown(self.values, used, value_states, end),
                )
            for buffer, new in zip(self._whole, (key_states, value_states), strict=True):
                buffer[..., used:end, :] = new
            return self._show(end)

        def batch_select_indices(self, indices: Tensor) -> None:
            """These rows, in this order; the room comes with them."""
            if self._whole is not None:
                used = self.get_seq_length()
                self._whole = (self._whole[0].index_select(0, indices), self._whole[1].index_select(0, indices))
                self._show(used)

        def _show(self, end: int) -> tuple[Tensor, Tensor]:
            assert self._whole is not None
            shown = (self._whole[0][..., :end, :], self._whole[1][..., :end, :])
            self.keys, self.values = shown
            return shown

    return RoomyLayer


def _grown(old: Tensor | None, used: int, new: Tensor, end: int) -> Tensor:
    """A buffer like ``new`` of ``end + ROOM`` columns that begins with the used ones."""
    buffer = torch.empty(*new.shape[:-2], end + ROOM, new.shape[-1], dtype=new.dtype, device=new.device)
    if old is not None and used:
        buffer[..., :used, :] = old
    return buffer
