"""What a compile-only test needs to know of one Triton kernel in one configuration; imports no triton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileCase:
    """One kernel as it would be launched.

    name: for the test's id.  kernel: the ``triton.jit`` function.  signature: argument -> triton type ("*fp32",
    "i64", ...), "constexpr" for those in ``constexprs``.  constexprs: argument -> value.  num_warps, num_stages: of
    the launch.
    uses_wgmma: a matrix product that must use Hopper's wgmma on sm_90.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constexprs: dict[str, Any]
    num_warps: int
    num_stages: int
    uses_wgmma: bool
