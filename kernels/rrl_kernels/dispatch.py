"""Which implementation runs: one choice for the whole process, one logged line for each fallback.

Choices, from ``use(name)`` or else the environment variable ``RRL_KERNELS``:

- ``auto``: Triton for CUDA tensors that it serves, chunked torch for everything else;
- ``triton``: Triton or an error; on a CPU tensor only under ``TRITON_INTERPRET=1`` (slow, for tests);
- ``torch``: chunked torch everywhere;
- ``reference``: the short plain-torch truth everywhere.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os

import torch

CHOICES = ("auto", "triton", "torch", "reference")
ENVIRONMENT = "RRL_KERNELS"

_log = logging.getLogger("rrl_kernels")
_chosen: str | None = None


def use(name: str) -> None:
    """Choose for this process; it wins over the environment variable.

    Raises:
      ValueError: an unknown name, or ``triton`` where triton cannot be imported.
    """
    global _chosen
    _chosen = _checked(name, "use(name)")


def choice() -> str:
    """The name in force. Raises ValueError where the environment variable holds an unknown one."""
    return _chosen if _chosen is not None else _checked(os.environ.get(ENVIRONMENT, "auto"), ENVIRONMENT)


def pick(op: str, tensor: torch.Tensor, *, unserved: str = "") -> str:
    """``"triton"``, ``"torch"`` or ``"reference"`` for one call.

    Args:
      op: name of the operation, for messages.
      tensor: its main input; decides by device and dtype.
      unserved: why the Triton kernel cannot take this call although device and dtype fit ("" = it can).
    Raises:
      ValueError: ``triton`` was asked for by name and cannot serve this call.
    """
    name = choice()
    if name in ("torch", "reference"):
        return name
    reason = unserved or _why_not_triton(tensor)
    if not reason:
        return "triton"
    if name == "triton":
        raise ValueError(f"{op}: triton was asked for by name, but {reason}; choose auto or torch")
    if tensor.is_cuda:  # on a CPU torch is what one expects; on a GPU a slower path must be seen
        _say_once(op, reason)
    return "torch"


def checks_inside(op: str, tensor: torch.Tensor) -> bool:
    """Whether this call runs in a Triton kernel on a GPU: those of rows and groups check the numbers that they read,
    where checks from outside would be a dozen launches around one."""
    return tensor.is_cuda and not torch.compiler.is_compiling() and pick(op, tensor) == "triton"


def interpreting() -> bool:
    """Whether Triton kernels run in its interpreter (``TRITON_INTERPRET=1`` before the first use)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@functools.cache
def has_triton() -> bool:
    """Whether triton is installed; looks without importing it."""
    return importlib.util.find_spec("triton") is not None


def _checked(name: str, where: str) -> str:
    if name not in CHOICES:
        raise ValueError(f"{where} is {name!r}; expected one of: {', '.join(CHOICES)}")
    if name == "triton" and not has_triton():
        raise ValueError(f"{where} is 'triton', but triton is not installed; expected auto, torch or reference")
    return name


def _why_not_triton(tensor: torch.Tensor) -> str:
    if not has_triton():
        return "triton is not installed"
    if tensor.dtype == torch.float64:
        return "the kernels compute in float32 and the input is float64"
    if tensor.is_cuda:
        major, minor = torch.cuda.get_device_capability(tensor.device)
        return "" if major >= 8 else f"the GPU has compute capability {major}.{minor} and the kernels need 8.0"
    if not interpreting():
        return f"the input is on {tensor.device.type} and TRITON_INTERPRET is not 1"
    return "the interpreter computes bfloat16 wrongly" if tensor.dtype == torch.bfloat16 else ""


@functools.cache  # once for each operation and reason
def _say_once(op: str, reason: str) -> None:
    _log.warning("%s runs in torch: %s", op, reason)
