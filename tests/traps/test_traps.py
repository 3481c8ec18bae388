"""Known ways in which restart replay goes wrong without anybody noticing, looked for in a whole run.

Numbers are those of the table in README.md, which also says where the other traps are tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rrl import loop
from rrl.build import House
from rrl.records import Attempt, Progress
from rrl.saver import first_progress
from rrl.types import Start
from tests.small import small_house
from tests.unit.learner.tabular import TabularPolicy, estimated_of, problem
from tests.unit.learner.test_learner import gradient

CONSTANT = ("replay/schedule=constant", "tracker=[]")


class Watched:
    """A Replay that passes everything on and keeps the attempts of each step."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seen: list[tuple[Progress, list[Attempt]]] = []
        self.asked: list[str] = []  # verbs in order

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._inner, name)

    def observe(self, attempts: list[Attempt], progress: Progress, *, warm_up: bool = False) -> Any:
        self.asked.append("observe")
        self.seen.append((progress, list(attempts)))
        return self._inner.observe(attempts, progress, warm_up=warm_up)


class Log:
    """A tracker that keeps all records."""

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []

    def log(self, progress: Progress, metrics: dict[str, float]) -> None:
        self.records.append({"step": progress.step, **metrics})

    def rollouts(self, progress: Progress, attempts: Any) -> None:
        """Nothing is shown."""


def trained(folder: Path, *overrides: str) -> tuple[House, Any, Log, Progress]:
    house, log = small_house(folder, *CONSTANT, *overrides), Log()
    watched = Watched(house.replay)
    house = replace(house, replay=watched, tracker=log)  # type: ignore[arg-type]
    nothing = lambda progress: None  # noqa: E731
    progress = loop.train(house, loop.warm_up(house, first_progress(house.run), nothing), nothing)
    return house, watched, log, progress


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Any, Log, Progress]]:
    """Twenty steps with replay from the first one, sampled at temperature .8."""
    folder = tmp_path_factory.mktemp("traps") / "run"
    yield trained(folder, "policy.temperature=0.8", "warm_start.steps=200")


# ------------------------------------------------------------------------------------------ 6: the ratio


def test_6_right_after_a_rollout_every_trained_token_has_ratio_one_fresh_and_replayed(run: Any) -> None:
    house, replay, _, progress = run
    replayed = replay.draw(progress, 32)
    assert len(replayed) >= 6
    starts = house.problems.draw(32 - len(replayed), progress) + replayed
    rollouts = house.policy.rollout(starts, samples_per_start=1, step=progress.step)
    logprob, _ = house.policy.logprob(rollouts.sequences)
    ratio = torch.exp(logprob - rollouts.behavior_logprob)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=1e-5)
    assert len(ratio) == sum(len(rollouts.sequences.tokens_of(i)) for i in range(32))


def test_6_what_the_trainer_logs_of_the_gap_between_sampler_and_trainer_is_rounding(run: Any) -> None:
    _, _, log, _ = run
    gaps = [v for r in log.records for k, v in r.items() if "logprob_gap" in k]
    assert gaps and max(gaps) < 1e-4


# ------------------------------------------------------------------------------------------ 7: leaks


@pytest.mark.parametrize("task", ["keychain", "arith_chain"])
@pytest.mark.parametrize("admission", ["near_peak", "canonical"])
def test_7_no_stored_prefix_says_the_answer_and_none_passes_by_itself(
    tmp_path: Path, task: str, admission: str
) -> None:
    extra = ["setting=arith_chain", "run.lesson_token_divisor=1.0"] if task == "arith_chain" else []
    house, _, _, _ = trained(
        tmp_path / "run",
        *extra,
        f"task={task}",
        f"replay/admission={admission}",
        "run.token_budget=2500",
        "replay.store.slots_per_problem=16",
    )
    problems = {p.id: p for p in house.task.train_problems()}
    rows = house.replay.rows()
    assert len(rows) >= 40
    for row in rows:
        asked, prefix = problems[row["problem"]], tuple(row["tokens"])
        assert len(prefix) < asked.max_response
        assert not house.task.score(asked, prefix).solved
        assert not house.task.score(asked, prefix + asked.stop[:1]).solved
        assert prefix != asked.solution


def test_7_what_the_policy_reads_before_it_acts_is_prompt_and_prefix_and_nothing_else(run: Any) -> None:
    house, replay, _, _ = run
    for asked in house.task.train_problems():
        assert Start(problem=asked).context == asked.prompt
        assert not any(asked.prompt[i : i + len(asked.solution)] == asked.solution for i in range(len(asked.prompt)))
    seen = [a for _, attempts in replay.seen for a in attempts]
    assert all(a.start.context == a.start.problem.prompt + a.start.prefix for a in seen)


