"""What replay asks of a task, told from a host's tokenizer: how prefixes are spelled and where steps end.

Problems and scores are the host's; a problem here is a prompt's token ids and a name made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrl.codec.tokenizer import TokenizerCodec
from rrl.protocols import Outcome
from rrl.task.sentences import step_boundaries
from rrl.types import Problem, Tokens, prefix_key


class HostCodec:
    """A host's tokenizer, with its chat template where it has one.

    Args:
      tokenizer: of transformers; of a processor, its ``tokenizer``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        self._codec = TokenizerCodec(self._tokenizer)
        self.fingerprint, self.vocab_size, self.pad = self._codec.fingerprint, self._codec.vocab_size, self._codec.pad
        end = self._tokenizer.eos_token_id
        self.stop: Tokens = () if end is None else (int(end),)
        self.reserved = tuple(str(token) for token in self._tokenizer.all_special_tokens)

    def prompt(self, text: str) -> Tokens:
        return self.conversation(text, [("user", text)])

    def conversation(self, transcript: str, turns: Sequence[tuple[str, str]]) -> Tokens:
        """Turns through the tokenizer's template; the transcript itself where there is none."""
        if getattr(self._tokenizer, "chat_template", None) is None:
            return self.encode(transcript)
        messages = [{"role": role, "content": text} for role, text in turns]
        rendered = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self.encode(rendered)

    def encode(self, text: str) -> Tokens:
        return self._codec.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._codec.decode(tokens)


class HostTask:
    """The door ``Task`` as far as a host can fill it: it has no problems and no verdicts of its own.

    Args:
      tokenizer: the host's, of transformers.
      score_range: lowest and highest reward.
      step_apart: least tokens between two steps, >= 1.
    """

    name = "host"

    def __init__(self, *, tokenizer: Any, score_range: tuple[float, float], step_apart: int) -> None:
        if len(score_range) != 2 or not score_range[0] < score_range[1]:
            raise ValueError(f"host.score_range is {list(score_range)}; expected the lowest and the highest reward")
        if step_apart < 1:
            raise ValueError(f"host.step_apart is {step_apart}; expected >= 1 tokens")
        self.codec, self.score_range, self._apart = HostCodec(tokenizer), score_range, step_apart
        self.fingerprint, self.vocab_size, self.pad = self.codec.fingerprint, self.codec.vocab_size, self.codec.pad

    def train_problems(self) -> list[Problem]:
        return []

    def eval_problems(self) -> list[Problem]:
        return []

    def score(self, problem: Problem, response: Tokens) -> Outcome:  # noqa: ARG002 - likewise
        raise ValueError(f"problem {problem.id!r} was to be scored by rrl; expected an option that leaves the verdict "
                         "to the host's reward, e.g. no replay/filter=second_verifier")

    def right_prefix(self, problem: Problem) -> Tokens:  # noqa: ARG002 - the door passes the problem
        return ()

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:  # noqa: ARG002
        raise ValueError("a host's task has no demonstrations; expected an option that needs none")

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        """Behind a sentence or a line, before the stop token."""
        ended = bool(response) and response[-1] in problem.stop
        return step_boundaries(self.decode, response[:-1] if ended else response, None, self._apart)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.codec.decode(tokens)

    def encode(self, text: str) -> Tokens:
        return self.codec.encode(text)


class PromptBook:
    """Prompts as problems: equal token ids are one problem.

    Args:
      stop: ids that end a response.
      max_response: tokens a response may have, a replayed prefix included.
      known: problems with more to them (an answer, a canonical solution, an own limit), by the ids of their prompt.
    """

    def __init__(self, *, stop: Tokens, max_response: int, known: Mapping[Tokens, Problem]) -> None:
        self._stop, self._max_response, self._problems = stop, max_response, dict(known)

    def of(self, prompt: Sequence[int]) -> Problem:
        """The problem whose prompt has these ids."""
        ids = tuple(prompt)
        problem = self._problems.get(ids)
        if problem is None:
            problem = self._problems[ids] = Problem(
                id=prefix_key("prompt", ids), prompt=ids, answer="", solution=(), task=HostTask.name, difficulty="",
                max_response=self._max_response, stop=self._stop, exact_length=False,
            )  # fmt: skip
        return problem
