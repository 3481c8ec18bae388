"""Public operations on packed rows and groups: advantages, off-policy targets, whitening; checks, then the operator.

Legend: A actions of all rows end to end, N rows, G groups (starts). Row i is offsets[i]:offsets[i + 1] and holds
*sampled* tokens only: a prompt or a replayed prefix is never part of it, so the first value of a row is V(prefix).
Results are targets: they carry no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rrl_kernels import checks, dispatch
from rrl_kernels.group import ops as group_ops
from rrl_kernels.scan import ops as scan_ops


@dataclass(frozen=True, slots=True, kw_only=True)
class VTrace:
    """value_target, advantage, rho: [A].  ess: effective sample size (sum w)^2 / sum w^2 of each row [N]."""

    value_target: Tensor
    advantage: Tensor
    rho: Tensor
    ess: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAdvantage:
    """advantage: [N].  mean: [G], the Monte-Carlo value of each start.  std: [G], with n - 1.  zero: [N] bool, rows
    whose whole group has advantage 0 and so teaches nothing."""

    advantage: Tensor
    mean: Tensor
    std: Tensor
    zero: Tensor


def segment_gae(
    reward: Tensor, value: Tensor, offsets: Tensor, *, gamma: float, lam: float | Tensor, bootstrap_value: Tensor,
    ended: Tensor | None = None, target_lam: float | None = None,
) -> tuple[Tensor, Tensor]:
    """A_u = sum_k (gamma lam)^k delta_{u+k}, delta_u = r_u + gamma V(s_{u+1}) - V(s_u) (1506.02438, eq. 16).

    Example: offsets (0, 2, 3), reward (0, 1, 2), value (.5, .5, 1), bootstrap 0, gamma = lam = 1: deltas (0, .5) and
    (1), so advantages (.5, .5, 1) and targets (1, 1, 2).

    Args:
      reward, value: [A], floating; finite.
      offsets: [N + 1] int64, from 0 to A, never falling; empty rows are allowed.
      gamma: in [0, 1].
      lam: in [0, 1]; a number, or one for each row [N] (length-adaptive: VAPO, 2504.05118).
      bootstrap_value: [N], V after each row's last action. It enters that action's delta once, and nothing else.
      ended: [N] bool; where True the bootstrap value counts as 0. None = use all.
      target_lam: lambda of the value target where it differs (VC-PPO, 2503.01491); None = the advantage's.
    Returns:
      (advantage [A], target return [A] = advantage at target_lam + value), in the dtype of ``value``.
    Raises:
      ValueError: what does not fit, named.
    """
    final = _check_rows("segment_gae", reward, value, offsets, bootstrap_value, ended)
    checks.in_unit_interval("gamma", gamma)
    row_lam = lam if isinstance(lam, Tensor) else None
    if row_lam is not None:
        checks.shaped("lam", row_lam, (len(final),), "one for each row")
        checks.holds(((row_lam >= 0) & (row_lam <= 1)).all(), "lam holds a number outside [0, 1]")
    else:
        checks.in_unit_interval("lam", float(lam))
    if target_lam is not None:
        checks.in_unit_interval("target_lam", target_lam)
    advantage, target = scan_ops.gae(
        reward, value, offsets, final, float(gamma), 0.0 if row_lam is not None else float(lam), row_lam,
        -1.0 if target_lam is None else float(target_lam),
    )
    return advantage, target


def segment_vtrace(
    reward: Tensor, value: Tensor, logprob_new: Tensor, logprob_old: Tensor, offsets: Tensor, *, gamma: float,
    lam: float, rho_bar: float, c_bar: float, bootstrap_value: Tensor, ended: Tensor | None = None,
) -> VTrace:
    """V-trace targets of rows that another policy sampled (Espeholt et al. 2018, 1802.01561, eq. 1).

    v_u = V_u + sum_k gamma^k (c_u ... c_{u+k-1}) rho_{u+k} (r + gamma V' - V)_{u+k}, rho = min(rho_bar, w),
    c = lam min(c_bar, w), w = exp(clamp(logprob_new - logprob_old, -20, 20)). rho_bar = infinity gives the traces of
    Retrace (1606.02647) on state values.

    Args:
      logprob_new, logprob_old: [A], of the policy being trained and of the one that sampled.
      rho_bar, c_bar: > 0.
      others: as in ``segment_gae``.
    """
    final = _check_rows("segment_vtrace", reward, value, offsets, bootstrap_value, ended)
    for name, x in (("logprob_new", logprob_new), ("logprob_old", logprob_old)):
        checks.shaped(name, x, (len(value),), "one for each action")
        if not dispatch.checks_inside("segment_vtrace", value):
            checks.finite(name, x)
    for name, number in (("gamma", gamma), ("lam", lam)):
        checks.in_unit_interval(name, number)
    for name, number in (("rho_bar", rho_bar), ("c_bar", c_bar)):
        if not number > 0.0:
            raise ValueError(f"{name} is {number}; expected a number > 0")
    log_ratio = logprob_new - logprob_old
    target, advantage, rho, ess = scan_ops.vtrace(
        reward, value, log_ratio, offsets, final, float(gamma), float(lam), float(rho_bar), float(c_bar)
    )
    return VTrace(value_target=target, advantage=advantage, rho=rho, ess=ess)


def group_advantage(
    reward: Tensor, group_id: Tensor, num_groups: int, *, kind: str, eps: float = 1e-6
) -> GroupAdvantage:
    """Advantage of each row against the other rows of its start; 0 for a group of one or of equal rewards.

    grpo: (R - mean) / (std + eps), std with n - 1 (Shao et al., 2402.03300; TRL).  dr_grpo: R - mean (2503.20783).
    rloo: R - mean of the others (Ahmadian et al., 2402.14740). Deterministic on every device, no wait for the device.

    Args:
      reward: [N], finite.
      group_id: [N] int64 in [0, num_groups), in any order.
      kind: "grpo", "dr_grpo" or "rloo".
    """
    if kind not in group_ops.KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of: {', '.join(group_ops.KINDS)}")
    _check_groups("reward", reward, "group_id", group_id, num_groups)
    advantage, mean, std, equal = group_ops.group_advantage(reward, group_id, num_groups, kind, float(eps))
    return GroupAdvantage(advantage=advantage, mean=mean, std=std, zero=equal.index_select(0, group_id))


def whiten(x: Tensor, segment: Tensor, num_segments: int, *, eps: float = 1e-8) -> Tensor:
    """(x - mean) / (population std + eps) inside each segment, never across; 0 where all numbers are equal."""
    _check_groups("x", x, "segment", segment, num_segments)
    whitened: Tensor = group_ops.whiten(x, segment, num_segments, float(eps))
    return whitened


def _check_groups(name: str, x: Tensor, group_name: str, group: Tensor, num_groups: int) -> None:
    checks.shaped(name, x, (None,), "[N]")
    checks.floating(name, x)
    checks.shaped(group_name, group, (len(x),), f"one for each entry of {name}")
    checks.typed(group_name, group, torch.int64)
    checks.together(**{name: x, group_name: group})
    if dispatch.checks_inside("group_advantage", x) and num_groups:
        return
    checks.finite(name, x)
    if len(group):
        low, high = torch.aminmax(group)
        checks.holds((low >= 0) & (high < num_groups), f"{group_name} holds a number outside [0, {num_groups})")


def _check_rows(
    op: str, reward: Tensor, value: Tensor, offsets: Tensor, bootstrap_value: Tensor, ended: Tensor | None
) -> Tensor:
    """The value after each row's last action."""
    checks.shaped("value", value, (None,), "[A]")
    checks.floating("value", value)
    checks.shaped("reward", reward, (len(value),), "one for each action")
    inside = dispatch.checks_inside(op, value) and len(bootstrap_value) > 0
    checks.offsets_rise(offsets, None if inside else len(value))
    checks.shaped("bootstrap_value", bootstrap_value, (len(offsets) - 1,), "one for each row")
    checks.together(value=value, reward=reward, offsets=offsets, bootstrap_value=bootstrap_value, ended=ended)
    for name, x in () if inside else (("reward", reward), ("value", value), ("bootstrap_value", bootstrap_value)):
        checks.finite(name, x)
    if ended is None:
        return bootstrap_value
    checks.shaped("ended", ended, (len(offsets) - 1,), "one for each row")
    checks.typed("ended", ended, torch.bool)
    return torch.where(ended, torch.zeros_like(bootstrap_value), bootstrap_value)
