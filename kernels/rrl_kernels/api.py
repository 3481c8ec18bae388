"""Public operations. This file checks shape, dtype, device and range, picks the implementation, nothing else.

Legend: C or T rows (actions), H hidden size, V vocabulary. Log-probabilities and entropies are in nats, in
float32, or float64 where the input is. Each operation takes the implementation that ``dispatch`` names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.doors import check_head, check_logits
from rrl_kernels.head import reference as head_reference
from rrl_kernels.head.linear import linear_logits as linear_logits
from rrl_kernels.head.ops import linear_score
from rrl_kernels.head.policy_loss import LinearPolicyLoss
from rrl_kernels.logits import reference as logits_reference
from rrl_kernels.logits.ops import InPlace, row_stats
from rrl_kernels.logits.policy_loss import LogitsPolicyLoss, composed_policy_loss
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
    check_logits(logits, targets, mask, temperature, softcap, overwrite=inplace_backward)
    if dispatch.choice() == "reference":
        logprob, entropy = logits_reference.logprob_entropy(logits, targets, temperature, softcap, mask)
    elif inplace_backward:
        logprob, entropy = InPlace.apply(logits, targets, mask, float(temperature), softcap or 0.0)  # type: ignore[no-untyped-call]
    else:
        logprob, entropy, _, _ = row_stats(logits, targets, mask, float(temperature), softcap or 0.0)
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
    check_logits(logits, targets, mask, temperature, softcap, overwrite=inplace_backward)
    if dispatch.choice() == "reference":
        both = logits_reference.logprob_entropy(logits, targets, temperature, softcap, mask)
        return composed_policy_loss(*both, token_loss, mask)
    seen: list[Seen] = []
    loss = LogitsPolicyLoss.apply(  # type: ignore[no-untyped-call]
        logits, targets, token_loss, mask, float(temperature), softcap or 0.0, inplace_backward,
        torch.is_grad_enabled() and logits.requires_grad, seen,
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
    logits_dtype = check_head(hidden, weight, targets, bias, mask, temperature, softcap, logits_dtype, chunk_tokens)
    if dispatch.choice() == "reference":
        logprob, entropy = head_reference.linear_logprob(hidden, weight, targets, bias, temperature, softcap, mask)
    else:
        logprob, entropy, _, _ = linear_score(
            hidden, weight, bias, targets, mask, float(temperature), softcap or 0.0, logits_dtype, chunk_tokens
        )
    return logprob, entropy if return_entropy else None


def linear_policy_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, token_loss: TokenLoss, *, temperature: float = 1.0,
    softcap: float | None = None, bias: Tensor | None = None, mask: Tensor | None = None,
    logits_dtype: torch.dtype = torch.float32, chunk_tokens: int = 0, max_active: int | None = None,
) -> tuple[Tensor, Seen]:
    """Any policy loss inside the output layer: 6 T H V operations forward and backward.

    ``token_loss`` is called once for each chunk, in rising order, between the two passes over its logits. Rows whose
    gradient is exactly 0 (zero advantage, clipped, without KL or entropy term) leave both gradient products, exactly.
    A loss that needs all tokens of a row at once cannot run here: use ``linear_logprob``.

    Args:
      token_loss: (logprob [c], entropy [c], index [c] int64 into the T rows) -> (loss scalar, d loss/d logprob [c],
        d loss/d entropy [c]), in plain torch without autograd; sees unmasked rows only.
      max_active: at most so many rows of one chunk have a gradient, where the caller knows it: then no step waits for
        the device, and more of them are an error. None = they are counted, one wait a chunk.
      others: as in ``linear_logprob``.
    Returns:
      (loss scalar whose backward gives the gradients of hidden, weight and bias, what token_loss was shown).
    Raises:
      ValueError: what does not fit, named.
    """
    logits_dtype = check_head(hidden, weight, targets, bias, mask, temperature, softcap, logits_dtype, chunk_tokens)
    if max_active is not None and max_active < 0:
        raise ValueError(f"max_active is {max_active}; expected >= 0, or None for a count of each chunk")
    if dispatch.choice() == "reference":
        both = head_reference.linear_logprob(hidden, weight, targets, bias, temperature, softcap, mask)
        return composed_policy_loss(*both, token_loss, mask)
    learns = torch.is_grad_enabled()
    wanted = tuple(learns and x is not None and x.requires_grad for x in (hidden, weight, bias))
    seen: list[Seen] = []
    loss = LinearPolicyLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, token_loss, mask, float(temperature), softcap or 0.0, logits_dtype,
        chunk_tokens, max_active, wanted, seen,
    )
    return loss, seen[0]
