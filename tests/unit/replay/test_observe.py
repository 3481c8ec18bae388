from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from rrl.metrics import check_names
from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix
from rrl.replay.replay import Replay
from rrl.types import Problem, Start
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, fill, progress_at, same, stored

P, Q = a_problem("p", solution=(3, 4, 5)), a_problem("q")


def root_success(replay: Replay, problem: Problem) -> float:
    number = replay.store.problems.find(problem.id)
    assert number is not None
    return float(replay.store.problems.columns["root_success"][number])


# ------------------------------------------------------------------------------------------ booking


def random_batch(generator: np.random.Generator, replay: Replay, step: int) -> list[Attempt]:
    problems = [a_problem(f"p{i}") for i in range(8)]
    starts = [Start(problem=problems[i]) for i in generator.integers(0, 8, 24)]
    starts += [s for s in replay.draw(progress_at(step), 16) for _ in range(2)]
    batch = []
    for start in starts:
        tokens = generator.integers(3, 7, int(generator.integers(1, 5))).tolist()
        batch.append(an_attempt(start.problem, tokens, prefix=start.prefix, solved=bool(generator.random() < 0.3),
                                value=generator.random(len(tokens)).tolist(), score=float(generator.random())))
    return batch


@pytest.mark.parametrize("admission", ["near_peak", "random_cut", "backstep"])
def test_the_order_of_rows_cannot_matter(admission: str) -> None:
    tight = {"slots_per_problem": 3, "capacity": 15}
    straight, shuffled = (a_replay(admission=admission, store=tight) for _ in range(2))
    generator = np.random.default_rng(0)
    for step in range(15):
        batch = random_batch(generator, straight, step)
        other = [batch[i] for i in generator.permutation(len(batch))]
        assert sorted(straight.lessons(batch), key=repr) == sorted(shuffled.lessons(other), key=repr)
        metrics, again = straight.observe(batch, progress_at(step)), shuffled.observe(other, progress_at(step))
        assert metrics == again
        assert same(straight.state_dict(), shuffled.state_dict())
    assert len(straight.store) == 15


def test_stopped_and_reloaded_equals_unbroken() -> None:
    def go(replay: Replay, first: int, last: int) -> None:
        for step in range(first, last):
            replay.rescore(lambda starts: (np.array([len(s.prefix) / 10 for s in starts]), np.zeros(len(starts))),
                           progress_at(step))
            replay.observe(random_batch(np.random.default_rng(step), replay, step), progress_at(step))

    whole, broken, loaded = (a_replay(store={"slots_per_problem": 3}) for _ in range(3))
    go(whole, 0, 23)
    go(broken, 0, 12)
    loaded.load_state_dict(broken.state_dict())
    go(loaded, 12, 23)
    assert same(loaded.state_dict(), whole.state_dict()) and loaded.rows() == whole.rows()


def test_the_root_success_comes_from_fresh_rows_only() -> None:
    replay = a_replay(admission="first_boundary")
    fill(replay, [P], [(3, 9)])
    replay.observe([an_attempt(P, (9,), solved=True), an_attempt(P, (8,))], progress_at(0))
    assert root_success(replay, P) == pytest.approx(0.19 * 0.5)
    for step in range(1, 101):
        replay.observe([an_attempt(P, (4, 5), prefix=(3,), solved=True)], progress_at(step))
    assert root_success(replay, P) == pytest.approx(0.19 * 0.5)   # a hundred solved replays moved nothing
    assert replay.rows()[0]["uses"] == replay.rows()[0]["wins"] == 100


def test_warm_up_fills_the_store_and_moves_no_success_rate() -> None:
    replay = a_replay()
    metrics = replay.observe([an_attempt(P, (3, 9)), an_attempt(P, (4, 9), solved=True)], progress_at(-5), warm_up=True)
    assert stored(replay.store) == [[3]] and root_success(replay, P) == 0.0
    assert replay.store.problems.columns["fresh_rows"][0] == 0
    assert metrics["replay/admitted"] == 1.0 and "replay/conversion" not in metrics


