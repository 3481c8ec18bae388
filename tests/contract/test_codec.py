"""Laws of ``TextCodec``: text comes back, ids are known ones, and the task and its policy spell alike."""

from __future__ import annotations

import numpy as np
import pytest

from rrl import rng
from rrl.protocols import SpeltTask, TextCodec
from rrl.types import Start, sequences_of
from tests.contract.bench import Bench
from tests.contract.options import every

TEXTS = (
    "", "a", "Two lines.\n\nAnd 3.5 more:  x^2 \\frac{1}{2}", "na\u00efve \u2192 \u4e2d\u6587 \U0001f600",
    "\t tabs and trailing ",
)  # fmt: skip


@pytest.fixture
def codec(bench: Bench, option: str) -> TextCodec:
    task = bench.house("codec", option).task
    assert isinstance(task, SpeltTask)
    return task.codec


@every("codec")
def test_any_text_is_spelled_back_with_known_ids_that_end_nothing(codec: TextCodec, option: str) -> None:
    for text in TEXTS:
        tokens = codec.encode(text)
        assert codec.decode(tokens) == text and codec.encode(text) == tokens
        assert all(0 <= t < codec.vocab_size for t in tokens) and not {*tokens} & {*codec.stop}


@every("codec")
def test_a_prompt_holds_the_text_and_ends_where_the_answer_begins(codec: TextCodec, option: str) -> None:
    for text in TEXTS[1:]:
        prompt = codec.prompt(text)
        assert text.strip() in codec.decode(prompt) and prompt == codec.prompt(text)
        assert all(0 <= t < codec.vocab_size for t in prompt)
        assert codec.decode(prompt + codec.encode("4")) == codec.decode(prompt) + "4"
    assert codec.prompt("a") != codec.prompt("b")


@every("codec")
def test_special_tokens_are_single_ids_under_reserved_names(codec: TextCodec, option: str) -> None:
    assert codec.stop and 0 <= codec.pad < codec.vocab_size
    for name in codec.reserved:
        assert len(codec.encode(name)) == 1
    for token in codec.stop:
        assert codec.decode((token,)) in codec.reserved


@every("codec")
def test_any_ids_can_be_read_and_a_beginning_differs_at_most_in_an_open_character(
    codec: TextCodec, option: str
) -> None:
    tokens = rng.generator(0, "contract.codec").integers(codec.vocab_size, size=64).tolist()
    assert codec.decode(tokens)
    whole = codec.encode(TEXTS[2] + TEXTS[3])
    for t in range(len(whole)):
        assert codec.decode(whole).startswith(codec.decode(whole[:t]).rstrip("\ufffd"))


@every("codec")
def test_the_policy_and_the_task_spell_alike(bench: Bench, codec: TextCodec, option: str) -> None:
    house = bench.house("codec", option)
    assert house.task.vocab_size == codec.vocab_size and house.task.pad == codec.pad
    for text in TEXTS:
        assert house.policy.encode(text) == house.task.encode(text) == codec.encode(text)
        assert house.policy.decode(codec.encode(text)) == text
    problem = house.task.train_problems()[0]
    logprob, _ = house.policy.logprob(sequences_of([(Start(problem=problem), problem.solution)]))
    assert len(logprob) == len(problem.solution) and bool(np.isfinite(logprob.numpy()).all())


@every("codec")
def test_equal_options_have_equal_fingerprints(bench: Bench, codec: TextCodec, option: str) -> None:
    assert bench.make("codec", option).fingerprint == codec.fingerprint
