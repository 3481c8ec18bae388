"""From hidden states to log-probabilities, entropies and policy losses: the house's door to ``rrl_kernels``.

One ``Head`` serves sampling, scoring and training, so the three round their logits alike. Legend: C rows,
d width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from rrl.protocols import TokenLoss
from rrl_kernels import api


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The output layer: logits = cap tanh((hidden weight^T + bias) / cap), without a cap where ``softcap`` is None.

    logits_dtype: of the logits, never narrower than the weights. float32 from bfloat16 weights costs no
    float32 product of hidden states and weights on a GPU, and removes the largest gap between sampler and
    trainer: bfloat16 logits of standard deviation 4 put an error of 2e-2 nats into every log-probability.
    """

    weight: Float[Tensor, "V d"]  # hidden states are brought to its dtype
    bias: Float[Tensor, "V"] | None
    softcap: float | None
    logits_dtype: torch.dtype

    @property
    def dtype(self) -> torch.dtype:
        """What logits are held in."""
        return torch.promote_types(self.weight.dtype, self.logits_dtype)

    def logits(self, hidden: Float[Tensor, "C d"]) -> Float[Tensor, "C V"]:
        """Before any temperature; for sampling, where every token's logit is needed."""
        hidden = hidden.to(self.weight.dtype)
        if self.weight.dtype == self.dtype and self.bias is None and self.softcap is None:
            return F.linear(hidden, self.weight)
        return api.linear_logits(hidden, self.weight, bias=self.bias, softcap=self.softcap, logits_dtype=self.dtype)

    def logprob_entropy(
        self, hidden: Float[Tensor, "C d"], targets: Int64[Tensor, "C"], *, temperature: float, chunk_tokens: int
    ) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"]]:
        """Log-probability of each target and entropy of each row, in nats, differentiable once.

        The softmax is that of logits / temperature. Logits exist ``chunk_tokens`` rows at a time and are made
        again in backward.
        """
        logprob, entropy = api.linear_logprob(
            hidden.to(self.weight.dtype), self.weight, targets, bias=self.bias, softcap=self.softcap,
            temperature=temperature, logits_dtype=self.dtype, chunk_tokens=chunk_tokens,
        )
        assert entropy is not None
        return logprob, entropy

    def policy_loss(
        self, hidden: Float[Tensor, "C d"], targets: Int64[Tensor, "C"], token_loss: TokenLoss, *, temperature: float,
        chunk_tokens: int,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "C"]]:
        """(token_loss's value, with its gradient; entropy of each row). Logits are made once: the loss's derivative
        by them is formed in the same pass, a quarter less work than scoring and recomputing.

        Args:
          hidden, targets: the rows and the tokens that were chosen there.
          token_loss: called once for each chunk of ``chunk_tokens`` rows, on the CPU, in rising order.
        """
        def on_cpu(logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            parts = token_loss(logprob.cpu(), entropy.cpu(), index.cpu())
            loss, d_logprob, d_entropy = (x.to(device=logprob.device) for x in parts)
            return loss.to(logprob), d_logprob.to(logprob), d_entropy.to(logprob)

        loss, seen = api.linear_policy_loss(
            hidden.to(self.weight.dtype), self.weight, targets, on_cpu, bias=self.bias, softcap=self.softcap,
            temperature=temperature, logits_dtype=self.dtype, chunk_tokens=chunk_tokens,
        )
        return loss, seen.entropy


def use_kernels(name: str) -> None:
    """Choose the kernels of this process: auto, triton, torch or reference. Raises ValueError for another name."""
    from rrl_kernels import dispatch

    dispatch.use(name)
