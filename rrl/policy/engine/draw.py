"""One token per row from logits: inverse-CDF sampling with noise that was decided beforehand.

The cumulative sum is in float64: in float32, over a large vocabulary, it would misplace tokens of small
probability. The log-probability and entropy come from the same pass.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

# Rows are taken in parts of this many numbers, which bounds the float64 sum at 64 MiB.
_CHUNK_NUMBERS = 1 << 23


def draw(
    logits: Float[Tensor, "M V"], uniform: Float64[Tensor, "M"], temperature: float, greedy: bool
) -> tuple[Int64[Tensor, "M"], Float32[Tensor, "M"], Float32[Tensor, "M"]]:
    """The first token whose cumulative probability exceeds ``uniform``; the likeliest when ``greedy``.

    With p = softmax(logits / temperature) = (.2, .5, .3): uniform .1 -> 0, .2 -> 1, .69 -> 1, .7 -> 2.

    Args:
      logits: of the next token, any floating dtype.
      uniform: in [0, 1); not read when greedy.
      temperature: > 0; the log-probability and entropy are those of p also when greedy.
    Returns:
      (token, log p[token], entropy of p), in nats.
    """
    rows_per_part = max(1, _CHUNK_NUMBERS // logits.shape[1])
    if len(logits) <= rows_per_part:
        return _draw(logits, uniform, temperature, greedy)
    pairs = zip(torch.split(logits, rows_per_part), torch.split(uniform, rows_per_part), strict=True)
    parts = [_draw(z, u, temperature, greedy) for z, u in pairs]
    token, logprob, entropy = (torch.cat(column) for column in zip(*parts, strict=True))
    return token, logprob, entropy


def _draw(logits: Tensor, uniform: Tensor, temperature: float, greedy: bool) -> tuple[Tensor, Tensor, Tensor]:
    wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    log_p = torch.log_softmax(wide if temperature == 1.0 else wide / temperature, dim=-1)
    p = log_p.exp()
    if greedy:
        token = log_p.argmax(-1, keepdim=True)
    else:
        cumulative = p.cumsum(-1, dtype=torch.float64)
        # The total is 1 up to rounding; scaling by it keeps the last token reachable and never overshot.
        threshold = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, threshold, right=True).clamp_(max=logits.shape[1] - 1)
    logprob = log_p.gather(-1, token)[:, 0]
    entropy = torch.linalg.vecdot(p, log_p.clamp_(min=torch.finfo(log_p.dtype).min)).neg_()  # 0 log 0 = 0
    return token[:, 0], logprob.float(), entropy.float()