def test_a_start_counts_as_one_replay_however_many_samples_it_has() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    replay.observe([an_attempt(P, (4, i), prefix=(3,)) for i in range(8)], progress_at(0))
    assert replay.store.problems.columns["replays"][0] == 1 and replay.rows()[0]["uses"] == 8


def test_a_state_grows_deeper_only_after_it_converted() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9, 9)])
    refused = replay.observe([an_attempt(P, (7, 9), prefix=(3,))], progress_at(0))
    assert refused["replay/refused_duplicate"] == 1.0
    both = [an_attempt(P, (4, 5), prefix=(3,), solved=True), an_attempt(P, (7, 9), prefix=(3,))]
    replay.observe(both, progress_at(1))
    deeper = replay.rows()[1]
    assert deeper["tokens"] == [3, 7] and deeper["origin"] == "replay" and deeper["depth_frac"] == pytest.approx(2 / 3)


def test_a_retired_problem_is_not_drawn_not_admitted_and_comes_back_when_forgotten() -> None:
    replay = a_replay(max_score_age=1000)
    fill(replay, [P], [(3, 9)])
    metrics = replay.observe([an_attempt(P, (9,), solved=True)] * 7, progress_at(0))
    assert metrics["replay/retired_problems"] == 1.0 and metrics["replay/open_size"] == 0.0
    assert replay.draw(progress_at(1), 8) == [] and len(replay.store) == 1   # parked, not deleted
    metrics = replay.observe([an_attempt(P, (4, 9))], progress_at(1))        # e_p = .5217 x .9 = .4695: may be admitted
    assert metrics["replay/admitted"] == 1.0 and replay.draw(progress_at(2), 8) == []
    replay.observe([an_attempt(P, (9,))] * 5, progress_at(2))                # .2773
    assert len(replay.draw(progress_at(3), 8)) == 2


def test_the_last_converted_answer_is_kept_until_the_problem_retires() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    assert replay.converted(P) is None
    replay.observe([an_attempt(P, (4, 5), prefix=(3,), solved=True), an_attempt(P, (6,), solved=True)], progress_at(0))
    assert replay.converted(P) == (3, 4, 5)
    loaded = a_replay()
    loaded.load_state_dict(replay.state_dict())
    assert loaded.converted(P) == (3, 4, 5)
    replay.observe([an_attempt(P, (9,), solved=True)] * 7, progress_at(1))
    assert replay.converted(P) is None


# ------------------------------------------------------------------------------------------ lessons


def test_a_lesson_is_the_prefix_from_the_bare_prompt_weighted_by_what_the_prompt_still_fails() -> None:
    replay = a_replay(credit=("positive", {"eta": 3.0, "token_divisor": 2.0}))
    fill(replay, [P, Q], [(3, 9), (4, 9)])
    replay.observe([an_attempt(P, (9,), solved=True), an_attempt(P, (8,))], progress_at(0))   # e_p = .095
    batch = [an_attempt(P, (4,), prefix=(3,), solved=True), an_attempt(P, (5,), prefix=(4,)),
             an_attempt(Q, (4,), prefix=(3,)), an_attempt(Q, (5,), prefix=(4,)), an_attempt(P, (9,), solved=True)]
    # one of four replayed rows is solved: 3 x (1 - .095) / (4 x 2)
    assert replay.lessons(batch) == [(Start(problem=P), (3,), pytest.approx(3 * 0.905 / 8))]


def test_samples_of_one_state_add_up_in_one_lesson() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    batch = [an_attempt(P, (i,), prefix=(3,), solved=i < 3) for i in range(4)]
    assert replay.lessons(batch) == [(Start(problem=P), (3,), pytest.approx(3 / 4))]


