"""Laws of Replay's parts, each alone: admission, selection, problem weight, schedule, cut, filter, credit."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from rrl import rng
from rrl.protocols import RowwiseSelection
from rrl.records import Attempt, Candidates, Harvest, Prefix, Progress, Signals
from rrl.replay.noise import RowNoise
from rrl.types import Start
from tests.contract.bench import Bench, progress_at
from tests.contract.doubles import TextTask
from tests.contract.options import every, options
from tests.contract.stream import attempts_at, problems_of

# An option that may propose a boundary before its start's own prefix; all others go deeper.
STEPS_BACK = {"backstep"}

# Selections that rank the states of many problems in one call; the others compare those of one problem.
ROWWISE = {"gap", "learnability", "novelty", "progress", "random_state", "td_error", "thompson", "uncertainty"}


HARVEST = Harvest(fresh_tokens=900, fresh_solved=1, replayed_tokens=300, replayed_solved=2)


def attempts_of(bench: Bench, group: str = "replay", option: str = "default") -> list[Attempt]:
    """Fresh and replayed attempts, solved and unsolved, of one to ten tokens, at problems of that option's house."""
    problems = problems_of(bench.house(group, option).task)
    replayed = [Start(problem=p, prefix=tuple(range(6, 6 + n))) for n, p in enumerate(problems[1:], 1)] * 3
    return attempts_at(0, problems, replayed)


