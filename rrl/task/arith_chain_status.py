"""``arith_chain_status``: ``arith_chain`` where a step that went wrong becomes visible.

After every digit the environment says how it stands: the same digit where everything so far is right, its *flagged*
copy (``7!``) from the first wrong digit on, like a failing test shown after each step. What is right instead it never
says. Difficulty is still length (p^L); but a value can now see that a prefix is still right, from short problems alone.

A stricter form would put the flagged digit in the place of the plain one. Here the sampled digit stays where it was
sampled and its copy follows, for the tokens of a response are the policy's own. Both tell the next step the same: the
last token that it reads is the digit, flagged or not. To keep every operator at one distance from the token that its
step reads, all tokens of the prompt stand twice as well: step j = 0, 1, .. reads at column 2 L + 1 + 2 j, its operator
stands at 2 j and 2 j + 1, in problems of every length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rrl.protocols import Outcome
from rrl.task.arith_chain import FIRST_DIGIT, FIRST_OP, ArithChain
from rrl.task.words import Words
from rrl.types import Problem, Tokens, sampled


class ArithChainStatus:
    """Problems, score, demonstrations and status of ``arith_chain_status``.

    Problems and misconceptions are those of ``arith_chain`` with the same seed and numbers. Whether a digit is right is
    judged by the solution; every operator is a permutation, so one wrong step alone never comes back to it.

    Args: as ``ArithChain``, except
      short_length: short problems have 1..short_length steps, ``num_short`` of *each* length.
    """

    name = "arith_chain_status"
    score_range = (0.0, 1.0)

    def __init__(
        self, *, seed: int, length: int, num_hard: int, num_heldout: int, num_short: int, short_length: int,
        misconception_frac: float, misconception_right: float, demo_right: float,
    ) -> None:
        if short_length < 1:
            raise ValueError(f"task.short_length is {short_length}; expected >= 1")
        chains = [
            ArithChain(
                seed=seed, length=length, num_hard=num_hard, num_heldout=num_heldout, num_short=num_short,
                short_length=steps, misconception_frac=misconception_frac, misconception_right=misconception_right,
                demo_right=demo_right,
            )
            for steps in range(1, short_length + 1)
        ]
        self._chain = chains[-1]  # hard problems and misconceptions are the same in all
        self.fingerprint = hashlib.blake2b(f"{self.name} {self._chain.fingerprint}".encode(), digest_size=8).hexdigest()
        self._first_flagged = self._chain.vocab_size
        plain = [self._chain.decode((token,)) for token in range(self._first_flagged)]
        self._words = Words([*plain, *(f"{digit}!" for digit in range(10))])
        self.vocab_size, self.pad, self.max_given = len(self._words), self._chain.pad, length - 1

        train = [p for p in self._chain.train_problems() if p.difficulty == "hard"]
        for steps, chain in enumerate(chains, start=1):
            short = [p for p in chain.train_problems() if p.difficulty == "easy"]
            train += [replace(p, id=f"{p.id}-{steps}") for p in short]
        self._train = [self._twice(p) for p in train]
        self._heldout = [self._twice(p) for p in self._chain.eval_problems()]

    def _twice(self, problem: Problem) -> Problem:
        """The problem of ``arith_chain`` with every token of its prompt doubled."""
        return replace(problem, prompt=tuple(t for token in problem.prompt for t in (token, token)), task=self.name)

    def observe(self, problem: Problem, response: Tokens) -> Tokens:
        """The last digit again, flagged once a digit was wrong. A token that is no digit is said again as it is."""
        own = sampled(response)
        number = own[-1] - FIRST_DIGIT
        right = own == problem.solution[: len(own)]
        return own[-1:] if right or not 0 <= number < 10 else (self._first_flagged + number,)

    def train_problems(self) -> list[Problem]:
        """Hard problems, then short ones, shortest first."""
        return list(self._train)

    def eval_problems(self) -> list[Problem]:
        """Held-out problems of full length, none of them a training problem."""
        return list(self._heldout)

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """1 and solved if every digit is right, else 0."""
        return self._chain.score(problem, sampled(response))

    def right_prefix(self, problem: Problem) -> Tokens:
        """The right first half."""
        return self._chain.right_prefix(problem)

    def wrong_prefixes(self, problem: Problem) -> list[Tokens]:
        """The right first half with its last digit replaced, in the nine ways there are."""
        return self._chain.wrong_prefixes(problem)

    def steps(self, problem: Problem, response: Tokens) -> list[int]:  # noqa: ARG002 - the door passes the problem
        """The place of every digit but the first. Ids 5, 5 with their status, then 4: (5, -6, 5, -6, 4) -> [2, 4]."""
        return [place for place, token in enumerate(response) if token >= 0][1:]

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Those of ``arith_chain``; what the environment says to them follows from ``observe``."""
        return [(self._twice(problem), said) for problem, said in self._chain.demonstrations(num, generator)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Readable text such as ``+3 +3 PAD PAD 4 4 | 8 8!``."""
        prompt = bool(tokens) and FIRST_OP <= tokens[0] < self._first_flagged
        return self._words.decode(tokens, 2 * (self._chain.length + 1) if prompt else 0)

    def encode(self, text: str) -> Tokens:
        """The inverse of ``decode``."""
        return self._words.encode(text)
