"""Cuts by text, entropy and value, on texts short enough to count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Attempt
from rrl.replay.cut.code_line import statement_gaps
from rrl.replay.cut.text import INSIDE, boundaries_in, token_starts, whole_character
from rrl.types import Start
from tests.unit.replay.builders import a_problem, option

P = a_problem(max_response=200)


class Pieces:
    """Token i decodes to piece i; bytes are joined before they are read, as byte-level tokenizers do."""

    def __init__(self, *pieces: str | bytes) -> None:
        self._bytes = [p if isinstance(p, bytes) else p.encode() for p in pieces]
        self.tokens = tuple(range(len(pieces)))
        self.longest = 0

    def decode(self, tokens: Any) -> str:
        self.longest = max(self.longest, len(tokens))
        return b"".join(self._bytes[t] for t in tokens).decode(errors="replace")


class Spaced(Pieces):
    """Words with spaces between, as keychain spells them."""

    def decode(self, tokens: Any) -> str:
        return " ".join(self._bytes[t].decode() for t in tokens)


def boundaries(
    name: str, task: Pieces, *, prefix: int = 0, value: Any = None, entropy: Any = None, **changed: Any
) -> list[int]:
    tokens = task.tokens[prefix:]
    attempt = Attempt(
        start=Start(problem=P, prefix=task.tokens[:prefix]), tokens=tokens,
        value=np.array(value if value is not None else [0.5] * len(tokens), dtype=np.float32),
        entropy=np.array(entropy if entropy is not None else [0.0] * len(tokens), dtype=np.float32),
        score=0.0, solved=False, ended=True,
    )
    found: list[int] = make(option("cut", name) | changed, "replay.cut", task=task).boundaries(attempt)
    return found


EURO = "\u20ac".encode()   # three bytes


def test_token_starts_count_characters_and_know_what_is_inside_one() -> None:
    task = Pieces("a", EURO[:1], EURO[1:2], EURO[2:] + b"b", "cd")
    assert token_starts(task.decode, task.tokens) == ("a\u20acbcd", [0, 1, INSIDE, INSIDE, 3, 5])
    assert [whole_character(task.decode, task.tokens, t) for t in range(1, 6)] == [True, False, False, True, True]


def test_token_starts_of_spaced_words_put_the_space_into_the_later_word() -> None:
    task = Spaced("K1", "s22", "s3")
    assert token_starts(task.decode, task.tokens) == ("K1 s22 s3", [0, 2, 6, 9])


def test_a_response_cut_off_inside_a_character_ends_inside() -> None:
    task = Pieces("ab", EURO[:2])
    assert token_starts(task.decode, task.tokens) == ("ab\ufffd", [0, 2, INSIDE])


def test_long_responses_are_decoded_in_short_windows() -> None:
    task = Pieces(*["ab "] * 50)
    _, starts = token_starts(task.decode, task.tokens)
    assert starts == list(range(0, 151, 3))
    task.longest = 0
    token_starts(lambda tokens: "ab " * 50 if len(tokens) == 50 else task.decode(tokens), task.tokens)
    assert task.longest == 2


def test_a_decoder_that_looks_far_back_is_asked_for_every_prefix() -> None:
    def decode(tokens: Any) -> str:   # capitals behind a 0, however long ago
        return "".join("aB"[0 in tokens[:i]] for i, _ in enumerate(tokens))

    assert token_starts(decode, (0, 1, 2, 3)) == ("aBBB", [0, 1, 2, 3, 4])


def test_of_each_span_the_last_token_boundary_is_taken_if_it_is_far_enough() -> None:
    starts, own = [0, 1, 2, 3, INSIDE, 5, 7], (3, 3, 3, 3, 3, 3)
    assert boundaries_in("abcdefg", starts, [(1, 2), (3, 4), (4, 4), (5, 6)], 1, own) == [2, 3, 5]
    assert boundaries_in("abcdefg", starts, [(1, 2), (3, 4), (5, 6)], 2, own) == [2, 5]
    assert boundaries_in("abcde  ", starts, [(5, 6), (7, 7)], 1, own) == []    # nothing but space behind
    assert boundaries_in("abcdefg", starts, [(0, 0)], 1, own) == []            # the whole response is no tail


def test_newline_cuts_behind_the_last_break_before_the_indentation() -> None:
    task = Pieces("one", "\n", "\n", "  ", "two", "\n", "three", "\n")
    assert boundaries("newline", task, apart=1) == [3, 6]
    assert boundaries("newline", task, apart=3) == [3, 6]
    assert boundaries("newline", task, apart=4) == [6]
    assert boundaries("newline", Pieces("one\ntwo", " three"), apart=1) == []   # the break is inside a token


def test_sentence_cuts_behind_stops_before_white_space_and_at_lines() -> None:
    task = Pieces("It", " is", " 3", ".", "5", ".", " So", " (", "x", ".)", "\n", "y", "\n", "z", "!", "?")
    assert boundaries("sentence", task, apart=1) == [6, 11, 13]
    full_width = Pieces("a", "\u3002", "b")
    assert boundaries("sentence", full_width, apart=1) == [2]


def test_step_cuts_at_blank_lines_and_numbered_steps_up_to_the_answer() -> None:
    task = Pieces("Step 1", ": a", "\n", "Step", " 2", ": b", "\n\n", "c", "\n", "3", ".", " d", "\n\n", "####", " 7",
                  "\n\n", "e")
    assert boundaries("step", task) == [3, 7, 9, 13]
    assert boundaries("step", task, answer="never") == [3, 7, 9, 13, 16]
    assert boundaries("step", task, between=";") == []


def test_code_lines_are_cut_inside_fences_where_a_statement_ends() -> None:
    task = Pieces("Text", "\n", "```", "python", "\n", "f(", "\n", "1)", "\n", "\n", "  ", "g", "\n", "```", "\n",
                  "end")
    # before the first line, behind "f(\n1)" and its blank line, and before the closing fence; not in text or header
    assert boundaries("code_line", task, apart=1) == [5, 10, 13]


def test_without_fences_all_text_is_code() -> None:
    assert statement_gaps("f(1,\n2)\n\n  g") == [(0, 0), (8, 9)]
    assert statement_gaps("a = '('  # it's (\nb\\\n c\nd") == [(0, 0), (18, 18), (24, 24)]
    assert statement_gaps('s = """(\nx"""\ny') == [(0, 0), (14, 14)]


@pytest.mark.parametrize("name", ["newline", "sentence", "step", "code_line"])
def test_words_without_lines_or_stops_have_no_boundary(name: str) -> None:
    assert boundaries(name, Spaced("K1", "s22", "s3", "s0")) == []


def test_entropy_cuts_before_the_most_uncertain_fifth_of_what_was_sampled() -> None:
    task = Pieces(*"abcdefghijk")   # eleven tokens, ten behind the first: two cuts
    entropy = [9.0, 0.1, 0.5, 0.2, 0.1, 0.5, 0.3, 0.5, 0.1, 0.1, 0.1]
    assert boundaries("entropy", task, entropy=entropy) == [2, 5]                  # the earliest of equals
    assert boundaries("entropy", task, entropy=entropy[4:], prefix=4, top_frac=0.5) == [5, 6, 7]
    assert boundaries("entropy", task) == []                                       # entropy 0 is no fork


def test_value_jump_cuts_behind_a_rise_and_before_a_fall() -> None:
    task = Pieces(*"abcdef")
    assert boundaries("value_jump", task, value=[0.2, 0.6, 0.6, 0.1, 0.15, 0.0], delta=0.12) == [1, 2, 4]
    assert boundaries("value_jump", task, value=[0.6, 0.2, 0.2, 0.2, 0.2, 0.2]) == []   # before the first token
    assert boundaries("value_jump", task, value=[0.6, 0.2, 0.9, 0.9], prefix=2) == [4]


def test_no_character_is_cut_in_two() -> None:
    task = Pieces("a", EURO[:1], EURO[1:2], EURO[2:], "b", "c")
    assert boundaries("entropy", task, entropy=[1.0] * 6, top_frac=1.0) == [1, 4, 5]
    assert boundaries("value_jump", task, value=[0.0, 0.5, 1.0, 0.5, 1.0, 0.5], delta=0.1) == [1, 4]


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("newline", {"apart": 0}, "replay.cut.apart is 0"),
    ("sentence", {"apart": 0}, "replay.cut.apart is 0"),
    ("code_line", {"apart": 0}, "replay.cut.apart is 0"),
    ("step", {"apart": 0}, "replay.cut.apart is 0"),
    ("step", {"between": "("}, r"replay.cut.between is '\('; expected a regular expression"),
    ("entropy", {"top_frac": 0.0}, "replay.cut.top_frac is 0.0"),
    ("value_jump", {"delta": -0.1}, "replay.cut.delta is -0.1"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        boundaries(name, Pieces("a"), **changed)
