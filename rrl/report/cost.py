"""What replay costs beside what it brings, arm by arm, against the arm without replay.

All arms spend the same budget of sampled tokens, so tokens are no extra cost by themselves: what is told is how many of
them went into replayed rows or into judging states, and how many tokens of prefixes had to be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rrl.report.arms import Arm
from rrl.report.contrast import Contrast, baseline_of, contrast, over_seeds
from rrl.report.load import Run

HEADLINE = "eval/hard_success"
REPLAY_PHASES = ("time/rescore_s", "time/draw_s", "time/observe_s")  # what a run without replay has hardly any of


class Cost(NamedTuple):
    """Of one arm, means over seeds. seconds: of all steps.  replay_seconds: of them in re-scoring, drawing and booking.
    extra_seconds: seconds minus the baseline's, same seeds; None for the baseline.  store_bytes: the largest.
    replayed_tokens: sampled behind prefixes.  judging_tokens: sampled to judge states, in no rollout.  prefix_tokens:
    read again.  gain: hard success minus the baseline's, same seeds."""

    arm: Arm
    steps: Contrast | None
    seconds: Contrast | None
    replay_seconds: Contrast | None
    extra_seconds: Contrast | None
    store_bytes: Contrast | None
    sampled_tokens: Contrast | None
    replayed_tokens: Contrast | None
    judging_tokens: Contrast | None
    prefix_tokens: Contrast | None
    gain: Contrast | None


def costs(arms: Sequence[Arm]) -> tuple[Arm, list[Cost]]:
    """(the baseline, each arm's cost and gain)."""
    baseline = baseline_of(arms)

    def against(arm: Arm, number: Callable[[Run], float | None]) -> Contrast | None:
        return None if arm is baseline else contrast(arm, baseline, number)

    return baseline, [
        Cost(
            arm=arm,
            steps=over_seeds(arm, lambda r: float(r.summary["steps"])),
            seconds=over_seeds(arm, step_seconds),
            replay_seconds=over_seeds(arm, lambda r: _total(r, *REPLAY_PHASES)),
            extra_seconds=against(arm, step_seconds),
            store_bytes=over_seeds(arm, lambda r: _largest(r, "replay/store_bytes")),
            sampled_tokens=over_seeds(arm, lambda r: float(r.summary["sampled_tokens"])),
            replayed_tokens=over_seeds(arm, lambda r: _total(r, "rollout/tokens_replayed")),
            judging_tokens=over_seeds(arm, judging_tokens),
            prefix_tokens=over_seeds(arm, lambda r: _total(r, "rollout/prefix_tokens")),
            gain=against(arm, lambda r: r.final.get(HEADLINE)),
        )
        for arm in arms
    ]


def step_seconds(run: Run) -> float | None:
    """Seconds of all recorded steps: what start-up and reports take is no cost of replay."""
    return _total(run, "time/step_s")


def judging_tokens(run: Run) -> float | None:
    """Sampled tokens that stand in no rollout: the last record's count minus those of rollouts. None where a version
    did not record tokens of rollouts."""
    rolled = _total(run, "rollout/tokens_fresh", "rollout/tokens_replayed")
    if rolled is None:
        return None
    return max(0.0, run.records[-1]["progress/sampled_tokens"] - rolled)


def _total(run: Run, *names: str) -> float | None:
    found = [record[name] for record in run.records for name in names if name in record]
    return float(sum(found)) if found else None


def _largest(run: Run, name: str) -> float | None:
    found = [record[name] for record in run.records if name in record]
    return float(max(found)) if found else None
