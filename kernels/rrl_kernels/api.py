"""Public operations. This file checks shape, dtype, device and range, picks the implementation, nothing else.

Legend: C or T rows (actions), H hidden size, V vocabulary. Log-probabilities and entropies are in nats, in
float32, or float64 where the input is. Each operation takes the implementation that ``dispatch`` names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels import checks, dispatch
from rrl_kernels.head import reference as head_reference
from rrl_kernels.head.linear import linear_logits as linear_logits
from rrl_kernels.head.ops import linear_score
from rrl_kernels.head.policy_loss import LinearPolicyLoss
from rrl_kernels.logits import reference as logits_reference
from rrl_kernels.logits.ops import InPlace, row_stats
from rrl_kernels.logits.policy_loss import LogitsPolicyLoss
from rrl_kernels.logits.policy_loss import Seen as Seen
from rrl_kernels.logits.policy_loss import TokenLoss as TokenLoss


def logprob_entropy(
    logits: Tensor, targets: Tensor, temperature: float = 1.0, *, softcap: float | None = None,
    mask: Tensor | None = None, return_entropy: bool = True, inplace_backward: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target and entropy of each row, differentiable once.

    p = softmax(cap tanh(logits / cap) / temperature). Half precision is read as float32: bfloat16 logits of standard
    deviation 4 are off by 2e-2 nats already, and a bfloat16 softmax would add to that.

    Args:
      logits: [C, V], any floating dtype.
      targets: [C] int64 in [0, V).
      temperature: > 0.
      softcap: > 0, or None for none.
      mask: [C] bool; rows where it is False are not read, give 0 and have no gradient. None = all rows.
      return_entropy: False gives None in its place.
      inplace_backward: write d loss / d logits into the logits' own memory: no second [C, V]. The logits are spent
        then: a second backward, or another consumer that still needs them, raises autograd's RuntimeError.
    Returns:
      (logprob [C], entropy [C] or None).
    Raises:
      ValueError: what does not fit, named; ``inplace_backward`` on a leaf, whose values it would overwrite.
    """
    _check_rows("logits", logits, targets, logits.shape[-1] if logits.ndim else 0, mask, temperature, softcap)
    if inplace_backward and logits.is_leaf and logits.requires_grad:
        raise ValueError("logits is a leaf and inplace_backward=True would overwrite it; expected a computed tensor")
    if dispatch.choice() == "reference":
        logprob, entropy = logits_reference.logprob_entropy(_wide(logits), targets, temperature, softcap)
        logprob, entropy = _masked(logprob, mask), _masked(entropy, mask)
    elif inplace_backward:
        logprob, entropy = InPlace.apply(logits, targets, mask, float(temperature), softcap or 0.0)  # type: ignore[no-untyped-call]
    else:
        logprob, entropy, _ = row_stats(logits, targets, mask, float(temperature), softcap or 0.0)
    return logprob, entropy if return_entropy else None


def logits_policy_loss(
    logits: Tensor, targets: Tensor, token_loss: TokenLoss, *, temperature: float = 1.0, softcap: float | None = None,
    mask: Tensor | None = None, inplace_backward: bool = False,
) -> tuple[Tensor, Seen]:
    """A policy loss on logits, its gradient formed while they are still at hand.

    Args:
      logits, targets, temperature, softcap, mask: as in ``logprob_entropy``.
      token_loss: (logprob [c], entropy [c], index [c] int64) -> (loss scalar, d loss/d logprob [c], d loss/d entropy
        [c]), in plain torch without autograd; called once, for the unmasked rows.
      inplace_backward: the gradient takes the logits' memory *in this call*: whoever reads them later reads it.
    Returns:
      (loss, what token_loss was shown and answered).
    """
    _check_rows("logits", logits, targets, logits.shape[-1] if logits.ndim else 0, mask, temperature, softcap)
    if inplace_backward and logits.is_leaf and logits.requires_grad:
        raise ValueError("logits is a leaf and inplace_backward=True would overwrite it; expected a computed tensor")
    seen: list[Seen] = []
    loss = LogitsPolicyLoss.apply(  # type: ignore[no-untyped-call]
        logits, targets, token_loss, mask, float(temperature), softcap or 0.0, inplace_backward, seen
    )
    return loss, seen[0]


