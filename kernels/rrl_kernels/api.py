"""Public operations. This file checks shape, dtype and device, picks the implementation, nothing else.

``rrl.ops`` is the only caller inside the house; the package itself knows nothing of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels.head.linear import linear_logits as linear_logits
from rrl_kernels.logits.torch_impl import LogprobEntropy


def logprob_entropy(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of each row, in nats, differentiable once.

    p = softmax(logits / temperature); returns (log p[target], -sum p log p). Half precision is
    read as float32: bfloat16 logits of standard deviation 4 are off by 2e-2 nats already, and a
    bfloat16 softmax would add to that.

    Args:
      logits: [C, V], any floating dtype.
      targets: [C] int64 in [0, V).
      temperature: > 0.
    Returns:
      (logprob [C], entropy [C]), float32 or wider.
    Raises:
      ValueError: shapes, dtypes or devices do not fit, or temperature <= 0.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits has shape {tuple(logits.shape)} and dtype {logits.dtype}; expected floating [C, V]")
    if targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)} and dtype {targets.dtype}; expected int64 [{logits.shape[0]}]"
        )
    if targets.device != logits.device:
        raise ValueError(f"targets is on {targets.device}; expected {logits.device}, where logits is")
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}; expected > 0")
    wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    logprob, entropy = LogprobEntropy.apply(wide, targets, float(temperature))  # type: ignore[no-untyped-call]
    return logprob, entropy
