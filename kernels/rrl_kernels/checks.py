"""What every public operation checks: one ``ValueError`` that names the argument, what came and what is expected.

Checks of *values* (targets in range, offsets that rise) read the tensor, which on a GPU waits for the device:
there they are device-side asserts (``torch._assert_async``), on a CPU ordinary errors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def shaped(name: str, tensor: Tensor, expected: tuple[int | None, ...], said: str) -> None:
    """``tensor`` has as many axes as ``expected`` and these sizes (None = any). said: e.g. "[T, H]"."""
    shape = tuple(tensor.shape)
    if len(shape) != len(expected) or any(e is not None and s != e for s, e in zip(shape, expected, strict=True)):
        sizes = "[" + ", ".join("any" if e is None else str(e) for e in expected) + "]"
        raise ValueError(f"{name} has shape {list(shape)}; expected {said} = {sizes}")


def floating(name: str, tensor: Tensor) -> None:
    """A floating dtype that the kernels know."""
    if tensor.dtype not in FLOATS:
        known = ", ".join(str(d).removeprefix("torch.") for d in FLOATS)
        raise ValueError(f"{name} has dtype {tensor.dtype}; expected one of: {known}")


def typed(name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    """Exactly this dtype."""
    if tensor.dtype != dtype:
        raise ValueError(f"{name} has dtype {tensor.dtype}; expected {dtype}")


def together(**tensors: Tensor | None) -> None:
    """All on the device of the first."""
    given = [(name, t) for name, t in tensors.items() if t is not None]
    first, home = given[0]
    for name, tensor in given[1:]:
        if tensor.device != home.device:
            raise ValueError(f"{name} is on {tensor.device}; expected {home.device}, where {first} is")


def positive(name: str, number: float) -> None:
    """A finite number > 0."""
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} is {number}; expected a finite number > 0")


def in_unit_interval(name: str, number: float) -> None:
    """A number in [0, 1]."""
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} is {number}; expected a number in [0, 1]")


def holds(condition: Tensor, message: str) -> None:
    """``condition`` (a boolean scalar) is true; ``message`` says which argument, what came and what is expected.

    On a GPU the check costs no wait: a false one stops the device with this message.
    """
    if torch.compiler.is_compiling() or condition.is_cuda:
        torch._assert_async(condition, message)
    elif not bool(condition):
        raise ValueError(message)


def targets_in_range(targets: Tensor, vocab_size: int) -> None:
    """Every target is in [0, vocab_size)."""
    if targets.numel() == 0:
        return
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= vocab_size:
            raise ValueError(f"targets holds {low if low < 0 else high}; expected integers in [0, {vocab_size})")
        return
    holds(((targets >= 0) & (targets < vocab_size)).all(), f"targets holds a number outside [0, {vocab_size})")


def finite(name: str, tensor: Tensor) -> None:
    """No NaN and no infinity: seen in one pass, as both reach the smallest or the largest number."""
    if tensor.numel() == 0:
        return
    low, high = torch.aminmax(tensor)
    holds(low.isfinite() & high.isfinite(), f"{name} holds NaN or an infinity; expected finite numbers")


def offsets_rise(offsets: Tensor, num: int | None) -> None:
    """int64 [N + 1], from 0 to ``num``, never falling; None = what they hold is looked at by the kernel."""
    if offsets.ndim != 1 or len(offsets) < 1 or offsets.dtype != torch.int64:
        raise ValueError(
            f"offsets has shape {list(offsets.shape)} and dtype {offsets.dtype}; expected int64 [N + 1] with N >= 0"
        )
    if num is None:
        return
    ok = (offsets[0] == 0) & (offsets[-1] == num) & (offsets[1:] >= offsets[:-1]).all()
    holds(ok, f"offsets does not rise from 0 to {num}, the number of tokens, without falling")
