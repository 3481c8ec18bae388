"""``HostReplay`` by hand: fractions of steps, which problems failed, a critic's values, the digest of what was told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from rrl.hosts.build import build, flat
from rrl.hosts.rows import Row, scored_of
from rrl.hosts.task import HostCodec, PromptBook
from rrl.types import Start
from tests.contract.stream import same
from tests.hosts.words import words

OVERRIDES = ["replay/cut=token", "replay/admission=first_boundary", "replay/schedule=window", "replay.schedule.rho=1.0",
             "replay.max_replay_frac=1.0"]
BOOK = PromptBook(stop=(4,), max_response=6, known={})
ONE, TWO = BOOK.of((2, 30, 9)), BOOK.of((2, 31, 9))


def row(problem: Any, tokens: tuple[int, ...], score: float, prefix: tuple[int, ...] = (), **more: Any) -> Row:
    return Row(start=Start(problem=problem, prefix=prefix), tokens=tokens, score=score, **more)


def test_a_schedules_fractions_are_fractions_of_the_hosts_steps() -> None:
    session = build(OVERRIDES, tokenizer=words())  # the window is open from 30 % to 95 %
    session.observe([row(ONE, (11, 12, 4), 0.0)], step=0, num_steps=20)
    replayed = [session.starts([ONE], step=step, num_steps=20)[0].replayed for step in range(20)]
    assert replayed == [False] * 6 + [True] * 13 + [False]
    with pytest.raises(ValueError, match="run has 0 steps"):
        session.starts([ONE], step=0, num_steps=0)


def test_equal_problems_of_a_batch_start_alike_and_others_for_themselves() -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0), row(ONE, (13, 12, 4), 0.0), row(TWO, (14, 12, 4), 0.0)],
                    step=0, num_steps=20)
    starts = session.starts([ONE, TWO, ONE, ONE], step=10, num_steps=20)
    assert starts[0] == starts[2] == starts[3] and starts[0].prefix in {(11,), (13,)}
    assert starts[1].prefix == (14,)


def test_an_answer_is_given_once_its_problem_converted_and_its_bare_group_failed() -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0), row(ONE, (13, 4), 0.4), row(TWO, (14, 4), 0.0)], step=0, num_steps=20)
    assert session.answers([ONE, TWO]) == [None, None]  # nothing converted
    session.observe([row(ONE, (20, 4), 1.0, prefix=(11,))], step=1, num_steps=20)
    assert session.answers([ONE, TWO]) == [(11, 20, 4), None]
    session.observe([row(ONE, (20, 4), 0.0, prefix=(11,))], step=2, num_steps=20)
    assert session.answers([ONE]) == [(11, 20, 4)]  # a failed replay is no failed bare group
    session.observe([row(ONE, (7, 4), 1.0), row(ONE, (8, 4), 0.0)], step=3, num_steps=20)
    assert session.answers([ONE]) == [None]  # one bare row was solved: the group has a signal of its own
    session.observe([row(ONE, (8, 4), 0.0)], step=4, num_steps=20)
    assert session.answers([ONE]) == [(11, 20, 4)]
    off = build([*OVERRIDES, "host.place_answers=false"], tokenizer=words())
    off.load_state_dict(session.state_dict())
    assert off.answers([ONE]) == [None]


def test_a_solved_problem_retires_and_gives_neither_states_nor_answers() -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0)], step=0, num_steps=20)
    session.observe([row(ONE, (20, 4), 1.0, prefix=(11,))], step=1, num_steps=20)
    # e <- .9^8 e + (1 - .9^8) 1 = .57 >= retire_at .5 after eight solved rows
    session.observe([row(ONE, (20 + i, 4), 1.0) for i in range(8)], step=2, num_steps=20)
    session.observe([row(ONE, (8, 4), 0.0)], step=3, num_steps=20)  # .9 x .57 = .51: still retired
    assert session.answers([ONE]) == [None]
    assert not session.starts([ONE], step=10, num_steps=20)[0].replayed


def test_a_critics_values_are_a_share_of_the_score_range_and_choose_the_cut() -> None:
    session = build([*OVERRIDES, "replay/admission=argmax_value", "host.score_range=[-1.0,1.0]"], tokenizer=words())
    values = (0.0, -0.5, 0.5, -1.0)  # before each token: .5 .25 .75 0 as shares; the best boundary is before token 2
    session.observe([row(ONE, (11, 12, 13, 4), -1.0, values=values)], step=0, num_steps=20)
    (state,) = session.replay.rows()
    assert state["tokens"] == [11, 12] and state["born_value"] == pytest.approx(0.75)


def test_without_a_critic_a_rows_value_is_its_problems_success_rate_so_far() -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0), row(ONE, (13, 4), 1.0)], step=0, num_steps=20)
    # kappa 2: of the run (1 + 2 x .5) / (2 + 2) = .5, of the problem the same again
    assert session.value.success([Start(problem=ONE)])[0].tolist() == [0.5]
    session.observe([row(ONE, (15, 12, 4), 0.0)], step=1, num_steps=20)
    assert [r["born_value"] for r in session.replay.rows() if r["tokens"] == [15]] == [0.5]


def test_a_critic_of_ours_learns_beside_the_host_which_beginning_is_promising() -> None:
    critic = ["policy=tiny", "value=critic", "replay/admission=near_peak", "replay/cut=token", "value.lr=0.01"]
    session = build(critic, tokenizer=words())
    for step in range(40):  # answers that begin with 11 are solved, those that begin with 12 are not
        session.observe([row(ONE, (11, 20 + step % 7, 4), 1.0), row(ONE, (12, 20 + step % 7, 4), 0.0)],
                        step=step, num_steps=50)
    good, bad = session.value.success([Start(problem=ONE, prefix=(11,)), Start(problem=ONE, prefix=(12,))])[0].tolist()
    assert good > 0.9 and bad < 0.1


def test_rows_become_scored_rollouts_with_the_reward_on_the_last_token() -> None:
    scored = scored_of([row(ONE, (11, 4), 0.4, logprobs=(-0.5, -2.0)), row(ONE, (12, 13, 14), 1.0)], solved_at=1.0)
    assert scored.reward.tolist() == pytest.approx([0.0, 0.4, 0.0, 0.0, 1.0])
    assert scored.solved.tolist() == [False, True]
    assert scored.rollouts.behavior_entropy.tolist() == [0.5, 2.0, 0.0, 0.0, 0.0]
    assert scored.rollouts.ended.tolist() == [True, False]  # the stop token, or cut


@pytest.mark.parametrize(("more", "message"), [
    ({"tokens": ()}, "no sampled token"), ({"score": math.inf}, "reward .* is inf"),
    ({"logprobs": (-1.0,)}, "logprobs .* are 1; expected one for each of its 2 tokens"),
    ({"values": (0.5, 0.5, 0.5)}, "values .* are 3; expected one for each of its 2 tokens"),
])
def test_a_bad_row_is_refused_by_field(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Row(**{"start": Start(problem=ONE), "tokens": (5, 4), "score": 0.0} | more)


def test_the_digest_of_what_was_told_ignores_the_order_of_rows_and_sees_every_row() -> None:
    rows = [row(ONE, (11, 4), 0.0), row(TWO, (12, 4), 1.0)]
    sessions = [build(OVERRIDES, tokenizer=words()) for _ in range(3)]
    sessions[0].observe(rows, step=0, num_steps=20)
    sessions[1].observe(rows[::-1], step=0, num_steps=20)
    sessions[2].observe(rows[:1], step=0, num_steps=20)
    assert sessions[0].told == sessions[1].told != sessions[2].told


def test_save_load_go_on_equals_going_on(tmp_path: Path) -> None:
    one, two = build(OVERRIDES, tokenizer=words()), build(OVERRIDES, tokenizer=words())
    for step in range(4):
        rows = [row(ONE, (11 + step, 12, 4), 0.0), row(TWO, (14, 9, 4), float(step == 2))]
        one.observe(rows, step=step, num_steps=20)
    one.save(tmp_path / "rrl")
    two.load(tmp_path / "rrl")
    for session in (one, two):
        starts = session.starts([ONE, TWO], step=8, num_steps=20)
        session.observe([Row(start=s, tokens=(21, 4), score=1.0) for s in starts], step=8, num_steps=20)
    assert same(one.state_dict(), two.state_dict())


def test_a_save_that_fails_leaves_the_earlier_state_whole(tmp_path: Path) -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0)], step=0, num_steps=20)
    session.save(tmp_path / "rrl")
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "rrl").iterdir())
    session.settings = {"bad": object()}  # type: ignore[dict-item] - JSON cannot hold it
    with pytest.raises(TypeError):
        session.save(tmp_path / "rrl")
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "rrl").iterdir()) == before


def test_warm_up_rows_fill_the_store_and_move_no_success_rate() -> None:
    session = build(OVERRIDES, tokenizer=words())
    session.observe([row(ONE, (11, 12, 4), 0.0), row(ONE, (13, 4), 1.0)], step=-1, num_steps=20, warm_up=True)
    assert [r["tokens"] for r in session.replay.rows()] == [[11]]
    table = session.replay.store.problems
    assert table.columns["root_success"][0] == 0.0 and table.columns["fresh_rows"][0] == 0


def test_the_codec_spells_prompts_by_the_hosts_template() -> None:
    plain, talking = words(), words()
    talking.chat_template = "<2> {{ messages[0]['content'] }} <9>"
    assert HostCodec(plain).prompt("<30>") == (30,)
    assert HostCodec(talking).prompt("<30>") == (2, 30, 9)
    assert HostCodec(plain).stop == (4,)


def test_flat_names_leaves_by_their_path() -> None:
    assert flat({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": 1, "a.c": [2], "d": None}
