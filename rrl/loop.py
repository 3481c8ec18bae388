"""The whole method, readable in one look: warm up the value, then behave, judge, remember, learn.

Starts are dealt out to ranks in contiguous runs; attempts come back together as plain numbers, so
everything about replay happens once (on rank 0) and does not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rrl.clock import Clock
from rrl.experience import experience
from rrl.records import Progress
from rrl.stages import lesson_of

if TYPE_CHECKING:
    from rrl.build import House


def warm_up(house: House, progress: Progress, after_step: Callable[[Progress], None]) -> Progress:
    """Value warm-up: steps -W..-1 roll out, score, observe and fit the value; the policy stays.

    Its tokens count. Success rates are not updated; the store is filled where ``run.warm_up.admit``.
    """
    run, clock, remembered = house.run.warm_up, Clock(), dict[str, float]()
    while progress.step < 0 and not progress.finished:
        starts, spent = house.problems.draw(run.starts, progress, stream="warm_up.problems"), house.value.spent_tokens
        lived = experience(house, starts, progress, clock)
        explored, _ = house.exploration.observe(lived.attempts, progress)
        if run.admit:
            with clock.phase("observe"):
                remembered = house.ranks.on_main(house.replay.observe, lived.attempts, progress, warm_up=True)
                remembered |= house.recall.remember(lived.sampled.scored, progress)
        with clock.phase("fit"):
            fitted = house.value.fit(lived.sampled, progress)

        tokens = sum(a.num_sampled for a in lived.attempts) + judging_tokens(house, spent)
        progress = progress.after(tokens=tokens, signals=None, seconds=clock.since_last())
        evaluated = house.evaluate.when_due(progress) if progress.step == 0 else {}  # where every curve begins
        house.tracker.log(progress, explored | remembered | fitted | evaluated | clock.lap(tokens, progress.seconds))
        after_step(progress)
    return progress


def train(house: House, progress: Progress, after_step: Callable[[Progress], None]) -> Progress:
    """Train until the token budget is spent. ``after_step`` saves when due and may raise to stop."""
    ranks, replay, value, num_starts, clock = house.ranks, house.replay, house.value, house.run.starts_per_step, Clock()
    while not progress.finished:
        spent = value.spent_tokens
        with clock.phase("rescore"):
            if ranks.is_main:
                replay.rescore(value.success, progress)  # judge late
        with clock.phase("draw"):
            replayed = ranks.on_main(replay.draw, progress, num_starts)  # when, how much, which
            wanted = house.recall.starts(progress, num_starts - len(replayed))  # beside stored answers; none: no start
            fresh = house.problems.draw(num_starts - len(replayed) - len(wanted), progress) + wanted

        lived = experience(house, fresh + replayed, progress, clock)  # fresh first: same row, same noise
        attempts = lived.attempts
        house.tracker.rollouts(progress, attempts)

        with clock.phase("observe"):
            lessons = ranks.on_main(replay.lessons, attempts)  # what converted prefixes teach
            remembered = ranks.on_main(replay.observe, attempts, progress)  # outcomes, cuts, filters, admission
            explored, signals = house.exploration.observe(attempts, progress)
            remembered |= house.recall.remember(lived.sampled.scored, progress)  # whole answers
        with clock.phase("learn"):
            learned = house.learner.update(lived.terms, lesson_of(ranks.shard(lessons)), progress)
        with clock.phase("fit"):
            fitted = value.fit(lived.sampled, progress)

        tokens = sum(a.num_sampled for a in attempts) + judging_tokens(house, spent)
        progress = progress.after(tokens=tokens, signals=signals, seconds=clock.since_last())
        with clock.phase("evaluate"):
            evaluated = house.evaluate.when_due(progress)  # bare prompts only
        placed = {"progress/done_frac": progress.done_frac, "progress/exploration": progress.exploration}
        measured = placed | explored | remembered | lived.metrics | learned | fitted | evaluated
        house.tracker.log(progress, measured | clock.lap(tokens, progress.seconds))
        after_step(progress)
    return progress


def judging_tokens(house: House, spent: int) -> int:
    """Tokens that the value sampled to judge states since it had spent ``spent``, over all ranks; 0 where it reads."""
    return round(house.ranks.sum([house.value.spent_tokens - spent])[0])
