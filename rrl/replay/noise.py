"""Random numbers for the states of many problems in one call; a state's own do not depend on who else is there."""

from __future__ import annotations

import numpy as np

from rrl import rng

_CALL = 1 << 32  # counters that one call may use
_LOG_4 = float(np.log(4.0))
_LARGEST = 700.0  # exponents beyond it overflow
_MORE = 4  # times as many proposals as in the round before: a round costs thirty numpy calls, one in five is refused


class RowNoise:
    """As much of a numpy Generator as selections that rank row by row use: f(seed, stream, step, state, call).

    Args:
        keys: of the states, unsigned 64-bit; each names its own numbers.
    """

    def __init__(self, seed: int, stream: str, step: int, keys: np.ndarray) -> None:
        self._seed, self._stream, self._step, self._keys, self._calls = seed, stream, step, keys, 0

    def random(self, size: int | tuple[int, ...], /) -> np.ndarray:
        """Uniform in [0, 1), one for each state; ``size`` says in which shape."""
        uniform: np.ndarray = self._uniform(self._keys, self._next_call()).reshape(size)
        return uniform

    def beta(self, a: np.ndarray, b: np.ndarray, /) -> np.ndarray:
        """Beta(a, b), one for each state, by rejection (Cheng, 1978, CACM 21 (4), algorithms BB and BC in one).

        With p = min(a, b), q = max(a, b) where both exceed 1, else the other way round, and lambda the square root of
        (a + b - 2) / (2 a b - a - b), else 1 / min(a, b): v = lambda log(u / (1 - u)), w = p exp(v) is proposed and
        taken where (a + b) log((a + b) / (q + w)) + (p + 1 / lambda) v - log 4 > log(u^2 u'). Then w / (q + w) is
        Beta(p, q). Who was refused proposes four times, then sixteen, ...

        Args:
            a, b: > 0, one for each state.
        """
        low, high, total, first = np.minimum(a, b), np.maximum(a, b), a + b, self._next_call()
        flat = low <= 1.0
        p, q = np.where(flat, high, low), np.where(flat, low, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(flat, 1.0 / low, np.sqrt((total - 2.0) / (2.0 * low * high - total)))
        gain, found, waiting, tries = p + 1.0 / rate, np.empty(len(total)), np.arange(len(total)), 1
        while len(waiting):
            pw, qw, sw = p[waiting], q[waiting], total[waiting]
            uniform = self._uniform(self._keys[waiting], (first + np.arange(2 * tries))[:, None])
            u, other = uniform[:tries], uniform[tries:]
            with np.errstate(divide="ignore"):
                v = rate[waiting] * np.log(u / (1.0 - u))
                w = pw * np.exp(np.minimum(v, _LARGEST))
                good = sw * np.log(sw / (qw + w)) + gain[waiting] * v - _LOG_4 > np.log(u * u * other)
            done = good.any(axis=0)
            settled, taken = waiting[done], w[good.argmax(axis=0)[done], done]
            found[settled] = np.where(p[settled] == a[settled], taken, q[settled]) / (q[settled] + taken)
            waiting, first, tries = waiting[~done], first + 2 * tries, _MORE * tries
        return found

    def _next_call(self) -> int:
        self._calls += 1
        return (self._calls - 1) * _CALL

    def _uniform(self, keys: np.ndarray, counter: int | np.ndarray) -> np.ndarray:
        return rng.uniforms(self._seed, self._stream, self._step, keys, counter)
