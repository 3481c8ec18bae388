"""Other people's output layers behind one signature, and what to do with all of them: score, and differentiate.

A scorer is (hidden [T, H], weight [V, H], targets [T], with_entropy) -> (log-probability [T], entropy [T] or None).
Each imports its package when called: one that is not installed is left out of the table with that reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from harness import Outputs, Provider, Sample
from torch import Tensor

from rrl_kernels import api

Scorer = Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]


def naive(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """All logits at once, in at least float32."""
    logits = (hidden @ weight.t()).to(torch.promote_types(hidden.dtype, torch.float32))
    return naive_rows(logits, targets, with_entropy)


def naive_rows(logits: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """log_softmax and gather; entropy from the same log-probabilities."""
    log_p = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
    chosen = log_p.gather(-1, targets[:, None])[:, 0]
    return chosen, -(log_p.exp() * log_p).sum(-1) if with_entropy else None


def ours(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """float32 logits, a chunk at a time."""
    return api.linear_logprob(hidden, weight, targets, return_entropy=with_entropy)


def trl(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """TRL's tiles over tokens and vocabulary: Triton on a GPU, torch elsewhere; logits in the weights' dtype."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    wanted = ("entropy",) if with_entropy else ()
    call: Any = ChunkedLogProbFunction.apply
    out = call(hidden, weight, None, targets, 1.0, 32768, None, 1.0, wanted)
    return out[0], out[1] if with_entropy else None


def liger(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Liger's: a Hopper kernel on sm_90, elsewhere chunks of 512 tokens in torch, adapted from verl's."""
    from liger_kernel.ops.fused_linear_scaled_cross_entropy import LigerFusedLinearScaledCrossEntropyFunction

    out = LigerFusedLinearScaledCrossEntropyFunction.apply(hidden, weight, targets, 1.0, -100, 1, with_entropy)
    return (-out[0], out[1]) if with_entropy else (-out, None)


def cce(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Apple's cut cross-entropy without gradient filter on a GPU, its torch.compile path elsewhere; no entropy."""
    from cut_cross_entropy import linear_cross_entropy

    del with_entropy
    how: dict[str, Any] = {"impl": "cce", "filter_eps": None} if hidden.is_cuda else {"impl": "torch_compile"}
    return -linear_cross_entropy(hidden, weight, targets, reduction="none", **how), None


def verl(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """verl's Triton kernels over tiles of the vocabulary; on a GPU only, where its package (and ray) is installed."""
    from verl.utils.kernel.linear_cross_entropy import linear_cross_entropy

    if not hidden.is_cuda:
        raise NotImplementedError("verl's kernels run on a GPU only")
    call: Any = linear_cross_entropy
    logprob, entropy = call(hidden, weight, targets, 1.0, "none")
    return logprob, entropy if with_entropy else None


def torch_own(hidden: Tensor, weight: Tensor, targets: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """torch's own chunked linear_cross_entropy (2.13 and later); no entropy."""
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        raise NotImplementedError(f"torch {torch.__version__} has no chunked linear_cross_entropy")
    del with_entropy
    options = torch.nn.LinearCrossEntropyOptions()
    call: Any = torch.nn.functional.linear_cross_entropy
    return -call(hidden, weight, targets, reduction="none", options=options), None


def compiled(scorer: Callable[..., Any]) -> Callable[..., Any]:
    """The scorer through torch.compile for this shape."""
    return torch.compile(scorer, dynamic=False)


SCORERS: dict[str, tuple[Scorer, str]] = {
    "rrl_kernels": (ours, ""), "naive torch": (naive, ""), "torch.compile(naive)": (compiled(naive), ""),
    "trl": (trl, "trl"), "liger": (liger, "liger_kernel"), "verl": (verl, "verl"),
}  # fmt: skip
WITHOUT_ENTROPY: dict[str, tuple[Scorer, str]] = SCORERS | {
    "cut-cross-entropy": (cce, "cut-cross-entropy"), "torch linear_cross_entropy": (torch_own, ""),
}  # fmt: skip


def leaves(sample: Sample) -> tuple[Tensor, Tensor]:
    """(hidden, weight) that gradients are taken of."""
    return sample["hidden"].detach().requires_grad_(), sample["weight"].detach().requires_grad_()


def graded(loss: Tensor, hidden: Tensor, weight: Tensor) -> Outputs:
    """Loss and both gradients."""
    d_hidden, d_weight = torch.autograd.grad(loss, (hidden, weight))
    return {"loss": loss.detach(), "d_hidden": d_hidden, "d_weight": d_weight}


def scoring(scorer: Scorer, mode: str, sample: Sample) -> Outputs:
    """Scores ("forward"), or scores and gradients for the sample's upstream d_logprob and d_entropy ("full")."""
    with_entropy = "no entropy" not in mode
    if mode.startswith("forward"):
        with torch.no_grad():
            logprob, entropy = scorer(sample["hidden"], sample["weight"], sample["targets"], with_entropy)
        return {"logprob": logprob} | ({} if entropy is None else {"entropy": entropy})
    hidden, weight = leaves(sample)
    logprob, entropy = scorer(hidden, weight, sample["targets"], with_entropy)
    outputs = [logprob] if entropy is None else [logprob, entropy]
    upstream = [sample[name].to(x.dtype) for name, x in zip(("d_logprob", "d_entropy"), outputs, strict=False)]
    d_hidden, d_weight = torch.autograd.grad(outputs, (hidden, weight), upstream)
    named = dict(zip(("logprob", "entropy"), (x.detach() for x in outputs), strict=False))
    return named | {"d_hidden": d_hidden, "d_weight": d_weight}


def scoring_providers(mode: str) -> list[Provider]:
    """Every scorer that can run this mode."""
    known = WITHOUT_ENTROPY if "no entropy" in mode else SCORERS
    return [
        Provider(name=name, call=functools.partial(scoring, scorer, mode), package=package)
        for name, (scorer, package) in known.items()
    ]


def widened(sample: Sample) -> Sample:
    """The same numbers in float64."""
    return {k: x.double() if x.is_floating_point() else x for k, x in sample.items()}
