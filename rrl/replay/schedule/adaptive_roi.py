"""As much replay as pays: a controller that moves tokens to the stream that solves more of what is unsolved."""

from __future__ import annotations

from typing import Any

from rrl.records import Harvest, Plan, Progress


class AdaptiveRoi:
    """fraction = clip(rho_first + k_p e + k_i sum e, rho_min, rho_max), and 0 at the end of the run (ours).

    e = (y_r - y_f) / (y_r + y_f) in [-1, 1], y = solved rows of unsolved problems a sampled token, of replayed and of
    fresh rows, both over a decaying past: a proportional-integral controller whose target is equal yield. The yields
    are averages, not marginal ones, so it stops at equal pay and not at the optimum. e is 0 while nothing was solved or
    nothing replayed; a step without replayed rows moves no integral, and the integral never leaves the range of rho
    (no wind-up). rho_min keeps on asking, or what does not pay once would never be tried again.

    Args:
        rho_first: replayed share of the starts before anything is known, [rho_min, rho_max].
        rho_min, rho_max: bounds, [0, 1].
        gain_p, gain_i: k_p, and k_i a step, shares of the starts, >= 0.
        decay: weight of the past in the yields after one step, [0, 1).
        off_from: share of the token budget from which nothing is replayed, [0, 1].
    """

    def __init__(
        self, *, rho_first: float, rho_min: float, rho_max: float, gain_p: float, gain_i: float, decay: float,
        off_from: float,
    ) -> None:
        if not 0.0 <= rho_min <= rho_first <= rho_max <= 1.0:
            raise ValueError(f"replay.schedule.rho_min is {rho_min}, rho_first {rho_first}, rho_max {rho_max}; "
                             "expected 0 <= rho_min <= rho_first <= rho_max <= 1")
        if min(gain_p, gain_i) < 0.0:
            raise ValueError(f"replay.schedule.gain_p is {gain_p} and gain_i {gain_i}; expected numbers >= 0")
        if not 0.0 <= decay < 1.0 or not 0.0 <= off_from <= 1.0:
            raise ValueError(f"replay.schedule.decay is {decay} and off_from {off_from}; expected [0, 1) and [0, 1]")
        self._first, self._bounds, self._gains = rho_first, (rho_min, rho_max), (gain_p, gain_i)
        self._decay, self._off_from = decay, off_from
        self._sums = dict.fromkeys(("fresh_tokens", "fresh_solved", "replayed_tokens", "replayed_solved"), 0.0)
        self._integral = 0.0

    def plan(self, progress: Progress) -> Plan:
        wanted = self._first + self._gains[0] * self._error() + self._integral
        on = progress.done_frac < self._off_from
        return Plan(fraction=self._clipped(wanted) if on else 0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        for name, past in self._sums.items():
            self._sums[name] = self._decay * past + getattr(harvest, name)
        if harvest.replayed_tokens:
            wanted = self._first + self._integral + self._gains[1] * self._error()
            self._integral = self._clipped(wanted) - self._first

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "integral": self._integral}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = {name: float(state["sums"][name]) for name in self._sums}
        self._integral = float(state["integral"])

    def _error(self) -> float:
        s = self._sums
        if not (s["fresh_tokens"] and s["replayed_tokens"]):
            return 0.0
        fresh, replayed = s["fresh_solved"] / s["fresh_tokens"], s["replayed_solved"] / s["replayed_tokens"]
        return (replayed - fresh) / (replayed + fresh) if replayed + fresh else 0.0

    def _clipped(self, fraction: float) -> float:
        return min(max(fraction, self._bounds[0]), self._bounds[1])
