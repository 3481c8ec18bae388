"""A constant share while the policy's entropy is low: replay when exploration has weakened."""

from __future__ import annotations

from typing import Any

import numpy as np

from rrl.records import Harvest, Plan, Progress


class EntropyTrigger:
    """Begins where H < h H_0, ends where H > (1 + hysteresis) h H_0, else stays as it is; fraction = rho or 0.

    H = mean token entropy of the last fresh rollouts, H_0 that of the first step. Ours, from RRL's "when exploration
    weakens" (arXiv 2504.14363).

    Args:
        rho: replayed share of the starts while on, [0, 1].
        entropy_frac: h, share of the first step's entropy, > 0.
        hysteresis: how far above the bar H must rise to end it, share of the bar, >= 0.
        smooth_steps: last steps that H is averaged over, >= 1.
    """

    def __init__(self, *, rho: float, entropy_frac: float, hysteresis: float, smooth_steps: int) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"replay.schedule.rho is {rho}; expected a number in [0, 1]")
        if entropy_frac <= 0.0 or hysteresis < 0.0 or smooth_steps < 1:
            raise ValueError(f"replay.schedule.entropy_frac is {entropy_frac}, hysteresis {hysteresis}, smooth_steps "
                             f"{smooth_steps}; expected entropy_frac > 0, hysteresis >= 0, smooth_steps >= 1")
        self._rho, self._entropy_frac, self._hysteresis = rho, entropy_frac, hysteresis
        self._smooth_steps = smooth_steps
        self._active = False

    def plan(self, progress: Progress) -> Plan:
        return Plan(fraction=self._rho if self._on(progress) else 0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        self._active = self._on(progress)

    def state_dict(self) -> dict[str, Any]:
        return {"active": self._active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._active = bool(state["active"])

    def _on(self, progress: Progress) -> bool:
        if progress.first is None or not progress.history:
            return self._active
        entropy = float(np.mean([signals.entropy for signals in progress.history[-self._smooth_steps :]]))
        bar = self._entropy_frac * progress.first.entropy
        return entropy <= (1.0 + self._hysteresis) * bar if self._active else entropy < bar
