"""Laws of ``Replay`` over a stream of attempts, with every option of every part swapped in."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rrl import build
from rrl.metrics import CATALOGUE
from rrl.protocols import Task
from rrl.records import Progress
from rrl.replay.eviction import KEEP, QUARANTINE
from rrl.replay.replay import Replay
from rrl.types import Problem, Start
from tests.contract.bench import Bench
from tests.contract.doubles import TextTask
from tests.contract.options import GROUPS, every, options
from tests.contract.stream import (
    NUM_STARTS,
    Step,
    attempts_at,
    feed,
    first_progress,
    next_progress,
    problems_of,
    same,
    success,
)  # fmt: skip

PARTS = [group for group in GROUPS if group.startswith("replay/")]
MIXES = [("replay", option) for option in options("replay")] + [(g, o) for g in PARTS for o in options(g)]
every_mix = pytest.mark.parametrize(("group", "option"), MIXES, ids=[f"{g}={o}" for g, o in MIXES])

# A store so small and impatient that twelve steps evict, put to sleep and retire.
NUMBERS = (
    "replay.store.slots_per_problem=5",
    "replay.store.dead_after=2",
    "replay.store.nap_steps=2",
    "replay.rescore_every=2",
)
CONTROLLERS = {("replay/schedule", name) for name in ("adaptive_roi", "delayed", "entropy_trigger")}  # with a memory
TOLD = {("replay/admission", name) for name in ("canonical", "trace_cuts")}  # given solutions
SILENT = {("replay/schedule", "none"), ("replay/admission", "none")}  # whose replay never draws


def changes_for(group: str) -> tuple[str, ...]:
    return NUMBERS if group == "replay/schedule" else (*NUMBERS, "replay/schedule=constant")


def fresh_replay(bench: Bench, group: str, option: str, *changes: str, seed: int = 0, **nodes: Any) -> Replay:
    """The replay of a house with one part swapped; ``nodes`` replace parts of its config."""
    cfg = bench.config(group, option, *changes_for(group), *changes)
    node = dict(cfg.replay) | nodes
    replay: Replay = build.make(node, "replay", seed=seed, task=the_task(bench), output_dir=bench.folder)
    return replay


def the_task(bench: Bench) -> Task:
    return TextTask(bench.house("replay", "default").task)


@dataclass
class Watched:
    """Just after a draw: what was open for it, and what a host that chose each problem would get."""

    opened: set[str]
    hosted: list[Start]
    pure: bool | None  # whether reading twice said the same and changed nothing; None = not tried here


@functools.cache
def whole_run(bench: Bench, group: str, option: str) -> tuple[Replay, list[Step], list[Watched]]:
    """A replay that has seen the stream, its steps, and what stood open at each of them."""
    replay, problems, watched = fresh_replay(bench, group, option), problems_of(the_task(bench)), list[Watched]()

    def watch(replay: Replay, step: Step) -> None:
        hosted = [replay.start(p, step.progress) for p in problems]
        pure = None if step.progress.step % 4 else reads_are_pure(replay, step, problems)
        watched.append(Watched(open_keys(replay, step.progress.step), hosted, pure))

    steps, _ = feed(replay, problems, first_progress(), after_draw=watch)
    return replay, steps, watched


def reads_are_pure(replay: Replay, step: Step, problems: list[Problem]) -> bool:
    before = copy.deepcopy(replay.state_dict())
    said = []
    for _ in range(2):
        drawn = replay.draw(step.progress, NUM_STARTS) if step.progress.step >= 0 else []
        each = [(replay.start(p, step.progress), replay.converted(p)) for p in problems]
        said.append((drawn, each, replay.lessons(step.attempts), replay.rows()))
    return said[0] == said[1] and said[0][0] == step.drawn and same(before, replay.state_dict())


def open_keys(replay: Replay, step: int) -> set[str]:
    """Keys that may be drawn at ``step``, worked out from the columns: kept, awake, problem not parked."""
    c, parked = replay.store.shelf.columns, replay.store.problems.columns["parked"]
    return {
        f"{int(c['key'][row]):016x}" for row in replay.store.shelf.all_rows().tolist()
        if c["status"][row] == KEEP and c["sleep_until"][row] < step and not parked[c["problem"][row]]
    }  # fmt: skip


def plan_of(bench: Bench, group: str, option: str, progress: Progress) -> Any:
    node = bench.config(group, option, *changes_for(group)).replay.schedule
    return build.make(node, "replay.schedule").plan(progress)


# ------------------------------------------------------------------------------------------ what is drawn


@every_mix
def test_every_drawn_prefix_strictly_begins_something_seen_before(bench: Bench, group: str, option: str) -> None:
    _, steps, _ = whole_run(bench, group, option)
    drawn = [(s.progress.step, start) for s in steps for start in s.drawn]
    if (group, option) in SILENT:
        assert not drawn
        return
    assert len(drawn) > 20
    for step, start in drawn:
        seen = [
            a.response for s in steps if s.progress.step < step for a in s.attempts if a.start.problem == start.problem
        ]
        if (group, option) in TOLD:
            seen = [start.problem.solution]
        assert any(len(r) > len(start.prefix) > 0 and r[: len(start.prefix)] == start.prefix for r in seen)


@every_mix
def test_no_draw_exceeds_its_share_or_repeats_a_problem_too_often(bench: Bench, group: str, option: str) -> None:
    _, steps, _ = whole_run(bench, group, option)
    cfg = bench.config(group, option, *changes_for(group)).replay
    for step in steps:
        share = min(step.metrics.get("replay/planned_frac", 0.0), cfg.max_replay_frac)
        if (group, option) not in CONTROLLERS and step.progress.step >= 0:
            assert plan_of(bench, group, option, step.progress).fraction == step.metrics["replay/planned_frac"]
        assert len(step.drawn) <= share * NUM_STARTS + 1e-9
        names = [start.problem.id for start in step.drawn]
        assert max((names.count(n) for n in names), default=0) <= cfg.max_per_problem
        assert len({start.key for start in step.drawn}) == len(step.drawn)


@every_mix
def test_what_sleeps_or_is_parked_is_not_drawn(bench: Bench, group: str, option: str) -> None:
    _, steps, watched = whole_run(bench, group, option)
    for step, seen in zip(steps, watched, strict=True):
        assert {start.key for start in step.drawn} | {s.key for s in seen.hosted if s.replayed} <= seen.opened
    if (group, option) not in SILENT:  # and both did happen
        assert max(s.metrics["replay/asleep"] for s in steps) > 0
        assert max(s.metrics["replay/retired_problems"] for s in steps) > 0


@every_mix
def test_reading_changes_nothing_and_says_the_same_twice(bench: Bench, group: str, option: str) -> None:
    _, _, watched = whole_run(bench, group, option)
    checked = [seen.pure for seen in watched if seen.pure is not None]
    assert len(checked) == 3 and all(checked)


@every_mix
def test_a_host_that_chose_the_problem_gets_the_state_that_our_draw_would(
    bench: Bench, group: str, option: str
) -> None:
    _, steps, watched = whole_run(bench, group, option)
    given = 0
    for step, seen in zip(steps, watched, strict=True):
        first: dict[str, Start] = {}
        for start in step.drawn:
            first.setdefault(start.problem.id, start)
        for start in seen.hosted:
            given += start.replayed
            assert not start.replayed or start == first.get(start.problem.id, start)
    assert (given > 0) == ((group, option) not in SILENT)


@pytest.mark.parametrize("option", options("replay/selection"))
def test_another_seed_draws_otherwise(bench: Bench, option: str) -> None:
    _, steps, _ = whole_run(bench, "replay/selection", option)
    replay = fresh_replay(bench, "replay/selection", option, seed=1)
    other, _ = feed(replay, problems_of(the_task(bench)), first_progress())
    assert [s.drawn for s in steps] != [s.drawn for s in other]


# ------------------------------------------------------------------------------------------ what is kept


@every_mix
def test_neither_the_order_of_rows_nor_a_reload_can_matter(bench: Bench, group: str, option: str) -> None:
    whole, steps, _ = whole_run(bench, group, option)
    problems = problems_of(the_task(bench))
    first, second = fresh_replay(bench, group, option), fresh_replay(bench, group, option)
    begun, progress = feed(first, problems, first_progress(), num_steps=8, shuffle=True)
    second.load_state_dict(bench.through_disk(first.state_dict()))
    assert same(first.state_dict(), second.state_dict()) and first.rows() == second.rows()
    rest, _ = feed(second, problems, progress, shuffle=True)
    for one, two in zip(steps, begun + rest, strict=True):
        assert one.drawn == two.drawn and one.metrics == two.metrics
        taught = [{(start.key, tokens): weight for start, tokens, weight in s.lessons} for s in (one, two)]
        assert taught[0] == pytest.approx(taught[1])
    assert same(whole.state_dict(), second.state_dict()) and whole.rows() == second.rows()


@every_mix
def test_metrics_are_finite_and_in_the_catalogue_and_rows_are_plain(bench: Bench, group: str, option: str) -> None:
    replay, steps, _ = whole_run(bench, group, option)
    for step in steps:
        assert not set(step.metrics) - CATALOGUE.keys()
        assert all(np.isfinite(x) for x in step.metrics.values())
        assert step.metrics["replay/open_size"] <= step.metrics["replay/store_size"]
    rows = replay.rows()
    assert len(rows) == steps[-1].metrics["replay/store_size"] == len({row["key"] for row in rows})
    assert all(type(x) in (str, int, float, list) for row in rows for x in row.values())


@every_mix
def test_lessons_are_prefixes_that_converted_taught_to_the_bare_prompt(bench: Bench, group: str, option: str) -> None:
    _, steps, _ = whole_run(bench, group, option)
    lessons = [(s, lesson) for s in steps for lesson in s.lessons]
    if (group, option) in {*SILENT, ("replay/credit", "none"), *TOLD}:
        assert not lessons
        return
    assert lessons
    for step, (start, tokens, weight) in lessons:
        assert not start.replayed and weight > 0.0
        assert any(a.solved and a.start.problem == start.problem and a.start.prefix == tokens for a in step.attempts)


@every_mix
def test_warm_up_admits_but_moves_no_success_rate(bench: Bench, group: str, option: str) -> None:
    replay, problems = fresh_replay(bench, group, option), problems_of(the_task(bench))
    feed(replay, problems, first_progress(), num_steps=3)
    columns = replay.store.problems.columns
    assert not columns["root_success"].any() and not columns["parked"].any() and not columns["replays"].any()
    assert (len(replay.store) > 0) == ((group, option) != ("replay/admission", "none"))


# ------------------------------------------------------------------------------------------ small and odd


@every_mix
@pytest.mark.parametrize("num_problems", [0, 1, 3])
def test_a_nearly_empty_store_draws_what_it_has(bench: Bench, group: str, option: str, num_problems: int) -> None:
    replay, problems = fresh_replay(bench, group, option), problems_of(the_task(bench))
    progress = first_progress()
    if num_problems:
        attempts = {a.start.problem.id: a for a in attempts_at(-1, problems, []) if len(a.tokens) > 2 and not a.solved}
        replay.observe(list(attempts.values())[:num_problems], progress, warm_up=True)
    while progress.step < 6:
        progress = next_progress(progress)
    replay.rescore(success, progress)
    for num_starts in (0, 1, 2, 64):
        drawn = replay.draw(progress, num_starts)
        assert len(drawn) <= min(num_starts, 2 * num_problems)
    assert replay.lessons([]) == [] and replay.start(problems[0], progress).problem == problems[0]
    replay.observe([], progress)


@every_mix
def test_a_state_evicted_between_draw_and_outcome_is_no_error(bench: Bench, group: str, option: str) -> None:
    _, steps, _ = whole_run(bench, group, option)
    step = max(steps, key=lambda s: len(s.drawn))
    stranger = fresh_replay(bench, group, option)  # knows none of the states
    assert stranger.lessons(step.attempts) == []
    metrics = stranger.observe(step.attempts, step.progress)
    assert all(np.isfinite(x) for x in metrics.values())


@pytest.mark.parametrize("action", ["drop", "quarantine"])
def test_what_a_filter_does_not_keep_is_never_drawn_also_after_a_reload(bench: Bench, action: str) -> None:
    node = {"even": {"_target_": "tests.contract.doubles.Refusing", "action": action}}
    # Room for all: in a full store a state that awaits review is the first to go.
    replay = fresh_replay(bench, "replay", "default", "replay.store.slots_per_problem=64", filter=node)
    problems: list[Problem] = problems_of(the_task(bench))
    steps, progress = feed(replay, problems, first_progress(), num_steps=8)
    reloaded = fresh_replay(bench, "replay", "default", filter={})  # not even the filter is there to ask
    reloaded.load_state_dict(bench.through_disk(replay.state_dict()))
    steps += [Step(progress, reloaded.draw(progress, NUM_STARTS), [])]
    drawn = [start for s in steps for start in s.drawn]
    assert steps[-1].drawn and all(sum(start.prefix) % 2 for start in drawn)
    held = [row for row in replay.rows() if sum(row["tokens"]) % 2 == 0]
    if action == "drop":
        assert not held and sum(s.metrics.get("replay/refused_filter", 0) for s in steps) > 0
    else:
        assert held and {row["status"] for row in held} == {"quarantine"}
        assert (replay.store.shelf.columns["status"] == QUARANTINE).any()


@every("replay/store")
def test_a_store_keeps_its_quotas_and_refuses_the_same_state_twice(bench: Bench, option: str) -> None:
    replay = fresh_replay(bench, "replay/store", option, "replay.store.capacity=14", "replay.store.slots_per_problem=3")
    sizes = []

    def count(replay: Replay, step: Step) -> None:
        names = [row["problem"] for row in replay.rows()]
        assert len(names) <= 14 and max((names.count(n) for n in names), default=0) <= 3
        sizes.append(len(names))

    steps, _ = feed(replay, problems_of(the_task(bench)), first_progress(), after_draw=count)
    assert max(sizes) == 14 and sum(s.metrics["replay/evicted"] for s in steps) > 0
