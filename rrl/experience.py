"""What a step lives through: roll out, recall, score, draw again where nothing can be learned, estimate.

The rows come back under two names. *Sampled* rows happened now: only they count as tokens, as successes and as
evidence for the value. *Learned* rows are what the policy's loss is over: with stored answers, without dropped groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rrl import resample
from rrl.clock import Clock
from rrl.records import Attempt, Progress
from rrl.stages import (
    FRESH,
    RECALLED,
    REPLAYED,
    NothingScored,
    attempts_of,
    origins_of,
    refuse_broken_sampler,
    refuse_diverged_value,
    refuse_nonfinite,
    sampled_now,
    terms_of,
)
from rrl.types import Estimated, Metrics, Scored, Start, concat_scored

if TYPE_CHECKING:
    from rrl.build import House


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One step's rows. attempts: the sampled rows of all ranks, as plain numbers.  sampled: this rank's.
    terms: what the policy learns from, this rank's rows with their shares of the loss.  metrics: of all that."""

    attempts: list[Attempt]
    sampled: Estimated
    terms: list[tuple[Estimated, float]]
    metrics: Metrics


def experience(house: House, starts: Sequence[Start], progress: Progress, clock: Clock) -> Experience:
    """Live through one step from ``starts`` (fresh ones first), which are dealt out to the ranks.

    Raises:
      NothingScored: the reward failed for every row.
      NonFiniteLogprob, NonFiniteReward, NonFiniteEstimate: a number of that name is NaN or infinite.
    """
    scored, drawn = _scored(house, starts, progress, clock, first_start=0), list(starts)
    num_fresh, rounds, dropped = sum(not s.replayed for s in starts), 0, house.reward.dropped
    learned, metrics = None, Metrics()
    if house.run.resample_rounds and progress.step >= 0:
        telling = resample.telling_groups(scored, house.ranks)
        chosen = resample.chosen_starts(drawn, telling, num_fresh)
        while len(chosen) < num_fresh and rounds < house.run.resample_rounds:
            rounds += 1
            more = house.problems.draw(num_fresh - len(chosen), progress, stream=f"problems.again_{rounds}")
            scored = concat_scored([scored, _scored(house, more, progress, clock, first_start=len(drawn))])
            drawn, dropped = drawn + more, dropped + house.reward.dropped
            telling = resample.telling_groups(scored, house.ranks)
            chosen = resample.chosen_starts(drawn, telling, num_fresh)
        learned = resample.rows_learned_from(scored, chosen)
        metrics = resample.resampling_metrics(drawn, telling, 1 + rounds)
    with clock.phase("estimate"):
        estimated = house.value.estimate(scored)  # of all rows: a value that whitens a batch sees all of it
    per_start = house.run.samples_per_start if progress.step >= 0 else 1
    refuse_diverged_value(estimated, house.ranks, progress.step, house.ranks.bounds(len(starts))[0] * per_start)
    sampled = sampled_now(estimated)
    attempts = house.ranks.gather(attempts_of(sampled))
    if not attempts:
        raise NothingScored(f"the reward failed for every row of step {progress.step}; the log above says why")
    terms, recalled = _terms(house, estimated if learned is None else estimated.rows(learned))
    if all_dropped := house.ranks.sum([dropped])[0]:
        metrics["learn/dropped_rows"] = all_dropped
    return Experience(attempts=attempts, sampled=sampled, terms=terms, metrics=metrics | recalled)


def _scored(house: House, starts: Sequence[Start], progress: Progress, clock: Clock, *, first_start: int) -> Scored:
    """This rank's part of ``starts``, of which the first is the step's start number ``first_start``."""
    per_start = house.run.samples_per_start if progress.step >= 0 else 1
    first, last = house.ranks.bounds(len(starts))
    with clock.phase("rollout"):
        rollouts = house.policy.rollout(
            starts[first:last], samples_per_start=per_start, step=progress.step,
            first_row=(first_start + first) * per_start,
        )
        refuse_broken_sampler(rollouts, house.ranks, progress.step, (first_start + first) * per_start)
        if progress.step >= 0:
            rollouts = house.recall.recall(rollouts, progress)  # whole-answer replay; none: unchanged
    with clock.phase("score"):
        scored = house.reward.score(rollouts)
    refuse_nonfinite(scored, house.ranks, progress.step, (first_start + first) * per_start)
    return scored


def _terms(house: House, learned: Estimated) -> tuple[list[tuple[Estimated, float]], Metrics]:
    """Shares are shares of rows, over all ranks."""
    origin = origins_of(learned.sequences)
    counts = [float((origin == o).sum()) for o in (FRESH, REPLAYED, RECALLED)]
    solved = float(learned.scored.solved[origin == RECALLED].sum())
    fresh, replayed, recalled, solved = house.ranks.sum([*counts, solved])
    now = fresh + replayed
    terms = terms_of(learned, replayed / now, recalled / (now + recalled))
    if not recalled:
        return terms, {}
    return terms, {
        "recall/rows": recalled, "recall/fraction": recalled / (now + recalled), "recall/solved": solved / recalled,
    }  # fmt: skip
