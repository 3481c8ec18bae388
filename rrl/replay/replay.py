"""Replay: the deep module that remembers promising states and gives them back as starts.

Never sees a tensor or a model, so our own loop and other people's trainers hold the same object and get the
same decisions. ``rescore`` and ``observe`` write; ``draw``, ``start``, ``converted`` and ``lessons`` only read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rrl import rng
from rrl.protocols import Admission, Credit, Cut, Filter, ProblemWeight, Schedule, Selection, SpeltTask, Task
from rrl.records import ORIGINS, Attempt, Progress
from rrl.replay.admission.first_boundary import FirstBoundary
from rrl.replay.alarm import Alarms
from rrl.replay.book import book
from rrl.replay.draw import SLACK, Mixture
from rrl.replay.judge import judge, refusal_metrics
from rrl.replay.lock import locked
from rrl.replay.numbers import check_numbers
from rrl.replay.observe import (
    Seen,
    harvest_metrics,
    harvest_of,
    in_canonical_order,
    locate,
    replayed_metrics,
    store_metrics,
)  # fmt: skip
from rrl.replay.picker import Picker
from rrl.replay.rejudge import rejudge
from rrl.replay.remember import remember
from rrl.replay.segments import Turns
from rrl.replay.spelling import check_spelling, spelling_of
from rrl.replay.store import Store
from rrl.replay.trials import load_state, state_of, tell
from rrl.types import Metrics, Problem, Start, Tokens


class Replay:
    """What to remember (admission, cut, filter), what to replay now (problem weight, selection), when (schedule).

    Args:
        seed: names the random streams.
        task: whose spelling of prefixes the store is kept in; only its name is asked.
        rescore_every: steps between re-scorings of the whole open store, >= 1.
        max_score_age: a state whose score is older, in steps, is not drawn, >= rescore_every.
        eps_uniform, eps_stale: shares of state picks that are uniform, or by steps since the last replay.
        max_per_problem: states of one problem in a batch, >= 1.
        max_replay_frac: cap on the replayed share of a batch, whatever the schedule says, [0, 1].
        posterior_decay: weight of the past after one more try of a state, (0, 1].
        root_decay: weight of the past in e_p after one more fresh row, [0, 1].
        max_credits: conversions after which a state's prefix is credited no more; 0 = no limit.
    """

    def __init__(
        self, *, seed: int, task: Task, store: Store, admission: Admission, selection: Selection,
        problem_weight: ProblemWeight, schedule: Schedule, cut: Cut, filter: dict[str, Filter], credit: Credit,
        rescore_every: int, max_score_age: int, eps_uniform: float, eps_stale: float, max_per_problem: int,
        max_replay_frac: float, posterior_decay: float, root_decay: float, max_credits: int,
    ) -> None:
        check_numbers(rescore_every=rescore_every, max_score_age=max_score_age, eps_uniform=eps_uniform,
                      eps_stale=eps_stale, max_per_problem=max_per_problem, max_replay_frac=max_replay_frac,
                      posterior_decay=posterior_decay, root_decay=root_decay, max_credits=max_credits)
        self.store = store
        self._seed, self._admission, self._selection = seed, admission, selection
        self._schedule, self._cut, self._filters, self._credit = schedule, cut, dict(filter or {}), credit
        self._rescore_every = rescore_every
        self.picker = Picker(
            store, seed=seed, selection=selection, problem_weight=problem_weight,
            mixture=Mixture(eps_uniform, eps_stale), max_per_problem=max_per_problem, max_score_age=max_score_age,
        )  # fmt: skip
        self._max_replay_frac, self._files = max_replay_frac, Turns()
        self._max_credits, self._posterior_decay, self._root_decay = max_credits, posterior_decay, root_decay
        self._last_rescore: int | None = None
        self._alarms = Alarms(watch_first=isinstance(task, SpeltTask) and not isinstance(admission, FirstBoundary))
        self._spelling, self._heard, self._lock = spelling_of(task), dict[str, str](), threading.RLock()

    @locked
    def rescore(self, success: Callable[[Sequence[Start]], tuple[np.ndarray, np.ndarray]], progress: Progress) -> None:
        """Every ``rescore_every`` steps: today's P(solved) of all unparked states and of their bare problems.

        Args:
            success: starts -> (mean in [0, 1], standard deviation), one each.

        Raises:
            ValueError: a mean is outside [0, 1] or not finite.
        """
        if self._last_rescore is not None and progress.step - self._last_rescore < self._rescore_every:
            return
        self._last_rescore = progress.step
        columns, problems = self.store.shelf.columns, self.store.problems
        rows = self.store.shelf.all_rows()
        rows = rows[self.store.unparked_rows(rows)]  # in the stored order, so that a reload scores the same batch
        if not len(rows):
            return
        numbers = np.unique(columns["problem"][rows])
        bare = [Start(problem=problems.problem(n)) for n in numbers.tolist()]
        mean, std = success(bare + self.store.starts(rows))
        if not (np.isfinite(mean).all() and np.min(mean) >= 0.0 and np.max(mean) <= 1.0):
            raise ValueError(f"success of {len(mean)} starts lies in [{np.min(mean)}, {np.max(mean)}]; expected "
                             "calibrated P(solved) in [0, 1]; give replay.rescore a value estimator's `success`")
        problems.columns["root_value"][numbers] = mean[: len(bare)]
        self.store.write_scores(rows, mean[len(bare) :], std[len(bare) :], progress.step)

    @locked
    def draw(self, progress: Progress, num_starts: int) -> list[Start]:
        """At most min(plan, max_replay_frac) of ``num_starts`` stored states: we choose the problems."""
        plan = self._schedule.plan(progress)
        num = int(min(plan.fraction, self._max_replay_frac) * num_starts + SLACK)
        if num < 1 or not len(self.store):
            return []
        return self.store.starts(self.picker.rows(num, plan, progress, self._last_rescore))

    @locked
    def start(self, problem: Problem, progress: Progress) -> Start:
        """A start of a problem that the host chose: a stored state with the plan's probability, else fresh."""
        plan = self._schedule.plan(progress)
        fresh, number = Start(problem=problem), self.store.problems.find(problem.id)
        if number is None or not self.store.shelf.rows_of(number):
            return fresh
        chance = min(plan.fraction, self._max_replay_frac)
        name = self.store.problems.columns["hash"][[number]]
        if rng.uniforms(self._seed, "replay.start", progress.step, name, 0)[0] >= chance:
            return fresh
        row = self.picker.row(number, plan, progress, self._last_rescore)
        return fresh if row is None else self.store.starts(np.array([row]))[0]

    @locked
    def converted(self, problem: Problem) -> Tokens | None:
        """The last whole solved response from a replayed start; None if there is none or the problem is retired."""
        number = self.store.problems.find(problem.id)
        if number is None or self.store.problems.retired(number):
            return None
        return self.store.problems.converted.get(number)

    @locked
    def lessons(self, attempts: Sequence[Attempt]) -> list[tuple[Start, Tokens, float]]:
        """What converted prefixes teach: (bare start, prefix tokens, weight per token).

        weight = sum over the state's solved rows of credit.weight / (replayed rows x token divisor). To be called
        before ``observe``: retirement by this very batch must not cancel its own credit.
        """
        replayed = [a for a in attempts if a.start.replayed]
        weights, starts = dict[int, float](), dict[int, Start]()
        columns, problems = self.store.shelf.columns, self.store.problems
        for attempt in replayed:
            row = self.store.shelf.find(attempt.start.key) if attempt.solved else None
            if row is None:
                continue
            number = int(columns["problem"][row])
            if problems.retired(number) or 0 < self._max_credits <= columns["raw_conversions"][row]:
                continue
            origin, root_success = ORIGINS[columns["origin"][row]], float(problems.columns["root_success"][number])
            weight = self._credit.weight(attempt, root_success, origin)
            if weight > 0.0 and judge(self._filters, self.store.prefix(row), attempt).action == "keep":
                weights[row] = weights.get(row, 0.0) + weight
                starts[row] = attempt.start
        divisor = len(replayed) * self._credit.token_divisor()
        return [(Start(problem=starts[row].problem), starts[row].prefix, weights[row] / divisor) for row in weights]

    @locked
    def observe(self, attempts: Sequence[Attempt], progress: Progress, *, warm_up: bool = False) -> Metrics:
        """Book a step: people's decisions, success rates from fresh rows, outcomes of states, retirement, admission.

        Attempts are grouped by start and put into an order of their own, so the order of rows cannot matter.
        In warm-up no success rate moves, only admission runs.
        """
        self._heard = rejudge(self.store, self._filters, self._heard)
        seen = locate(self.store, in_canonical_order(attempts))
        metrics, late, harvest = Metrics(), Metrics(), harvest_of(self.store, seen)
        if not warm_up:
            metrics |= self._draw_metrics(attempts, seen, progress) | harvest_metrics(harvest)
            tell(self._selection, self.store, seen)
            booked = book(self.store, seen, step=progress.step, root_decay=self._root_decay,
                          posterior_decay=self._posterior_decay, filters=self._filters)
            self._alarms.outcomes(booked.root_success, [(a.start.replayed, a.solved) for a in attempts])
            late = refusal_metrics(self._filters, booked.refused)
        metrics |= remember(self.store, seen, cut=self._cut, admission=self._admission, filters=self._filters,
                            step=progress.step, done_frac=progress.done_frac)
        metrics |= {name: count + metrics[name] for name, count in late.items()}
        self._alarms.admissions(metrics["replay/admitted"], metrics.get("replay/first_boundary_frac", 0.0))
        self.store.step = progress.step
        if not warm_up:
            self._schedule.update(progress, harvest)
        return metrics | store_metrics(self.store, progress.step)

    @locked
    def rows(self) -> list[dict[str, Any]]:
        """Every stored state as plain values, for tables and reports."""
        return self.store.rows()

    @locked
    def state_dict(self) -> dict[str, Any]:
        return self.growing_state(kept=0)

    @locked
    def growing_state(self, *, kept: int) -> dict[str, Any]:
        """For a checkpoint, one of ``kept`` that stand side by side: a large store writes what is new into it."""
        return {"store": self._files.state(self.store, self._lock, kept), "schedule": self._schedule.state_dict(),
                "selection": state_of(self._selection), "alarms": self._alarms.state_dict(),
                "last_rescore": self._last_rescore, "heard": self._heard, "spelling": self._spelling}

    @locked
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore, and hear what people decided since. Raises ValueError where the store is of another spelling."""
        check_spelling(state["spelling"], self._spelling)
        self.store.load_state_dict(state["store"])
        self._files = Turns()  # rows are numbered anew
        self.picker.forget()
        self._schedule.load_state_dict(state["schedule"])
        load_state(self._selection, state["selection"])
        self._alarms.load_state_dict(state["alarms"])
        self._last_rescore = state["last_rescore"]
        self._heard = rejudge(self.store, self._filters, dict(state["heard"]))

    def _draw_metrics(self, attempts: Sequence[Attempt], seen: Sequence[Seen], progress: Progress) -> Metrics:
        plan = self._schedule.plan(progress)
        metrics = {"replay/planned_frac": plan.fraction} | replayed_metrics(self.store, seen, progress)
        if "replay/conversion" in metrics:
            metrics["replay/lessons"] = float(len(self.lessons(attempts)))
            metrics |= self.picker.metrics(plan, progress)
        return metrics
