"""What an environment says inside a response stays in prefixes, counts as nobody's length, and is never cut before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rrl.build import make
from rrl.records import Attempt
from rrl.replay.turns import own_before, own_places, past_given
from rrl.stages import attempts_of
from rrl.types import Estimated, Scored, Start, given, plain, sampled
from tests.unit.policy.small import MIXED, Echo, tiny
from tests.unit.replay.builders import (
    a_prefix,
    a_problem,
    a_replay,
    a_store,
    add,
    an_attempt,
    option,
    progress_at,
    row_of,
    stored,
)  # fmt: skip

P = a_problem(max_response=20)
SAID = (3, *given((5, 6)), 7, 8, *given((5,)), 9, 3)   # sampled: 3 7 8 9 3, at places 0 3 4 6 7


def found(name: str, attempt: Attempt, task: Any = None, **changed: Any) -> list[int]:
    cut = make(option("cut", name) | changed, "replay.cut", task=task)
    boundaries: list[int] = cut.boundaries(attempt)
    return boundaries


class Letters:
    """Token i is a letter; 5 is a line break, 6 a full stop."""

    def decode(self, tokens: Any) -> str:
        return "".join("abcde\n.hijk"[t] for t in tokens)

    def steps(self, problem: Any, response: tuple[int, ...]) -> list[int]:
        return [1, 2, 5]


def test_turns_are_counted_by_hand() -> None:
    assert own_places(SAID) == [0, 3, 4, 6, 7]
    assert own_before(SAID) == [0, 1, 1, 1, 2, 3, 3, 4, 5]
    assert past_given([1, 2, 4, 5], SAID) == [3, 4, 6]
    assert past_given([1], (3, *given((4,)))) == []        # nobody speaks behind it
    assert past_given([2, 1, 2], (3, 4, 5)) == [1, 2]


def test_counting_cuts_count_sampled_tokens() -> None:
    attempt = an_attempt(P, SAID)
    assert found("token", attempt) == [3, 4, 6, 7]
    assert found("token", attempt, every=2, t_min=2) == [4, 7]
    assert found("fixed", attempt, parts=2) == [4]          # before sampled token number 2 of 5
    assert found("steps", attempt, task=Letters()) == [3, 6]


def test_text_cuts_read_what_was_said_and_wait_until_it_has_been_said() -> None:
    # a \n . h i \n j d: the breaks are the environment's own, at places 1 and 5
    attempt = an_attempt(P, SAID)
    assert found("newline", attempt, task=Letters(), apart=1) == [3, 6]   # the first waits for the stop behind it
    assert found("newline", attempt, task=Letters(), apart=2) == [6]      # one and four sampled tokens before them
    own_break = an_attempt(P, (3, 5, *given((7,)), 8))                    # the policy breaks the line, then it hears h
    assert found("newline", own_break, task=Letters(), apart=1) == [3]


def test_entropy_and_value_cuts_look_at_sampled_tokens_only() -> None:
    attempt = an_attempt(P, SAID, value=[0.5, 0.5, 0.5, 0.5, 0.1, 0.9, 0.9, 0.9])
    object.__setattr__(attempt, "entropy", torch.tensor([2.0, 0, 0, 0.5, 0.1, 0, 0.9, 0.2]).numpy())
    assert found("entropy", attempt, task=Letters(), top_frac=0.5) == [3, 6]   # two of the four behind the first
    # the token at 3 broke the value: before it; the one at 4 raised it: behind it, when the environment has spoken
    assert found("value_jump", attempt, task=Letters()) == [3, 6]


def test_no_admitted_state_ends_where_the_environment_has_the_word() -> None:
    class Everywhere:
        def boundaries(self, attempt: Attempt) -> list[int]:
            return list(range(1, len(attempt.response)))

    replay = a_replay(admission="random_cut", store={"dedup": "exact"})
    replay._cut = Everywhere()
    for step in range(40):
        replay.observe([an_attempt(P, SAID)], progress_at(step - 100), warm_up=True)
    states = [tuple(s) for s in stored(replay.store)]
    assert sorted(len(s) for s in states) == [3, 4, 6, 7]
    assert all(SAID[len(s)] >= 0 and s == SAID[: len(s)] for s in states)


def test_depths_are_of_sampled_tokens() -> None:
    replay = a_replay(cut="fixed")
    replay.observe([an_attempt(P, SAID)], progress_at(-1), warm_up=True)       # before sampled token 1 of 5
    (row,) = replay.rows()
    columns, place = replay.store.shelf.columns, row_of(replay.store, P, SAID[:3])
    assert row["tokens"] == list(SAID[:3]) and row["depth_frac"] == pytest.approx(1 / 5)
    assert (columns["depth"][place], columns["length"][place]) == (1, 3)
    assert replay.store.candidates([replay.store.shelf.all_rows()], 0)[0].depth.tolist() == [1]


def test_marks_survive_eviction_and_reloading() -> None:
    store, loaded = a_store(dedup="exact", slots_per_problem=4), a_store(dedup="exact")
    for i in range(60):
        add(store, a_prefix(P, (i + 3, *given((5,) * 30), i), value=i / 60))
    assert [s[0] for s in stored(store)] == [59, 60, 61, 62]
    loaded.load_state_dict(store.state_dict())
    assert loaded.rows() == store.rows() and stored(loaded)[0] == [59, *given((5,) * 30), 56]


def test_an_extension_is_one_with_the_same_marks() -> None:
    store = a_store(dedup="ancestor")
    assert add(store, a_prefix(P, (3, *given((5,))))).outcome == "admitted"
    assert add(store, a_prefix(P, (3, *given((5,)), 7))).outcome == "refused_duplicate"
    assert add(store, a_prefix(P, (3, 5, 7))).outcome == "admitted"            # the policy said 5 itself


def test_length_and_loops_are_judged_by_what_was_sampled() -> None:
    def action(name: str, tokens: tuple[int, ...], **changed: Any) -> str:
        one = make(option("filter", name) | changed, name, task=Letters())
        prefix = a_prefix(P, tokens, depth_frac=len(sampled(tokens)) / 5)
        return str(one.check(prefix, an_attempt(P, SAID)).action)

    assert action("length", SAID[:6], max_tokens=3, min_tail=2) == "keep"
    assert action("length", SAID[:6], max_tokens=2) == "drop"
    assert action("length", SAID[:6], min_tail=3) == "drop"
    echo = (3, *given((5, 5)), 4, *given((5, 5)), 7, *given((5, 5)), 8)
    assert action("degenerate_loop", echo, ngram=1, min_tokens=4) == "keep"
    assert action("deny_list", (3, *given((5,)), 7), patterns=["d\\nh"]) == "drop"


def test_the_right_prefix_is_compared_without_what_was_given() -> None:
    asked = a_problem(solution=(3, 7, 8))
    replay = a_replay()
    attempts = [an_attempt(asked, (8,), prefix=(3, *given((5,)), last)) for last in (7, 6)]
    assert replay.observe(attempts, progress_at(0))["replay/right_prefix_frac"] == 0.5


def test_rows_of_an_environment_that_speaks_go_through_replay_and_start_again() -> None:
    policy = tiny(task=Echo(), max_positions=64)
    replay = a_replay(admission="random_cut", store={"dedup": "exact", "slots_per_problem": 8})
    heard = 0
    for step in range(-3, 3):
        starts = MIXED + replay.draw(progress_at(step), 16)
        starts = [s if not s.prefix or s.room > 0 else Start(problem=s.problem) for s in starts]
        rollouts = policy.rollout(starts, samples_per_start=2, step=step + 10)
        rows, actions = rollouts.sequences.num_rows, len(rollouts.sequences.actions)
        blank = torch.full((actions,), 0.5)
        scored = Scored(rollouts=rollouts, score=torch.zeros(rows), solved=torch.arange(rows) % 3 == 0, reward=blank)
        attempts = attempts_of(Estimated(scored=scored, value=blank, success=blank, advantage=blank,
                                         target_return=blank))
        heard += sum(min(a.tokens) < 0 for a in attempts)
        replay.observe(attempts, progress_at(step), warm_up=step < 0)
    states = [tuple(s) for s in stored(replay.store)]
    assert heard > 20 and sum(min(s) < 0 for s in states) > 5
    for state in states:   # the environment has always had its word
        last = next(i for i in reversed(range(len(state))) if state[i] >= 0)
        assert plain(state[last + 1 :]) == Echo().observe(None, state[: last + 1])