# ------------------------------------------------------------------------------------------ 13: length


def test_13_a_long_and_a_short_row_of_equal_reward_give_each_token_the_same_weight() -> None:
    # One prompt each, so that no context is shared; every token has advantage 1. On a tabular policy the gradient at a
    # token's context is weight x (p - onehot): divided by that vector's norm, all weights must be equal.
    policy = TabularPolicy()
    long, short = Start(problem=problem("long", max_response=8)), Start(problem=problem("short", prompt=(4,)))
    rows = [(long, (1, 2, 3, 1, 2, 3, 1)), (short, (2,))]
    before = policy.logits.detach().clone()
    touched = gradient(policy, [(estimated_of(rows, [1.0] * 8, policy), 1.0)])
    weights = []
    for start, tokens in rows:
        context = start.context[-1]
        for position, token in enumerate(tokens):
            p = before[context, position].softmax(0)
            one = torch.zeros(5, dtype=torch.float64)
            one[token] = 1.0
            weights.append(float(touched[context, position].norm() / (p - one).norm()))
            context = token
    assert weights == pytest.approx([1 / 8] * 8, rel=1e-5)


def test_13_lengths_are_logged_by_stream_so_that_shrinking_responses_show(run: Any) -> None:
    _, _, log, _ = run
    last = [r for r in log.records if r["step"] > 0]
    assert all("rollout/length_tokens_fresh" in r for r in last)
    assert sum("rollout/length_tokens_replayed" in r for r in last) >= len(last) - 1


# ------------------------------------------------------------------------------------------ 14: epochs


@pytest.mark.parametrize("problems", ["epoch", "stratified"])
def test_14_a_step_with_replays_asks_the_first_of_the_problems_that_it_would_have_asked_without(
    tmp_path: Path, problems: str
) -> None:
    house = small_house(tmp_path / "run", "tracker=[]", f"problems={problems}")
    for step in (0, 3, 7):
        progress = replace(first_progress(house.run), step=step)
        assert house.problems.draw(20, progress) == house.problems.draw(32, progress)[:20]


# ------------------------------------------------------------------------------------------ 18: random streams


def test_18_plain_ppo_and_a_full_store_that_is_never_drawn_from_have_the_same_losses_for_fifty_steps(
    tmp_path: Path,
) -> None:
    small = (
        "replay/schedule=none",
        "run.starts_per_step=16",
        "run.token_budget=4000",
        "evaluate.every_steps=1000",
        "evaluate.dense_until=0",
    )
    losses = {}
    for admission in ("none", "near_peak"):
        house, _, log, progress = trained(tmp_path / admission, *small, f"replay/admission={admission}")
        losses[admission] = [(r["learn/loss"], r["value/loss"]) for r in log.records if "learn/loss" in r]
        assert (len(house.replay.rows()) > 0) == (admission == "near_peak") and progress.step >= 50
    assert losses["none"] == losses["near_peak"]


# ------------------------------------------------------------------------------------------ 19: the length budget


@pytest.mark.parametrize("exact_length", [True, False])
def test_19_prefix_and_continuation_share_one_length_budget_and_a_cut_is_a_cut_in_both_streams(
    run: Any, exact_length: bool
) -> None:
    house, _, _, _ = run
    asked = replace(house.task.train_problems()[0], stop=(), exact_length=exact_length)
    length = asked.max_response
    starts = [Start(problem=asked, prefix=(3,) * depth) for depth in range(length)]
    rollouts = house.policy.rollout(starts, samples_per_start=2, step=0)
    for row in range(rollouts.sequences.num_rows):
        prefix, sampled = rollouts.sequences.start_of(row).prefix, rollouts.sequences.tokens_of(row)
        assert len(sampled) >= 1 and len(prefix) + len(sampled) == length
    assert rollouts.ended.tolist() == [exact_length] * (2 * length)


def test_19_the_share_of_cut_rows_is_logged_by_stream(run: Any) -> None:
    _, _, log, _ = run
    replayed = [r for r in log.records if r.get("replay/fraction", 0.0) > 0.0]
    assert replayed and all({"rollout/cut_frac_fresh", "rollout/cut_frac_replayed"} <= r.keys() for r in replayed)


# ------------------------------------------------------------------------------------------ 21: a short store


