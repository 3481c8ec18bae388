"""Adam's state as plain lists, and the learning rate as a function of the used token budget."""

from __future__ import annotations

from typing import Any

import torch

_KEYS = ("step", "exp_avg", "exp_avg_sq")


def linear_decay(lr: float, final_frac: float, done_frac: float) -> float:
    """lr (1 - (1 - final_frac) done_frac): from lr to final_frac lr, linear in the token budget."""
    return lr * (1.0 - (1.0 - final_frac) * done_frac)


def check_adam(betas: tuple[float, ...], eps: float, key: str) -> None:
    """Raise ValueError for numbers that Adam divides 0 by 0 under, or cannot take. key: of the config above them."""
    if len(betas) != 2:
        raise ValueError(f"{key}.betas is {betas}; expected two numbers")
    if not eps > 0.0:
        raise ValueError(f"{key}.eps is {eps}; expected > 0: a weight without a gradient would become NaN")


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def adam_state(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """Adam's moments in the order of its parameters; None for one that never had a gradient.

    torch's own state_dict has integer keys and carries the hyper-parameters, which belong to the
    config: a resumed run must follow its YAML.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        key: [optimizer.state[p][key].detach().clone() if p in optimizer.state else None for p in parameters]
        for key in _KEYS
    }


def load_adam_state(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Restore what ``adam_state`` gave. Raises ValueError when the parameters do not match."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = [tuple(p.shape) for p in parameters]
    for key in _KEYS:
        shapes = [None if m is None else (*m.shape, *([] if m.is_floating_point() else [m.dtype])) for m in state[key]]
        sides = expected if key != "step" else [()] * len(expected)
        if len(shapes) == len(sides) and all(s in (None, e) for s, e in zip(shapes, sides, strict=True)):
            continue
        raise ValueError(
            f"optimizer state has parameter shapes {shapes}; expected {expected}: the checkpoint was written with "
            "other policy.* or value.* sizes"
        )
    optimizer.state.clear()
    for i, p in enumerate(parameters):
        if state["exp_avg"][i] is not None:
            # `step` stays float32 on the parameter's device, as torch's fused Adam keeps it.
            moments = {k: state[k][i].detach().to(device=p.device, copy=True) for k in _KEYS}
            optimizer.state[p] = moments
