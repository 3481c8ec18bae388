"""Triton kernels that the compile-only checks must refuse, and one that they must pass."""

import triton
import triton.language as tl

from rrl_kernels.compile_case import CompileCase


@triton.jit
def product(a, b, out, N: tl.constexpr, K: tl.constexpr, STEPS: tl.constexpr):
    """out [N, N] = sum over STEPS of a [N, K] b [K, N]."""
    row = tl.arange(0, N)
    step = tl.arange(0, K)
    total = tl.zeros((N, N), tl.float32)
    for k in range(STEPS):
        left = tl.load(a + row[:, None] * (STEPS * K) + (k * K + step)[None, :])
        right = tl.load(b + (k * K + step)[:, None] * N + row[None, :])
        total = tl.dot(left, right, total)
    tl.store(out + row[:, None] * N + row[None, :], total)


@triton.jit
def in_float64(x, out, N: tl.constexpr):
    """x^2 / 3 in float64."""
    lane = tl.arange(0, N)
    wide = tl.load(x + lane).to(tl.float64)
    tl.store(out + lane, (wide * wide / 3.0).to(tl.float32))


@triton.jit
def unknown_name(x, N: tl.constexpr):
    """Uses what does not exist."""
    tl.store(x + tl.arange(0, N), undefined)


def compile_cases() -> list[CompileCase]:
    """Named after what is wrong with them."""

    def case(name, kernel, signature, constexprs, num_warps, num_stages, uses_wgmma):
        return CompileCase(
            name=name, kernel=kernel, signature=signature | dict.fromkeys(constexprs, "constexpr"),
            constexprs=constexprs, num_warps=num_warps, num_stages=num_stages, uses_wgmma=uses_wgmma,
        )  # fmt: skip

    half = {"a": "*bf16", "b": "*bf16", "out": "*fp32"}
    single = {"a": "*fp32", "b": "*fp32", "out": "*fp32"}
    return [
        case("good", product, half, {"N": 128, "K": 64, "STEPS": 8}, 4, 3, True),
        case("float64", in_float64, {"x": "*fp32", "out": "*fp32"}, {"N": 128}, 4, 1, False),
        case("spills", product, half, {"N": 128, "K": 32, "STEPS": 8}, 1, 2, False),
        case("too much shared memory", product, half, {"N": 128, "K": 128, "STEPS": 8}, 8, 5, True),
        case("product without wgmma", product, single, {"N": 32, "K": 16, "STEPS": 8}, 4, 2, True),
        case("unknown name", unknown_name, {"x": "*fp32"}, {"N": 128}, 4, 1, False),
    ]