def test_21_an_empty_or_short_store_neither_stalls_nor_repeats_a_state_and_the_batch_keeps_its_size(
    tmp_path: Path,
) -> None:
    _, replay, _, _ = trained(
        tmp_path / "run", "run.warm_up.admit=false", "run.token_budget=1200", "replay.store.capacity=3"
    )
    steps = [(p, attempts) for p, attempts in replay.seen if p.step >= 0]
    assert {len(attempts) for _, attempts in steps} == {32}
    assert not any(a.start.replayed for a in steps[0][1])  # the store was empty
    drawn = [[a.start for a in attempts if a.start.replayed] for _, attempts in steps]
    assert 1 <= max(map(len, drawn)) <= 3
    for starts in drawn:
        assert len({s.key for s in starts}) == len(starts)
        assert max([0, *np.unique([s.problem.id for s in starts], return_counts=True)[1].tolist()]) <= 2


# ------------------------------------------------------------------------------------------ 23: the start states


@pytest.mark.parametrize("evaluate", ["exact", "sampled"])
def test_23_evaluation_begins_at_bare_prompts_and_does_not_know_the_store(tmp_path: Path, evaluate: str) -> None:
    house, _, _, progress = trained(tmp_path / "run", f"evaluate={evaluate}", "run.token_budget=1200")
    asked: dict[str, list[Start]] = {"logprob": []}

    class Asked:
        def __getattr__(self, name: str) -> Any:
            return getattr(house.policy, name)

        def rollout(self, starts: Any, **rest: Any) -> Any:
            asked.setdefault(rest["stream"], []).extend(starts)
            return house.policy.rollout(starts, **rest)

        def logprob(self, sequences: Any) -> Any:
            asked["logprob"].extend(sequences.starts)
            return house.policy.logprob(sequences)

    before = house.evaluate.now(progress)
    house.evaluate._policy = Asked()  # type: ignore[attr-defined]  (the evaluator's only way to the model)
    assert house.evaluate.now(progress) == before
    for stream, starts in asked.items():
        # Capability alone begins behind a prefix: the task's right one, never one of the store.
        right = {s.problem.id: house.task.right_prefix(s.problem) for s in starts}
        wanted = right if stream == "evaluate.capability" else dict.fromkeys(right, ())
        assert starts and all(s.prefix == wanted[s.problem.id] for s in starts), stream


def test_23_fresh_and_replayed_success_are_logged_apart_so_that_forgetting_cannot_hide(run: Any) -> None:
    _, replay, log, _ = run
    for (_, attempts), record in zip(replay.seen, log.records, strict=True):
        for stream, wanted in (("fresh", False), ("replayed", True)):
            solved = [a.solved for a in attempts if a.start.replayed == wanted]
            if solved:
                assert record[f"rollout/solved_{stream}"] == pytest.approx(sum(solved) / len(solved))


# ------------------------------------------------------------------------------------------ 24: credit


def test_24_all_credit_of_a_step_together_weighs_no_more_than_one_replayed_row_fully_solved(run: Any) -> None:
    # weights are eta (1 - e_p) / (replayed rows x divisor), eta = divisor = 1: their sum over rows is at most 1.
    house, replay, _, _ = run
    attempts = [a for p, batch in replay.seen if p.step >= 0 for a in batch]
    solved = [replace_outcome(a) for a in attempts if a.start.replayed]
    lessons = house.replay.lessons(solved)
    assert lessons and 0.0 < math.fsum(w for _, _, w in lessons) <= 1.0
    assert house.replay.lessons([replace(a, solved=False) for a in solved]) == []


def test_24_what_a_batch_teaches_is_asked_before_the_batch_is_booked(tmp_path: Path) -> None:
    # Afterwards a problem that this very batch retires would have lost the credit that retired it.
    _, replay, _, _ = trained(tmp_path / "run", "run.token_budget=1200")
    warm_up, steps = replay.asked[:3], replay.asked[3:]
    assert warm_up == ["observe"] * 3
    assert steps == ["rescore", "draw", "lessons", "observe"] * (len(steps) // 4) and len(steps) >= 16


def replace_outcome(attempt: Attempt) -> Attempt:
    return replace(attempt, solved=True)


def test_24_one_lesson_step_moves_the_prefix_by_a_bounded_amount_and_leaves_entropy(run: Any) -> None:
    _, _, log, _ = run
    entropy = [r["rollout/entropy_nats_fresh"] for r in log.records if r["step"] > 0]
    lessons = sum(r.get("replay/lessons", 0.0) for r in log.records)
    assert lessons > 0
    assert entropy[0] - entropy[-1] < 1.0 and entropy[-1] > 0.2  # no collapse in twenty credited steps