def test_failed_replays_fresh_solves_and_foreign_origins_teach_nothing() -> None:
    replay = a_replay(credit=("positive", {"origins": ["replay"]}))
    fill(replay, [P], [(3, 9)])
    assert replay.lessons([an_attempt(P, (4,), prefix=(3,), score=0.4), an_attempt(P, (3, 4), solved=True)]) == []
    assert replay.lessons([an_attempt(P, (4,), prefix=(3,), solved=True)]) == []   # a rollout's prefix
    none = a_replay(credit=("none", {}))
    fill(none, [P], [(3, 9)])
    assert none.lessons([an_attempt(P, (4,), prefix=(3,), solved=True)]) == []


def test_lessons_come_before_observe_so_that_a_batch_that_retires_its_problem_is_still_credited() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    batch = [an_attempt(P, (9,), solved=True)] * 7 + [an_attempt(P, (4,), prefix=(3,), solved=True)]
    assert replay.lessons(batch) == [(Start(problem=P), (3,), 1.0)]
    metrics = replay.observe(batch, progress_at(0))
    assert metrics["replay/lessons"] == 1.0 and metrics["replay/retired_problems"] == 1.0
    assert replay.lessons(batch) == []   # retired: credit has stopped


def test_a_state_is_credited_at_most_max_credits_times() -> None:
    replay = a_replay(max_credits=2)
    fill(replay, [P], [(3, 9)])
    batch, given = [an_attempt(P, (4,), prefix=(3,), solved=True)], []
    for step in range(4):
        given.append(len(replay.lessons(batch)))
        replay.observe(batch, progress_at(step))
    assert given == [1, 1, 0, 0]


# ------------------------------------------------------------------------------------------ filters


class Suspicious:
    """Says ``action`` of every prefix whose first token is 3, from the moment it is armed."""

    def __init__(self, action: str) -> None:
        self.action, self.armed = action, False

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:
        return Verdict(self.action if self.armed and prefix.tokens[0] == 3 else "keep", "suspicious")


@pytest.mark.parametrize(("action", "expected"), [("drop", [[4]]), ("quarantine", [[3], [4]])])
def test_what_a_filter_does_not_keep_is_never_drawn_also_after_a_reload(action: str, expected: list[list[int]]) -> None:
    replay, suspicious = a_replay(), Suspicious(action)
    suspicious.armed = True
    replay._filters["suspicious"] = suspicious
    fill(replay, [P], [(3, 9), (4, 9)])
    assert stored(replay.store) == expected
    loaded = a_replay()
    loaded.load_state_dict(replay.state_dict())
    for one in (replay, loaded):
        assert {s.prefix for step in range(40) for s in one.draw(progress_at(step), 8)} == {(4,)}


def test_a_state_that_fails_a_filter_when_it_converts_gets_no_credit_and_is_quarantined() -> None:
    replay, suspicious = a_replay(), Suspicious("drop")
    replay._filters["suspicious"] = suspicious
    fill(replay, [P], [(3, 9), (4, 9)])
    suspicious.armed = True
    batch = [an_attempt(P, (5,), prefix=(3,), solved=True), an_attempt(P, (5,), prefix=(4,), solved=True)]
    assert [tokens for _, tokens, _ in replay.lessons(batch)] == [(4,)]
    metrics = replay.observe(batch, progress_at(0))
    assert metrics["replay/quarantined"] == 1.0
    assert {s.prefix for step in range(1, 40) for s in replay.draw(progress_at(step), 8)} == {(4,)}
    assert replay.converted(P) == (4, 5)


def test_a_filter_that_says_something_else_is_named() -> None:
    replay, suspicious = a_replay(), Suspicious("maybe")
    suspicious.armed = True
    replay._filters["suspicious"] = suspicious
    with pytest.raises(ValueError, match="replay.filter.suspicious said 'maybe'; expected keep, drop or quarantine"):
        fill(replay, [P], [(3, 9)])


# ------------------------------------------------------------------------------------------ metrics