def candidates(size: int, *, seed: int = 0, tries: float = 20.0) -> Candidates:
    generator = rng.generator(seed, "contract.candidates")
    whole, count = (lambda high: generator.integers(high, size=size)), generator.random(size) * tries
    return Candidates(
        problem="p", depth=whole(9) + 1, depth_frac=generator.random(size), value=generator.random(size),
        value_std=generator.random(size) / 5, born_value=generator.random(size), score_age=whole(20), tries=count,
        conversions=count * generator.random(size), born_step=whole(20), idle=whole(20), td=generator.random(size),
        root_success=0.2, root_value=0.4,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ admission


@every("replay/admission")
def test_a_proposal_strictly_begins_the_response_at_an_allowed_boundary(bench: Bench, option: str) -> None:
    admission = bench.make("replay/admission", option)
    proposed = 0
    for attempt, every_nth in itertools.product(attempts_of(bench), (1, 2)):
        boundaries = list(range(1, len(attempt.response), every_nth))
        root = candidates(1, tries=50.0) if attempt.start.replayed else None
        prefixes = admission.propose(attempt, boundaries, root, 3)
        assert prefixes == admission.propose(attempt, boundaries, root, 3)  # pure
        proposed += len(prefixes)
        for prefix in prefixes:
            t, problem = len(prefix.tokens), attempt.start.problem
            assert prefix.problem == problem and prefix.born_step == 3 and prefix.parent == attempt.start.key
            assert 0.0 <= prefix.born_value <= 1.0 and 0.0 < prefix.depth_frac < 1.0
            assert t < problem.max_response  # or it could not be a start
            if prefix.origin == "canonical":
                assert t < len(problem.solution) and problem.solution[:t] == prefix.tokens
                continue
            assert prefix.origin == ("replay" if attempt.start.replayed else "rollout")
            assert t < len(attempt.response) and attempt.response[:t] == prefix.tokens
            assert t in boundaries and prefix.depth_frac == pytest.approx(t / len(attempt.response))
            if t > len(attempt.start.prefix):
                assert not attempt.solved  # unless asked otherwise, below
            else:
                assert option in STEPS_BACK and t < len(attempt.start.prefix)
    assert (proposed > 0) == (option != "none")


@every("replay/admission")
def test_a_solved_attempt_is_cut_only_where_the_option_is_asked_to(bench: Bench, option: str) -> None:
    solved = [a for a in attempts_of(bench) if a.solved and len(a.tokens) > 2]
    cfg = bench.config("replay/admission", option).replay.admission
    assert cfg.get("solved_too", False) is False
    if "solved_too" not in cfg:
        return
    admission = bench.make("replay/admission", option, "replay.admission.solved_too=true")
    assert all(admission.propose(a, list(range(1, len(a.response))), None, 0) for a in solved)


@every("replay/admission")
def test_where_nothing_may_be_cut_nothing_of_the_attempt_is_proposed(bench: Bench, option: str) -> None:
    admission = bench.make("replay/admission", option)
    for attempt in attempts_of(bench):
        assert all(p.origin == "canonical" for p in admission.propose(attempt, [], None, 0))


# ------------------------------------------------------------------------------------------ selection


@every("replay/selection")
@pytest.mark.parametrize("size", [1, 2, 17])
def test_a_ranking_is_finite_and_a_function_of_candidates_and_generator(bench: Bench, option: str, size: int) -> None:
    selection = bench.make("replay/selection", option)
    for seed in range(20):
        given = candidates(size, seed=seed)
        before = {name: np.copy(getattr(given, name)) for name in ("value", "tries", "conversions", "depth", "idle")}
        ranks = [selection.rank(given, progress_at(5), rng.generator(seed, "contract")) for _ in range(2)]
        assert ranks[0].shape == (size,) and np.isfinite(ranks[0]).all()
        assert np.array_equal(*ranks)
        assert all(np.array_equal(before[name], getattr(given, name)) for name in before)


@every("replay/selection")
def test_states_at_the_ends_of_all_scales_are_ranked_too(bench: Bench, option: str) -> None:
    selection = bench.make("replay/selection", option)
    ends = list(itertools.product((0.0, 1.0), (0.0, 1e6), (0.0, 1.0)))  # value, tries, share converted
    value, tries, share = (np.array(x) for x in zip(*ends, strict=True))
    whole = np.ones(len(ends), dtype=np.int64)
    for root_success in (0.0, 1.0):
        given = Candidates(
            problem="p", depth=whole, depth_frac=value * 0 + 0.5, value=value, value_std=value * 0, born_value=value,
            score_age=whole, tries=tries, conversions=tries * share, born_step=whole, idle=whole, td=value,
            root_success=root_success, root_value=0.0,
        )  # fmt: skip
        assert np.isfinite(selection.rank(given, progress_at(0), rng.generator(0, "contract"))).all()


@every("replay/selection")
def test_one_call_for_many_problems_orders_each_as_a_call_a_problem(bench: Bench, option: str) -> None:
    selection = bench.make("replay/selection", option)
    reads = selection.reads if isinstance(selection, RowwiseSelection) else None
    assert (reads is not None) == (option in ROWWISE)
    if reads is None:
        return
    groups = [candidates(1 + seed % 7, seed=seed) for seed in range(40)]
    groups = [replace(g, root_success=seed / 40, root_value=seed / 50) for seed, g in enumerate(groups)]
    keys = np.arange(sum(map(len, groups)), dtype=np.uint64)
    ends = np.cumsum([len(g) for g in groups])
    columns = {
        field.name: np.concatenate([np.broadcast_to(getattr(g, field.name), len(g)) for g in groups])
        for field in fields(Candidates)[1:]
    }  # fmt: skip
    unread = {name: column * 0 for name, column in columns.items() if name not in reads}
    whole, bare = (
        selection.rank(Candidates(problem="", **given), progress_at(5), RowNoise(0, "contract", 5, keys))
        for given in (columns, columns | unread)
    )
    assert np.array_equal(whole, bare)  # what is not in ``reads`` changes nothing
    for group, end in zip(groups, ends.tolist(), strict=True):
        mine = slice(end - len(group), end)
        alone = selection.rank(group, progress_at(5), RowNoise(0, "contract", 5, keys[mine]))
        assert np.array_equal(np.argsort(whole[mine], kind="stable"), np.argsort(alone, kind="stable"))


@every("replay/problem_weight")
def test_problem_weights_are_finite_and_not_negative(bench: Bench, option: str) -> None:
    weight = bench.make("replay/problem_weight", option)
    root_success, replays = np.array([0.0, 0.3, 1.0, 0.3]), np.array([0, 5, 10_000, 0])
    given = root_success.copy(), replays.copy()
    found = weight.weight(root_success, replays)
    assert found.shape == (4,) and np.isfinite(found).all() and (found >= 0.0).all() and found[0] > 0.0
    assert np.array_equal(found, weight.weight(root_success, replays))
    assert np.array_equal(
        found[::-1], weight.weight(root_success[::-1], replays[::-1])
    )  # of a problem, not of its place
    assert np.array_equal(given[0], root_success) and np.array_equal(given[1], replays)
    assert weight.weight(root_success[:0], replays[:0]).shape == (0,)


# ------------------------------------------------------------------------------------------ schedule


def every_progress() -> list[Progress]:
    """Steps, shares of the budget and histories, in all mixes."""
    low, high = (Signals(entropy=x, unique_frac=x, new_solves=10 * x, solve_rate=x) for x in (0.0, 1.0))
    histories: list[tuple[Signals, ...]] = [(), (low,), (high,) * 100, (low, high) * 50, (high,) * 50 + (low,) * 50]
    grid = itertools.product((-3, 0, 7, 1000), (0, 1, 300, 500, 949, 951, 1000, 1200), histories)
    return [
        Progress(step=step, sampled_tokens=tokens, token_budget=1000, history=history,
                 first=history[0] if history else None, peak=max(history, key=lambda s: s.entropy, default=None))
        for step, tokens, history in grid
    ]  # fmt: skip


@every("replay/schedule")
def test_a_plan_lies_in_its_bounds_wherever_the_run_stands_and_is_pure(bench: Bench, option: str) -> None:
    schedule, twin = bench.make("replay/schedule", option), bench.make("replay/schedule", option)
    fractions = set()
    for progress in every_progress():
        plan = schedule.plan(progress)  # Plan itself refuses what is outside [0, 1]
        assert plan == schedule.plan(progress)
        fractions.add(plan.fraction)
        schedule.update(progress, HARVEST)
    twin.load_state_dict(bench.through_disk(schedule.state_dict()))
    assert [twin.plan(p) for p in every_progress()[::7]] == [schedule.plan(p) for p in every_progress()[::7]]
    assert (fractions == {0.0}) == (option == "none")


# ------------------------------------------------------------------------------------------ cut


@every("replay/cut")
def test_boundaries_lie_strictly_inside_the_whole_response_in_order(bench: Bench, option: str) -> None:
    cut = bench.make("replay/cut", option, task=TextTask(bench.house("replay", "default").task))
    found = 0
    for attempt in attempts_of(bench):
        boundaries = cut.boundaries(attempt)
        assert boundaries == cut.boundaries(attempt) == sorted(set(boundaries))
        assert all(type(t) is int and 1 <= t < len(attempt.response) for t in boundaries)
        found += len(boundaries)
    assert found


@every("replay/cut")
@pytest.mark.parametrize("task_option", options("task"))
def test_no_boundary_stands_behind_the_answer(bench: Bench, option: str, task_option: str) -> None:
    task = bench.house("task", task_option).task
    cut = bench.make("replay/cut", option, task=task)
    for problem in task.train_problems()[::9]:
        solution, zeros = problem.solution, np.zeros(len(problem.solution), dtype=np.float32)
        whole = Attempt(
            start=Start(problem=problem),
            tokens=solution,
            value=zeros,
            entropy=zeros,
            score=1.0,
            solved=True,
            ended=True,
        )
        assert not [t for t in cut.boundaries(whole) if task.score(problem, solution[:t]).solved]


# ------------------------------------------------------------------------------------------ filter, credit


@every("replay/filter")
def test_a_filter_gives_a_known_verdict_with_a_reason_and_the_same_one_again(bench: Bench, option: str) -> None:
    one = bench.make("replay/filter", option)
    said = set()
    for attempt in attempts_of(bench, "replay/filter", option):
        for t in range(1, len(attempt.response)):
            for origin in ("rollout", "replay", "canonical"):
                prefix = Prefix(
                    problem=attempt.start.problem, tokens=attempt.response[:t], origin=origin, born_step=0,
                    born_value=0.5, depth_frac=t / len(attempt.response), parent=attempt.start.key,
                )  # fmt: skip
                verdict = one.check(prefix, attempt)
                assert verdict.action in ("keep", "drop", "quarantine")
                assert (verdict.action == "keep") == (verdict.reason == "")
                assert verdict == one.check(prefix, attempt)
                said.add(verdict.action)
    assert "keep" in said


@every("replay/credit")
def test_credit_goes_to_solved_replays_only_and_is_never_negative(bench: Bench, option: str) -> None:
    credit = bench.make("replay/credit", option)
    weights: dict[bool, list[float]] = {True: [], False: []}
    for attempt, root_success, origin in itertools.product(
        attempts_of(bench), (0.0, 0.3, 1.0), ("rollout", "replay", "canonical")
    ):
        weight: Any = credit.weight(attempt, root_success, origin)
        assert weight >= 0.0 and np.isfinite(weight) and weight == credit.weight(attempt, root_success, origin)
        weights[attempt.solved and attempt.start.replayed].append(weight)
    assert not any(weights[False])
    assert any(weights[True]) == (option != "none")
    assert credit.token_divisor() > 0.0
