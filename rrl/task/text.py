"""A task in words: rows of text, a grader of answers, and the policy's own tokenizer between them.

``gsm8k``, ``math``, ``reasoning_gym`` and the others are this class with other data and another grader.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rrl import rng
from rrl.protocols import Outcome, TextCodec
from rrl.ranks import Ranks
from rrl.task.data.row import Data, Row
from rrl.task.grade.grader import Grader
from rrl.task.sentences import step_boundaries
from rrl.task.sift import record_of, refuse_or_say, sift
from rrl.types import Problem, Tokens

_SLOT = "{prompt}"


class TextTask:
    """Problems, score and demonstrations of a task in words.

    A response is solved only where it ended by itself (its last token is a stop token) and its stated answer is right:
    no beginning of a right response is right, so no stored prefix holds a whole answer unnoticed.

    Args:
      seed: names the order of the training problems and which of them are taken.
      codec: how text is spelled; the policy's own.
      output_dir: where ``data.json`` goes: what was read, what was left out and why, row by row.
      name: of the task.
      data: where rows come from.
      grader: compares answers.
      prompt: what is asked, with ``{prompt}`` where the row's text goes.
      num_train, num_heldout: problems taken, a fixed random choice; 0 = all there are.
      max_prompt: tokens of a prompt, >= 1; a row with a longer one is bad.
      max_response: tokens of a response, >= 2; the policy has to read both.
      step_apart: least tokens between two steps, >= 1.
      bad_rows: "refuse" = stop and name them; "skip" = leave them out, name and count them.
    """

    def __init__(
        self, *, seed: int, codec: TextCodec, ranks: Ranks, output_dir: Path, name: str, data: Data, grader: Grader,
        prompt: str, num_train: int, num_heldout: int, max_prompt: int, max_response: int, step_apart: int,
        bad_rows: Literal["refuse", "skip"],
    ) -> None:
        least = {"num_train": (num_train, 0), "num_heldout": (num_heldout, 0), "max_prompt": (max_prompt, 1),
                 "max_response": (max_response, 2), "step_apart": (step_apart, 1)}  # fmt: skip
        for key, (number, bound) in least.items():
            if number < bound:
                raise ValueError(f"task.{key} is {number}; expected >= {bound}")
        if _SLOT not in prompt:
            raise ValueError(f"task.prompt is {prompt!r}; expected a text with {_SLOT} where the problem goes")
        self.name, self.codec, self.score_range = name, codec, grader.score_range
        self.vocab_size, self.pad = codec.vocab_size, codec.pad
        self._grader, self._prompt, self._apart = grader, prompt, step_apart
        self._max_prompt, self._max_response = max_prompt, max_response
        self._prompts: dict[str, Tokens] = {}  # by Row.where: spelled once

        sifted = sift(*data.read(seed=seed, num_train=num_train, num_heldout=num_heldout), self._flaw)
        self._rows: dict[str, Row] = {}
        self._no_solution: Counter[str] = Counter()
        self._heldout = self._problems("heldout", _some(sifted.heldout, num_heldout, seed, "heldout", in_order=True))
        self._train = self._problems("train", _some(sifted.train, num_train, seed, "train", in_order=False))
        sifted.dropped.update(self._no_solution)
        if ranks.is_main:
            (output_dir / "data.json").write_text(json.dumps(record_of(name, sifted), indent=1))
        refuse_or_say(name, sifted, bad_rows)
        self.fingerprint = self._digest(seed)

    def train_problems(self) -> list[Problem]:
        """In an order that the seed decides."""
        return list(self._train)

    def eval_problems(self) -> list[Problem]:
        """Held-out problems, in the order of their source."""
        return list(self._heldout)

    def row(self, problem: Problem) -> Row:
        """What ``problem`` was made of."""
        return self._rows[problem.id]

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """The grader's verdict on a response that ended by itself; the lowest score for one that was cut."""
        if not response or response[-1] not in problem.stop:
            return Outcome(self.score_range[0], False)
        return self._grader.grade(self._rows[problem.id], self.codec.decode(response[:-1]))

    def right_prefix(self, problem: Problem) -> Tokens:  # noqa: ARG002 - the door passes the problem
        """Not known: many beginnings of a response are right."""
        return ()

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        """Behind a sentence or a line, up to where the answer is stated."""
        ended = bool(response) and response[-1] in problem.stop
        said = response[:-1] if ended else response
        found = step_boundaries(self.codec.decode, said, self._grader.stated(self.codec.decode(said)), self._apart)
        return [t for t in found if t < len(response)]

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Training problems with a known solution, drawn with replacement.

        Raises:
          ValueError: no training problem has one.
        """
        known = [problem for problem in self._train if problem.solution]
        if not known:
            raise ValueError(f"task {self.name!r} has no solutions to learn from {dict(self._no_solution)}; expected "
                             "task.data.solution = the field that holds them, or warm_start=none")
        return [(known[i], known[i].solution) for i in generator.integers(len(known), size=num).tolist()]

    def decode(self, tokens: Sequence[int]) -> str:
        return self.codec.decode(tokens)

    def encode(self, text: str) -> Tokens:
        return self.codec.encode(text)

    # --------------------------------------------------------------------------------------- rows to problems

    def _flaw(self, row: Row) -> str:
        if not row.prompt.strip():
            return "has an empty prompt"
        if named := [name for name in self.codec.reserved if any(name in t for t in (row.prompt, row.solution or ""))]:
            return f"holds {named[0]!r}, which the tokenizer reads as a special token"
        prompt = self._prompts[row.where] = self.codec.prompt(self._prompt.replace(_SLOT, row.prompt))
        if len(prompt) > self._max_prompt:
            return f"has a prompt of {len(prompt)} tokens; task.max_prompt is {self._max_prompt}"
        return self._grader.flaw(row)

    def _problems(self, split: str, rows: Sequence[tuple[int, Row]]) -> list[Problem]:
        problems = []
        for number, row in rows:
            problems.append(Problem(
                id=f"{split}-{number}", prompt=self._prompts[row.where], answer=row.answer,
                solution=self._solution(row), task=self.name, difficulty="hard" if row.hard else "easy",
                max_response=self._max_response, stop=self.codec.stop, exact_length=False,
            ))  # fmt: skip
            self._rows[problems[-1].id] = row
        return problems

    def _solution(self, row: Row) -> Tokens:
        """The row's solution as a response that ends with its marked answer; () where there is none that serves."""
        if row.solution is None:
            return ()
        text = row.solution.strip()
        if self._grader.stated(text) is None:
            text = f"{text}\n{self._grader.say(row.answer)}".strip()
        tokens = (*self.codec.encode(text), self.codec.stop[0])
        why = ""
        if len(tokens) > self._max_response:
            why = "longer than task.max_response"
        elif self.codec.decode(tokens[:-1]) != text:
            why = "changed by the tokenizer"
        elif not self._grader.grade(row, text).solved:
            why = "refused by its own grader"
        if why:
            self._no_solution[f"worked solution {why}"] += 1
        return () if why else tokens

    def _digest(self, seed: int) -> str:
        said: list[Any] = [self.name, seed, self.codec.fingerprint, self._grader.fingerprint, self._apart]
        said += [(p.id, p.prompt, p.answer, p.solution, p.difficulty, p.max_response)
                 for p in self._train + self._heldout]  # fmt: skip
        return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()


def _some(rows: list[tuple[int, Row]], num: int, seed: int, split: str, *, in_order: bool) -> list[tuple[int, Row]]:
    chosen = rng.generator(seed, f"task.text.{split}").permutation(len(rows))[: num or None]
    return [rows[i] for i in (sorted(chosen.tolist()) if in_order else chosen.tolist())]

