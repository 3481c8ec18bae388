"""A store is read in the spelling that it was written in, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rrl.codec.byte import ByteCodec
from rrl.replay.spelling import spelling_of
from tests.unit.replay.builders import Toy, a_problem, a_replay, an_attempt, fill, progress_at, same


class Templated(ByteCodec):
    """Equal ids for every text, another prompt around it."""

    def prompt(self, text: str) -> tuple[int, ...]:
        return super().prompt(f"Question: {text}")


class Retrained(ByteCodec):
    fingerprint = "bytes-2"


def spelled(codec: Any) -> Toy:
    task = Toy()
    task.codec = codec   # type: ignore[attr-defined]
    return task


def test_a_spelling_is_the_tokenizers_and_the_templates() -> None:
    tasks = [spelled(codec) for codec in (ByteCodec(), ByteCodec(), Templated(), Retrained())]
    first, again, templated, retrained = (spelling_of(task) for task in tasks)
    assert first == again and len({first, templated, retrained}) == 3
    assert spelling_of(Toy()) == "toy: 64 symbols"


@pytest.mark.parametrize("other", [spelled(Templated()), spelled(Retrained()), Toy()])
def test_a_store_of_another_tokenizer_or_template_is_refused(other: Any) -> None:
    replay, loaded = a_replay(task=spelled(ByteCodec())), a_replay(task=spelled(ByteCodec()))
    fill(replay, [a_problem()], [(3, 9)])
    loaded.load_state_dict(replay.state_dict())
    assert same(loaded.state_dict(), replay.state_dict())
    with pytest.raises(ValueError, match=r"its prefixes are spelled 'bytes-1.* this run spells"):
        a_replay(task=other).load_state_dict(replay.state_dict())


def test_a_problem_that_is_asked_in_other_words_is_no_longer_the_one_that_was_stored() -> None:
    replay, loaded = a_replay(), a_replay()
    fill(replay, [a_problem()], [(3, 9)])
    loaded.load_state_dict(replay.state_dict())
    loaded.observe([an_attempt(a_problem(), (4, 5))], progress_at(0))          # the same words, another object
    asked = replace(a_problem(), prompt=(7, 1, 2))
    with pytest.raises(ValueError, match="problem 'p' has another prompt than its stored prefixes continue"):
        loaded.observe([an_attempt(asked, (4, 5))], progress_at(1))
