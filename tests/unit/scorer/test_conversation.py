"""Transcripts of HH-RLHF taken apart and put together."""

import pytest

from rrl.scorer.conversation import Exchange, messages_of, prompt_of, split, transcript_of, turns_of

LONG = "\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: Why?\n\nAssistant: Because.\nSo there."


def test_the_prompt_is_everything_up_to_the_last_answer() -> None:
    assert split("\n\nHuman: Hi\n\nAssistant: Yo") == ("\n\nHuman: Hi\n\nAssistant:", "Yo")
    assert split(LONG) == ("\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: Why?\n\nAssistant:", "Because.\nSo there.")
    assert transcript_of(split(LONG)) == LONG
    assert transcript_of(Exchange("", "Alone.")) == "Alone."


@pytest.mark.parametrize(("text", "why"), [
    ("\n\nHuman: Hi", "no 'Assistant:' turn"),
    ("\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: More", "ends with a 'Human:' turn"),
])  # fmt: skip
def test_a_transcript_without_an_answer_at_its_end_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        split(text)


def test_a_bare_message_becomes_a_prompt_and_a_transcript_loses_its_answer() -> None:
    assert prompt_of(" Hi ") == "\n\nHuman: Hi\n\nAssistant:"
    assert prompt_of(LONG) == split(LONG).prompt
    assert prompt_of("\n\nHuman: Hi\n\nAssistant:") == "\n\nHuman: Hi\n\nAssistant:"


def test_turns_have_roles_and_the_place_of_the_answer_is_none() -> None:
    assert turns_of(split(LONG).prompt) == [("user", "Hi"), ("assistant", "Yo"), ("user", "Why?")]
    assert messages_of(split("\n\nHuman: Hi\n\nAssistant: Yo")) == [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"},
    ]  # fmt: skip
    assert turns_of("\n\nHuman: He said Human: no.\n\nAssistant:") == [("user", "He said Human: no.")]


@pytest.mark.parametrize("prompt", ["Hi\n\nAssistant:", "\n\nAssistant: Yo\n\nHuman: Hi\n\nAssistant:", ""])
def test_a_prompt_that_does_not_begin_with_the_human_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match="expected '.n.nHuman:'"):
        turns_of(prompt)
    with pytest.raises(ValueError, match="empty turn"):
        turns_of("\n\nHuman: \n\nAssistant:")