def test_the_metrics_of_a_small_step_can_be_checked_by_hand() -> None:
    replay = a_replay(schedule=("constant", {"rho": 0.4}))
    fill(replay, [P, Q], [(3, 9), (4, 9)], step=-2)
    batch = [an_attempt(P, (5, 9)), an_attempt(Q, (5, 9), solved=True), an_attempt(Q, (5,)),
             an_attempt(P, (4, 5), prefix=(3,), solved=True), an_attempt(P, (7,), prefix=(4,))]
    metrics = replay.observe(batch, progress_at(6))
    check_names(list(metrics))
    assert metrics == pytest.approx({
        "replay/planned_frac": 0.4, "replay/fraction": 2 / 5, "replay/conversion": 0.5, "replay/hard_conversion": 0.5,
        "replay/right_prefix_frac": 0.5,     # solution 3 4 5: (3,) agrees, (4,) does not
        "replay/prefix_age_steps": 8.0, "replay/depth_frac": 0.5, "replay/era_first_frac": 1.0,
        "replay/ess": 2.0,                   # both problems have weight 1
        "replay/lessons": 1.0,
        "replay/proposed": 1.0,              # fresh (5, 9) of p; a response of one token, or a solved one, has no cut
        "replay/admitted": 1.0, "replay/refused_duplicate": 0.0, "replay/refused_worse": 0.0,
        "replay/refused_retired": 0.0, "replay/refused_filter": 0.0, "replay/evicted": 0.0,
        "replay/filter_length": 0.0,
        "replay/yield_fresh": 200.0,         # one solve in 5 tokens
        "replay/yield_replayed": 1000 / 3,   # one in 3
        "replay/admission_depth_frac": 0.5, "replay/first_boundary_frac": 1.0, "replay/store_size": 5.0,
        "replay/store_bytes": 750.0,         # 5 x (13 columns of 8 bytes, 10 of 4, 2 of 1) + 5 tokens of 4 bytes
        "replay/open_size": 5.0, "replay/asleep": 0.0, "replay/quarantined": 0.0, "replay/retired_problems": 0.0,
    })


def test_metrics_of_replayed_rows_are_absent_where_nothing_was_replayed() -> None:
    metrics = a_replay().observe([an_attempt(P, (3, 9))], progress_at(0))
    assert not {"replay/conversion", "replay/hard_conversion", "replay/ess", "replay/depth_frac"} & metrics.keys()
    assert metrics["replay/fraction"] == 0.0


def feed(replay: Replay, solved: Sequence[bool], steps: int) -> dict[str, float]:
    """Problem i converts every replay; its bare prompt is solved where ``solved[i]``."""
    problems = [a_problem(f"p{i}") for i in range(len(solved))]
    fill(replay, problems, [(3, 9)])
    metrics: dict[str, float] = {}
    for step in range(steps):
        batch = [an_attempt(p, (9,), solved=s) for p, s in zip(problems, solved, strict=True) for _ in range(4)]
        batch += [an_attempt(p, (4,), prefix=(3,), solved=s) for p, s in zip(problems, solved, strict=True)]
        metrics = replay.observe(batch, progress_at(step))
    return metrics


def test_without_retirement_feeding_on_solved_problems_shows_in_the_metrics_and_rings_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        metrics = feed(a_replay(store={"retire_at": 1.01}), [True] * 7 + [False], 40)
    assert metrics["replay/conversion"] == pytest.approx(7 / 8)   # looks splendid
    assert metrics["replay/hard_conversion"] == 0.0               # and is worth nothing
    assert ["feeds on solved problems" in record.message for record in caplog.records] == [True]


def test_the_alarm_is_silent_where_unsolved_problems_convert(caplog: pytest.LogCaptureFixture) -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    batch = [an_attempt(P, (9,))] + [an_attempt(P, (4,), prefix=(3,), solved=True)] * 4
    with caplog.at_level(logging.WARNING):
        for step in range(40):
            replay.observe(batch, progress_at(step))
    assert not caplog.records
