"""From tensors to plain numbers and back, on rows that can be checked by eye."""

from __future__ import annotations

import torch

from rrl.stages import attempts_of, lesson_of, terms_of
from rrl.types import Start
from tests.unit.learner.tabular import estimated_of, problem

FRESH, PREFIXED = Start(problem=problem("p")), Start(problem=problem("q"), prefix=(1, 2))
ROWS = [(FRESH, (3, 4)), (PREFIXED, (4,)), (FRESH, (1,))]


def estimated():
    return estimated_of(
        ROWS, advantage=[1.0, 2.0, 3.0, 4.0], scores=[0.5, 1.0, 0.0], value=[-5.0, 0.0, 5.0, 1.0],
        success=[0.1, 0.2, 0.3, 0.4],
    )  # fmt: skip


def test_an_attempt_is_a_row_with_its_success_and_not_its_return() -> None:
    first, second, third = attempts_of(estimated())
    assert (first.start, first.tokens, second.tokens, third.tokens) == (FRESH, (3, 4), (4,), (1,))
    assert first.value.tolist() == torch.tensor([0.1, 0.2]).tolist()
    assert (first.score, second.score, third.score) == (0.5, 1.0, 0.0)
    assert second.start.prefix == (1, 2) and second.response == (1, 2, 4)
    assert all(type(a.score) is float and type(a.solved) is bool and type(a.tokens[0]) is int for a in (first, second))


def test_terms_are_the_fresh_rows_and_the_replayed_rows_with_their_shares() -> None:
    (fresh, one_minus_rho), (replayed, rho) = terms_of(estimated(), 0.25)
    assert (one_minus_rho, rho) == (0.75, 0.25)
    assert fresh.sequences.actions.tolist() == [3, 4, 1] and fresh.advantage.tolist() == [1.0, 2.0, 4.0]
    assert replayed.sequences.actions.tolist() == [4] and replayed.advantage.tolist() == [3.0]


def test_without_replay_there_is_one_term_and_it_is_the_very_rows() -> None:
    rows = estimated()
    ((term, share),) = terms_of(rows, 0.0)
    assert term is rows and share == 1.0


def test_a_rank_without_replayed_rows_still_has_both_terms() -> None:
    only_fresh = estimated().rows(torch.tensor([0, 2]))
    (fresh, _), (replayed, _) = terms_of(only_fresh, 0.5)
    assert fresh.sequences.num_rows == 2 and replayed.sequences.num_rows == 0 and len(replayed.advantage) == 0


def test_a_lesson_weighs_every_token_of_its_row_alike() -> None:
    bare = Start(problem=problem("q"))
    lesson = lesson_of([(bare, (1, 2), 0.5), (FRESH, (3,), 0.25)])
    assert lesson is not None
    assert lesson.sequences.actions.tolist() == [1, 2, 3] and lesson.weight.tolist() == [0.5, 0.5, 0.25]
    assert [s.prefix for s in lesson.sequences.starts] == [(), ()]
    assert lesson_of([]) is None
