"""Conversations as HH-RLHF writes them: "\\n\\nHuman: ...\\n\\nAssistant: ...", cut into prompt, turns and response."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


class Exchange(NamedTuple):
    """prompt: a transcript that ends with ``ASSISTANT``, "" where the response stands alone.  response: the answer."""

    prompt: str
    response: str


class Turn(NamedTuple):
    """role: "user" or "assistant", as chat templates have it.  text: without white space around it."""

    role: str
    text: str


Scorer = Callable[[Sequence[Exchange]], np.ndarray]
"""[S] finite numbers, one an exchange, whatever else stands in the batch (up to rounding)."""


def split(transcript: str) -> Exchange:
    """Everything up to the last ``ASSISTANT``, and what it says. Bai et al., 2204.05862, give pairs in this form.

    Example: "\\n\\nHuman: Hi\\n\\nAssistant: Yo" -> ("\\n\\nHuman: Hi\\n\\nAssistant:", "Yo").

    Raises:
      ValueError: there is no assistant's turn, or the last turn is the human's.
    """
    prompt, said, response = transcript.rpartition(ASSISTANT)
    if not said:
        raise ValueError(f"has no {ASSISTANT.strip()!r} turn")
    if HUMAN in response:
        raise ValueError(f"ends with a {HUMAN.strip()!r} turn; expected the assistant's answer last")
    return Exchange(prompt + ASSISTANT, response.strip())


def prompt_of(text: str) -> str:
    """A bare message as a prompt; a transcript as it is, without what its last assistant's turn says."""
    return split(text).prompt if ASSISTANT in text else f"{HUMAN} {text.strip()}{ASSISTANT}"


def turns_of(prompt: str) -> list[Turn]:
    """The turns of a prompt; the empty one at its end, where the answer goes, left out.

    Raises:
      ValueError: it does not begin with the human, or a turn of the human is empty.
    """
    pieces = _TURN.split(prompt)
    turns = [Turn(_ROLES[role], text.strip()) for role, text in zip(pieces[1::2], pieces[2::2], strict=True)]
    if pieces[0].strip() or not turns or turns[0].role != "user":
        raise ValueError(f"begins with {prompt[:20]!r}; expected {HUMAN!r}")
    if any(turn.role == "user" and not turn.text for turn in turns):
        raise ValueError("has an empty turn of the human")
    return turns[:-1] if turns[-1] == Turn("assistant", "") else turns


def messages_of(exchange: Exchange) -> list[dict[str, str]]:
    """What a chat template reads: the turns of the prompt, then the response."""
    turns = [*(turns_of(exchange.prompt) if exchange.prompt else []), Turn("assistant", exchange.response)]
    return [{"role": role, "content": text} for role, text in turns]


def transcript_of(exchange: Exchange) -> str:
    """The exchange as one text: prompt, a space, response."""
    return f"{exchange.prompt} {exchange.response}" if exchange.prompt else exchange.response
