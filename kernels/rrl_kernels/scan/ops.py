"""GAE and V-trace as ``torch.library`` operators; their outputs are targets and carry no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.scan import reference, torch_impl

_GAE = (
    "(Tensor reward, Tensor value, Tensor offsets, Tensor final, float gamma, float lam, Tensor? row_lam, "
    "float target_lam) -> (Tensor, Tensor)"
)
_VTRACE = (
    "(Tensor reward, Tensor value, Tensor log_ratio, Tensor offsets, Tensor final, float gamma, float lam, "
    "float rho_bar, float c_bar) -> (Tensor, Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("rrl_kernels::gae", mutates_args=(), schema=_GAE)
def gae(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float, row_lam: Tensor | None,
    target_lam: float,
) -> tuple[Tensor, Tensor]:
    """(advantage, target return) in the dtype of ``value``; ``target_lam`` < 0 = the advantage's own."""
    chosen = dispatch.pick("segment_gae", value)
    if chosen == "triton":
        from rrl_kernels.scan.triton_impl import gae as launch

        advantage, target = launch(reward, value, offsets, final, gamma, lam, row_lam, target_lam)
        return advantage.to(value.dtype), target.to(value.dtype)

    def run(lam: float, row_lam: Tensor | None) -> Tensor:
        if chosen == "reference":
            each = torch.full_like(final.double(), lam) if row_lam is None else row_lam.double()
            return reference.gae(reward.double(), value.double(), offsets, final.double(), gamma, each)
        return torch_impl.gae(reward, value, offsets, final, gamma, lam, row_lam)

    advantage = run(lam, row_lam)
    to_target = advantage if target_lam < 0.0 else run(target_lam, None)
    return advantage.to(value.dtype), (to_target + value).to(value.dtype)


@gae.register_fake
def _gae_fake(reward: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return torch.empty_like(value), torch.empty_like(value)


@torch.library.custom_op("rrl_kernels::vtrace", mutates_args=(), schema=_VTRACE)
def vtrace(
    reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float,
    rho_bar: float, c_bar: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(target, advantage, rho [A], effective sample size [N]) in the dtype of ``value``."""
    chosen = dispatch.pick("segment_vtrace", value)
    if chosen == "triton":
        from rrl_kernels.scan.triton_impl import vtrace as launch

        first, second, third, fourth = launch(reward, value, log_ratio, offsets, final, gamma, lam, rho_bar, c_bar)
        return first.to(value.dtype), second.to(value.dtype), third.to(value.dtype), fourth.to(value.dtype)
    parts = torch_impl.vtrace(reward, value, log_ratio, offsets, final, gamma, lam, rho_bar, c_bar)
    if chosen == "reference":
        wide = (reward.double(), value.double(), log_ratio.double(), offsets, final.double())
        parts = (*reference.vtrace(*wide, gamma, lam, rho_bar, c_bar), *parts[2:])
    target, advantage, rho, ess = (x.to(value.dtype, copy=True) for x in parts)
    return target, advantage, rho, ess


@vtrace.register_fake
def _vtrace_fake(reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, *_: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    return (*(torch.empty_like(value) for _ in range(3)), value.new_empty(offsets.shape[0] - 1))
