"""``arith_chain``: a task whose difficulty is *length*. Every one of L intermediate digits must be right.

A prompt holds ``length`` operator slots and a start digit; the response is every intermediate result
mod 10. With per-step skill p the whole succeeds with p^L and there is no partial credit and no decoy.
This is the plain form. A form with visible status would add ten flagged digits after the operators
(vocabulary only grows at its end) and show them as context; no such thing is built in here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from rrl import rng
from rrl.protocols import Outcome
from rrl.task.words import Words
from rrl.types import Problem, Tokens

PAD, FIRST_DIGIT, FIRST_OP = 0, 1, 11
OPS = (*((1, add) for add in range(1, 10)), (3, 0), (7, 0), (9, 0))
"""(factor, addend) of each operator: d -> (factor * d + addend) mod 10. All are permutations of the digits."""
RESULT = np.array([[(factor * d + add) % 10 for d in range(10)] for factor, add in OPS])
"""[operator, digit] -> digit."""


def results(ops: Sequence[int], digit: int) -> list[int]:
    """Every intermediate digit. Example: ops (+1, x3) = indices (0, 9), digit 4 -> [5, 5]."""
    found = []
    for op in ops:
        digit = int(RESULT[op, digit])
        found.append(digit)
    return found


class ArithChain:
    """Problems, score and demonstrations of ``arith_chain``.

    Prompt: ``length`` operator slots, then the start digit. A short problem leaves its trailing slots
    PAD, an ordinary token there, so the operator of step j always stands ``length`` positions before
    the token that step reads, and a step looks the same wherever it is.

    Args:
      length: L of hard problems and number of operator slots, >= 2.
      num_hard, num_heldout: training and held-out problems of that length.
      num_short, short_length: further training problems ("easy") of that length; 0 = none.
      misconception_frac: share of the 120 (operator, digit) cells that demonstrations mostly get wrong.
      misconception_right: probability that such a cell is shown right; else always the same wrong digit.
      demo_right: probability that any other cell is shown right; else a uniform wrong digit.
    """

    name = "arith_chain"
    score_range = (0.0, 1.0)
    pad = PAD

    def __init__(
        self, *, seed: int, length: int, num_hard: int, num_heldout: int, num_short: int, short_length: int,
        misconception_frac: float, misconception_right: float, demo_right: float,
    ) -> None:
        given = {
            "seed": seed, "length": length, "num_hard": num_hard, "num_heldout": num_heldout, "num_short": num_short,
            "short_length": short_length, "misconception_frac": misconception_frac,
            "misconception_right": misconception_right, "demo_right": demo_right,
        }
        _check(length, num_hard, num_short, short_length, misconception_frac, misconception_right, demo_right)
        self.fingerprint = hashlib.blake2b(repr((self.name, sorted(given.items()))).encode(), digest_size=8).hexdigest()
        self.length, self.misconception_right, self.demo_right = length, misconception_right, demo_right
        self._words = Words([
            "PAD", *(str(d) for d in range(10)), *(f"+{add}" if add else f"x{factor}" for factor, add in OPS),
        ])
        self.vocab_size = len(self._words)

        generator = rng.generator(seed, "task.arith_chain.misconceptions")
        cells = generator.permutation(RESULT.size)[: round(misconception_frac * RESULT.size)]
        self.misconception = np.zeros(RESULT.shape, dtype=bool)
        self.misconception.flat[cells] = True
        self.wrong = (RESULT + generator.integers(1, 10, size=RESULT.shape)) % 10

        hard = self._draw(num_hard + num_heldout, length, rng.generator(seed, "task.arith_chain.hard"))
        short = self._draw(num_short, short_length, rng.generator(seed, "task.arith_chain.short"))
        self._train = [self._problem(f"train-hard-{i}", ops, d) for i, (ops, d) in enumerate(hard[:num_hard])]
        self._train += [self._problem(f"train-easy-{i}", ops, d) for i, (ops, d) in enumerate(short)]
        self._heldout = [self._problem(f"heldout-hard-{i}", ops, d) for i, (ops, d) in enumerate(hard[num_hard:])]

    @staticmethod
    def _draw(num: int, length: int, generator: np.random.Generator) -> list[tuple[list[int], int]]:
        """``num`` distinct (operators, start digit): drawn until new, so splits cannot share one."""
        found: dict[tuple[int, ...], None] = {}
        while len(found) < num:
            found[tuple(generator.integers(len(OPS), size=length).tolist()) + (int(generator.integers(10)),)] = None
        return [(list(key[:-1]), key[-1]) for key in found]

    def _prompt(self, ops: Sequence[int], digit: int) -> Tokens:
        return (*(FIRST_OP + op for op in ops), *[PAD] * (self.length - len(ops)), FIRST_DIGIT + digit)

    def _problem(self, name: str, ops: Sequence[int], digit: int) -> Problem:
        solution = tuple(FIRST_DIGIT + d for d in results(ops, digit))
        return Problem(
            id=name, prompt=self._prompt(ops, digit), answer=self.decode(solution), solution=solution, task=self.name,
            difficulty="hard" if len(ops) == self.length else "easy", max_response=len(ops), stop=(), exact_length=True,
        )

    def train_problems(self) -> list[Problem]:
        """Hard problems, then short ones."""
        return list(self._train)

    def eval_problems(self) -> list[Problem]:
        """Held-out problems of full length, none of them a training problem."""
        return list(self._heldout)

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """1 and solved if every digit is right, else 0: the last digit alone is right by luck in 1 of 10."""
        solved = response == problem.solution
        return Outcome(float(solved), solved)

    def right_prefix(self, problem: Problem) -> Tokens:
        """The right first half."""
        return problem.solution[: len(problem.solution) // 2]

    def wrong_prefixes(self, problem: Problem) -> list[Tokens]:
        """The right first half with its last digit replaced, in the nine ways there are."""
        right = self.right_prefix(problem)
        others = range(FIRST_DIGIT, FIRST_DIGIT + 10)
        return [(*right[:-1], d) for d in others if right and d != right[-1]]

    def steps(self, problem: Problem, response: Tokens) -> list[int]:  # noqa: ARG002 - the door passes the problem
        """Every boundary between two digits: 1..len - 1."""
        return list(range(1, len(response)))

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Noisy demonstrations of random problems of 1..length steps, uniform in length.

        A step is right or wrong *given the digit shown before it*. Their problems carry the true solution.
        """
        lengths = generator.integers(1, self.length + 1, size=num)
        ops = generator.integers(len(OPS), size=(num, self.length))
        shown = [generator.integers(10, size=num)]
        for j in range(self.length):
            cell = (ops[:, j], shown[-1])
            mistaken = self.misconception[cell]
            right = generator.random(num) < np.where(mistaken, self.misconception_right, self.demo_right)
            slip = (RESULT[cell] + generator.integers(1, 10, size=num)) % 10
            shown.append(np.where(right, RESULT[cell], np.where(mistaken, self.wrong[cell], slip)))
        digits = (np.stack(shown[1:], axis=1) + FIRST_DIGIT).tolist()
        each = zip(lengths.tolist(), ops.tolist(), shown[0].tolist(), digits, strict=True)
        return [(self._problem(f"demo-{n}", row[:m], d), tuple(said[:m])) for n, (m, row, d, said) in enumerate(each)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Readable text such as ``+3 x7 PAD 4 | 7 9``."""
        return self._words.decode(tokens, self.length + 1 if tokens and tokens[0] >= FIRST_OP else 0)

    def encode(self, text: str) -> Tokens:
        """The inverse of ``decode``."""
        return self._words.encode(text)


def _check(length: int, num_hard: int, num_short: int, short_length: int, *fractions: float) -> None:
    if length < 2:
        raise ValueError(f"task.length is {length}; expected >= 2")
    if num_hard < 1:
        raise ValueError(f"task.num_hard is {num_hard}; expected >= 1")
    if not 1 <= short_length < length:
        raise ValueError(f"task.short_length is {short_length}; expected 1..{length - 1}, below task.length")
    if 2 * num_short > 10 * len(OPS) ** short_length:
        raise ValueError(f"task.num_short is {num_short}; expected at most half of those of {short_length} steps")
    for key, value in zip(("misconception_frac", "misconception_right", "demo_right"), fractions, strict=True):
        if not 0 <= value <= 1:
            raise ValueError(f"task.{key} is {value}; expected a number in [0, 1]")
