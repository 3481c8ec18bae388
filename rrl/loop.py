"""The whole method, readable in one look: warm up the value, then behave, judge, remember, learn.

Starts are dealt out to ranks in contiguous runs; attempts come back together as plain numbers, so
everything about replay happens once (on rank 0) and does not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrl.clock import Clock
from rrl.records import Attempt, Progress
from rrl.stages import attempts_of, lesson_of, terms_of
from rrl.types import Estimated, Metrics, Start

if TYPE_CHECKING:
    from rrl.build import House


def warm_up(house: House, progress: Progress, after_step: Callable[[Progress], None]) -> Progress:
    """Value warm-up: steps -W..-1 roll out, score, observe and fit the value; the policy stays.

    Its tokens count. Success rates are not updated; the store is filled where ``run.warm_up.admit``.
    """
    run, clock, remembered = house.run.warm_up, Clock(), dict[str, float]()
    while progress.step < 0 and not progress.finished:
        starts = house.problems.draw(run.starts, progress, stream="warm_up.problems")
        estimated, attempts = _experience(house, starts, progress, clock)
        explored, _ = house.exploration.observe(attempts, progress)
        if run.admit:
            with clock.phase("observe"):
                remembered = house.ranks.on_main(house.replay.observe, attempts, progress, warm_up=True)
        with clock.phase("fit"):
            fitted = house.value.fit(estimated, progress)

        tokens = sum(a.num_sampled for a in attempts)
        progress = progress.after(tokens=tokens, signals=None)
        evaluated = house.evaluate.when_due(progress) if progress.step == 0 else {}  # where every curve begins
        house.tracker.log(progress, explored | remembered | fitted | evaluated | clock.lap(tokens))
        after_step(progress)
    return progress


def train(house: House, progress: Progress, after_step: Callable[[Progress], None]) -> Progress:
    """Train until the token budget is spent. ``after_step`` saves when due and may raise to stop."""
    ranks, replay, value, num_starts, clock = house.ranks, house.replay, house.value, house.run.starts_per_step, Clock()
    while not progress.finished:
        with clock.phase("rescore"):
            if ranks.is_main:
                replay.rescore(value.success, progress)  # judge late
        with clock.phase("draw"):
            replayed = ranks.on_main(replay.draw, progress, num_starts)  # when, how much, which
            fresh = house.problems.draw(num_starts - len(replayed), progress)

        estimated, attempts = _experience(house, fresh + replayed, progress, clock)  # fresh first: same row, same noise

        with clock.phase("observe"):
            lessons = ranks.on_main(replay.lessons, attempts)  # what converted prefixes teach
            remembered = ranks.on_main(replay.observe, attempts, progress)  # outcomes, cuts, filters, admission
            explored, signals = house.exploration.observe(attempts, progress)
        share = sum(a.start.replayed for a in attempts) / len(attempts)
        with clock.phase("learn"):
            learned = house.learner.update(terms_of(estimated, share), lesson_of(ranks.shard(lessons)), progress)
        with clock.phase("fit"):
            fitted = value.fit(estimated, progress)

        tokens = sum(a.num_sampled for a in attempts)
        progress = progress.after(tokens=tokens, signals=signals)
        with clock.phase("evaluate"):
            evaluated = house.evaluate.when_due(progress)  # bare prompts only
        measured = explored | remembered | learned | fitted | evaluated | dropped_rows(house)
        house.tracker.log(progress, measured | clock.lap(tokens))
        after_step(progress)
    return progress


def dropped_rows(house: House) -> Metrics:
    """How many rows this step's reward failed for, over all ranks; absent where there is none."""
    dropped = house.ranks.sum([house.reward.dropped])[0]
    return {"learn/dropped_rows": dropped} if dropped else {}


def _experience(
    house: House, starts: Sequence[Start], progress: Progress, clock: Clock
) -> tuple[Estimated, list[Attempt]]:
    """Roll out, score and estimate this rank's part of ``starts``; all ranks' attempts as plain numbers.

    Raises:
      RuntimeError: the reward failed for every row.
    """
    per_start = house.run.samples_per_start if progress.step >= 0 else 1
    first, last = house.ranks.bounds(len(starts))
    with clock.phase("rollout"):
        rollouts = house.policy.rollout(
            starts[first:last], samples_per_start=per_start, step=progress.step, first_row=first * per_start
        )
        rollouts = house.recall.recall(rollouts)  # whole-answer replay; none: unchanged
    with clock.phase("score"):
        scored = house.reward.score(rollouts)
    with clock.phase("estimate"):
        estimated = house.value.estimate(scored)
    attempts = house.ranks.gather(attempts_of(estimated))
    if not attempts:
        raise RuntimeError(f"the reward failed for every row of step {progress.step}; its log says why")
    return estimated, attempts