def linear_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, softcap: float | None = None,
    bias: Tensor | None = None, mask: Tensor | None = None, return_entropy: bool = True,
    logits_dtype: torch.dtype = torch.float32, chunk_tokens: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """``logprob_entropy`` of hidden weight^T + bias, never holding more than ``chunk_tokens`` rows of logits.

    Differentiable once, with any upstream gradient a row; backward makes the logits again (8 T H V operations in
    all; ``linear_policy_loss`` needs 6). Under FSDP2 keep ``weight`` unsharded: it is read again in backward.

    Args:
      hidden: [T, H].
      weight: [V, H], same dtype.
      targets: [T] int64 in [0, V).
      bias: [V] or None, dtype of ``weight``.
      mask: [T] bool; rows where it is False leave every product, give 0 and have no gradient.
      return_entropy: False gives None in its place.
      logits_dtype: float32 (default), or the dtype of ``weight``; float64 where the inputs are.
      chunk_tokens: rows of logits that exist at once; 0 = from the tuning table.
    Returns:
      (logprob [T], entropy [T] or None).
    Raises:
      ValueError: what does not fit, named.
    """
    logits_dtype = _check_linear(hidden, weight, targets, bias, mask, temperature, softcap, logits_dtype, chunk_tokens)
    if dispatch.choice() == "reference":
        args = (_wide(hidden), _wide(weight), targets, None if bias is None else _wide(bias), temperature, softcap)
        logprob, entropy = (_masked(x, mask) for x in head_reference.linear_logprob(*args))
    else:
        logprob, entropy, _ = linear_score(
            hidden, weight, bias, targets, mask, float(temperature), softcap or 0.0, logits_dtype, chunk_tokens
        )
    return logprob, entropy if return_entropy else None


def linear_policy_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, token_loss: TokenLoss, *, temperature: float = 1.0,
    softcap: float | None = None, bias: Tensor | None = None, mask: Tensor | None = None,
    logits_dtype: torch.dtype = torch.float32, chunk_tokens: int = 0,
) -> tuple[Tensor, Seen]:
    """Any policy loss inside the output layer: 6 T H V operations forward and backward.

    ``token_loss`` is called once for each chunk, in rising order, between the two passes over its logits. Rows whose
    gradient is exactly 0 (zero advantage, clipped, without KL or entropy term) leave both gradient products, exactly.
    A loss that needs all tokens of a row at once cannot run here: use ``linear_logprob``.

    Args:
      token_loss: (logprob [c], entropy [c], index [c] int64 into the T rows) -> (loss scalar, d loss/d logprob [c],
        d loss/d entropy [c]), in plain torch without autograd; sees unmasked rows only.
      others: as in ``linear_logprob``.
    Returns:
      (loss scalar whose backward gives the gradients of hidden, weight and bias, what token_loss was shown).
    Raises:
      ValueError: what does not fit, named.
    """
    logits_dtype = _check_linear(hidden, weight, targets, bias, mask, temperature, softcap, logits_dtype, chunk_tokens)
    seen: list[Seen] = []
    loss = LinearPolicyLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, token_loss, mask, float(temperature), softcap or 0.0, logits_dtype,
        chunk_tokens, seen,
    )
    return loss, seen[0]


def _check_linear(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, mask: Tensor | None, temperature: float,
    softcap: float | None, logits_dtype: torch.dtype, chunk_tokens: int,
) -> torch.dtype:
    """The dtype of the logits."""
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
    _check_rows("hidden", hidden, targets, weight.shape[0], mask, temperature, softcap)
    return logits_dtype


def _check_rows(
    name: str, rows: Tensor, targets: Tensor, vocab_size: int, mask: Tensor | None, temperature: float,
    softcap: float | None,
) -> None:
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
    checks.targets_in_range(targets, vocab_size)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else torch.where(mask, x, torch.zeros_like(x))
