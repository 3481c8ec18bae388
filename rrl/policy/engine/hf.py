"""Sampling from a transformers decoder: left padding, a growing cache, finished rows leave.

Rows that share a context are read once and their cache is copied, so many samples of one start (or
one long replayed prefix) cost one prefill. Legend: U distinct contexts, N rows, M rows still alive.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl.policy.backbone import Backbone
from rrl.policy.engine.draw import draw
from rrl.policy.engine.environment import Hearing
from rrl.policy.engine.request import Request, Sampled
from rrl.policy.engine.room import roomy_cache
from rrl.policy.hf import HFBackbone
from rrl.policy.layout import flatten, pad_left
from rrl.policy.precision import computing_often, plainly, read
from rrl.policy.prefix.backends import masks_for, windows
from rrl.types import Tokens


class HFEngine:
    """The engine of policy=causal_lm.

    Args:
      compact_below: in [0, 1]; finished rows are dropped from the cache once the unfinished ones are
        at most this share of it. Dropping copies the cache, so 1 (drop at once) is not the fastest.
    """

    def __init__(self, *, compact_below: float) -> None:
        if not 0.0 <= compact_below <= 1.0:
            raise ValueError(f"policy.engine.compact_below is {compact_below}; expected a share in [0, 1]")
        self._compact_below = compact_below

    @torch.no_grad()
    def sample(self, backbone: Backbone, request: Request) -> Sampled:
        """Rows end at a stop token or at their limit.

        Raises:
          ValueError: the backbone is not a transformers decoder.
        """
        if not isinstance(backbone, HFBackbone):
            raise ValueError(f"policy.engine is HFEngine, the backbone a {type(backbone).__name__}; use TinyEngine")
        with computing_often(backbone.decoder):  # around all tokens: weights in mixed precision are rounded once
            return self._sample(backbone, request)

    def _sample(self, backbone: HFBackbone, request: Request) -> Sampled:
        num_rows, longest = len(request.contexts), int(request.limits.max())
        tokens = torch.zeros(num_rows, longest, dtype=torch.int64)
        logprob, entropy = torch.zeros(num_rows, longest), torch.zeros(num_rows, longest)
        counts, stopped = request.limits.clone(), torch.zeros(num_rows, dtype=torch.bool)

        training = backbone.module.training
        backbone.module.eval()  # gradient checkpointing leaves training mode on, which forbids a cache
        head, hears = backbone.head(request.logits_dtype), request.observer is not None
        decoder = _Decoder(backbone, request.contexts, hears=hears)
        rows, hearing = torch.arange(num_rows), Hearing(request.observer, num_rows)
        for u in range(longest):
            with plainly(backbone.decoder):
                logits = head.logits(decoder.hidden)
            noise = request.uniforms[rows, u].to(logits.device)
            drawn = draw(logits, noise, request.temperature, request.greedy)
            token, logprob[rows, u], entropy[rows, u] = (x.cpu() for x in drawn)
            tokens[rows, u] = token
            hit = request.stops(rows, token) & (u < counts[rows])
            stopped[rows[hit]] = True
            counts[rows[hit]] = u + 1
            alive = counts[rows] > u + 1
            heard = hearing.after(rows, token, alive)
            if not alive.any():
                break
            if float(alive.float().mean()) <= self._compact_below:
                keep = alive.nonzero()[:, 0]
                rows, token, heard = rows[keep], token[keep], [heard[i] for i in keep.tolist()]
                decoder.keep(keep)
            decoder.read(token, heard)
        backbone.module.train(training)
        first = torch.zeros(num_rows, dtype=torch.int64)
        given, given_offsets = hearing.flat(counts)
        return Sampled(
            tokens=flatten(tokens, first, counts), logprob=flatten(logprob, first, counts),
            entropy=flatten(entropy, first, counts), counts=counts, stopped=stopped, given=given,
            given_offsets=given_offsets,
        )


class _Decoder:
    """The cache of the rows still alive. hidden: [M, d], the state that predicts their next token.

    Rows that hear more and less are padded between their tokens as well, where a sliding window that counts columns,
    as transformers' masks and caches do, would reach less far back: then every column is kept and masks go by position.
    """

    hidden: Tensor

    def __init__(self, backbone: HFBackbone, contexts: tuple[tuple[int, ...], ...], *, hears: bool) -> None:
        self._network = backbone.decoder
        self._device = next(backbone.module.parameters()).device
        found = windows(self._network)
        self._windows = found if hears and any(window is not None for window in found) else ()
        self._cache = roomy_cache(backbone.config, keep_all=bool(self._windows))
        distinct = {context: i for i, context in enumerate(dict.fromkeys(contexts))}
        self._pad = backbone.codec.pad
        ids, mask, positions = pad_left(list(distinct), self._pad)
        self._mask, self._positions = mask.to(self._device), positions.to(self._device)
        self._padded = not bool(mask.all())
        self._forward(ids.to(self._device), self._positions)
        if len(distinct) < len(contexts):
            self.keep(torch.tensor([distinct[context] for context in contexts]))

    def read(self, token: Tensor, heard: list[Tokens]) -> None:
        """Append one sampled token [M] to every row, and what it heard after it."""
        if any(heard):
            rows = [(t, *said) for t, said in zip(token.tolist(), heard, strict=True)]
            ids, mask, positions = (x.to(self._device) for x in pad_left(rows, self._pad))
            positions = positions + self._positions[:, -1:] + 1
            self._padded = self._padded or not bool(mask.all())
        else:
            ids, mask = token[:, None].to(self._device), self._mask.new_ones(len(token), 1)
            positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, mask], 1)
        self._positions = torch.cat([self._positions, positions], 1)
        self._forward(ids, positions)

    def keep(self, index: Tensor) -> None:
        """Go on with these rows; an index may repeat."""
        index = index.to(self._device)
        self._cache.batch_select_indices(index)
        self._mask, self._positions, self.hidden = self._mask[index], self._positions[index], self.hidden[index]

    def _forward(self, ids: Tensor, positions: Tensor) -> None:
        mask: Any = self._mask if self._padded else None  # without one, attention takes its fastest path
        if self._windows:
            mask = masks_for(self._network, {w: self._visible(positions, w)[:, None] for w in self._windows})
        got = read(
            self._network, input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self._cache,
            use_cache=True,
        )
        self.hidden = got.last_hidden_state[:, -1]

    def _visible(self, positions: Tensor, window: int | None) -> Tensor:
        """[M, Q, K]: what each of the newest columns sees; itself always, for a softmax over nothing is not a number.

        Positions (0, 1, -, 2), the last read now, window 2: it sees 1 and 2, past the column without a token.
        """
        columns = torch.arange(self._mask.shape[1], device=self._device)
        own = columns[-positions.shape[1] :, None]
        seen = self._mask.bool()[:, None] & (columns <= own)
        if window is not None:
            seen = seen & (positions[:, :, None] - self._positions[:, None] < window)
        return seen | (columns == own)
