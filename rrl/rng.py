"""Named random streams: noise = f(seed, stream, step, global row, token), never a shared state.

A draw depends on what it is for and not on what was drawn before, so replay cannot disturb fresh
sampling, a resumed run equals an unbroken one, and two ranks sample what one would.
"""

from __future__ import annotations

import functools
import zlib

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64 increment and multipliers (Steele et al., OOPSLA 2014)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _entropy(seed: int, stream: str, *numbers: int) -> list[int]:
    # SeedSequence wants non-negative words; warm-up steps are negative, hence the 64-bit wrap.
    return [seed & 0xFFFFFFFF, zlib.crc32(stream.encode()), *(n & 0xFFFFFFFFFFFFFFFF for n in numbers)]


def check_seed(seed: object) -> None:
    """Raise ValueError for what names no streams."""
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected an integer >= 0")


def generator(seed: int, stream: str, *numbers: int) -> np.random.Generator:
    """A numpy generator of its own for (seed, stream, numbers...), e.g. (0, "problems", step)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_entropy(seed, stream, *numbers))))


def torch_generator(seed: int, stream: str) -> torch.Generator:
    """A CPU torch generator for initial weights of (seed, stream)."""
    word = np.random.SeedSequence(_entropy(seed, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))


def _splitmix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


@functools.lru_cache(maxsize=16)
def _base(seed: int, stream: str, step: int) -> np.ndarray:
    """Two words for (seed, stream, step); asked for many rows and tokens one after another. Nobody writes to it."""
    return np.random.SeedSequence(_entropy(seed, stream, step)).generate_state(2, np.uint64)


def uniforms(seed: int, stream: str, step: int, rows: np.ndarray, token: int | np.ndarray) -> np.ndarray:
    """One float64 uniform in [0, 1) for each global row in ``rows`` at response position ``token``.

    A counter-based hash (SplitMix64 finaliser), so any subset of rows in any order gets the same numbers. Arrays of
    rows and of tokens are broadcast against each other.
    """
    base = _base(seed, stream, step)
    with np.errstate(over="ignore"):
        x = _splitmix(rows.astype(np.uint64) * _GOLDEN + base[0])
        x = _splitmix((x + np.asarray(token + 1).astype(np.uint64) * _GOLDEN) ^ base[1])
    unit: np.ndarray = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit
