"""What an engine is asked for and what it gives back.

An engine samples tokens from a backbone; it knows contexts, limits and stop tokens, never problems
or replay. Noise is handed in, one uniform number per row and sampled token, so how an engine groups
rows cannot change what they say. Legend: N rows, L largest limit, A sampled tokens (flat).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from rrl import rng
from rrl.policy.backbone import Backbone
from rrl.policy.engine.environment import Observer
from rrl.types import Start, Tokens, rows_to_actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """contexts: tokens before the first sampled one.  limits: most tokens to sample, >= 1.
    stop_table[stop_index[i]]: which tokens end row i.  uniforms: noise of each sampled token;
    not read when greedy, which takes the likeliest token.  logits_dtype: of the logits, as in training.
    observer: what the environment says between sampled tokens; None = nothing."""

    contexts: tuple[Tokens, ...]
    limits: Int64[Tensor, "N"]
    stop_table: Bool[Tensor, "K V"]
    stop_index: Int64[Tensor, "N"]
    uniforms: Float64[Tensor, "N L"]
    temperature: float
    greedy: bool
    logits_dtype: torch.dtype
    observer: Observer | None

    def stops(self, rows: Int64[Tensor, "M"], tokens: Int64[Tensor, "M"]) -> Bool[Tensor, "M"]:
        """Whether each of ``tokens`` ends its row."""
        return self.stop_table[self.stop_index[rows], tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """tokens, logprob, entropy: of all rows end to end, on the CPU.  counts: tokens per row.
    stopped: the last token was a stop token.  given, given_offsets: as in ``Sequences``."""

    tokens: Int64[Tensor, "A"]
    logprob: Float32[Tensor, "A"]
    entropy: Float32[Tensor, "A"]
    counts: Int64[Tensor, "N"]
    stopped: Bool[Tensor, "N"]
    given: Int64[Tensor, "B"]
    given_offsets: Int64[Tensor, "A1"]


def joined(parts: Sequence[Sampled], place: Int64[Tensor, "N"]) -> Sampled:
    """All rows of all parts; row i of the result is row ``place[i]`` of the parts end to end.

    Rows (5, 6), (7,) and (8,) with place (2, 0, 1): rows (8,), (5, 6), (7,).
    """
    counts = torch.cat([part.counts for part in parts])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    after = torch.cat([part.given_offsets[1:] - part.given_offsets[:-1] for part in parts])
    after_offsets = torch.cat([after.new_zeros(1), after.cumsum(0)])
    flat = rows_to_actions(offsets, place)
    return Sampled(
        tokens=torch.cat([part.tokens for part in parts])[flat],
        logprob=torch.cat([part.logprob for part in parts])[flat],
        entropy=torch.cat([part.entropy for part in parts])[flat],
        counts=counts[place],
        stopped=torch.cat([part.stopped for part in parts])[place],
        given=torch.cat([part.given for part in parts])[rows_to_actions(after_offsets, flat)],
        given_offsets=torch.cat([after.new_zeros(1), after[flat].cumsum(0)]),
    )


class Engine(Protocol):
    """Law: a row's tokens depend on its context, limit, stops and noise alone, not on the other rows."""

    def sample(self, backbone: Backbone, request: Request) -> Sampled: ...


def request_for(
    starts: Sequence[Start], *, vocab_size: int, max_positions: int, seed: int, stream: str, step: int,
    row_numbers: np.ndarray, temperature: float, greedy: bool, logits_dtype: torch.dtype, observer: Observer | None,
) -> Request:
    """One row per entry of ``starts``; row i uses the noise of global row ``row_numbers[i]``.

    Raises:
      ValueError: a context and its response could outgrow what the network can read.
    """
    contexts = tuple(start.context for start in starts)
    limits = [start.room for start in starts]
    most = observer.most if observer else 0  # of a whole response: a prefix has heard its part
    unheard = [max(0, most - sum(t < 0 for t in start.prefix)) for start in starts]
    longest = max(len(context) + limit + more for context, limit, more in zip(contexts, limits, unheard, strict=True))
    if longest > max_positions:
        raise ValueError(
            f"a context and its response have up to {longest} tokens; the policy reads {max_positions}: lower "
            "task.max_prompt or task.max_response, or raise policy.backbone.max_positions where the model is our own"
        )
    kinds = {stop: i for i, stop in enumerate(dict.fromkeys(start.problem.stop for start in starts))}
    stop_table = torch.zeros(len(kinds), vocab_size, dtype=torch.bool)
    for stop, i in kinds.items():
        stop_table[i, list(stop)] = True
    if greedy:
        uniforms = np.zeros((len(starts), max(limits)))
    else:
        uniforms = np.stack([rng.uniforms(seed, stream, step, row_numbers, t) for t in range(max(limits))], axis=1)
    return Request(
        contexts=contexts,
        limits=torch.tensor(limits),
        stop_table=stop_table,
        stop_index=torch.tensor([kinds[start.problem.stop] for start in starts]),
        uniforms=torch.from_numpy(uniforms),
        temperature=temperature,
        greedy=greedy,
        logits_dtype=logits_dtype,
        observer=observer,
    )
