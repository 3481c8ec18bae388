"""``keychain``: a task whose difficulty is *suppression*. A decoy pays more than any untrained key.

Every key k owns a table f_k, a permutation of the symbols. A hard problem names only an id and a
start symbol; its right key K* is a secret of that id. The right response is K* and then the chain
s_j = f_K*(s_{j-1}). A policy that knows the tables still gains only 1 / num_keys by guessing a key,
less than the decoy pays, so it learns the decoy and never comes back: able, yet stuck. Easy problems
give the key in the prompt and teach the tables. Every response has an exact length; the decoy ends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from rrl import rng
from rrl.protocols import Outcome
from rrl.task.words import Words
from rrl.types import Problem, Tokens

PAD, EASY, HARD, UNUSED, DECOY, FIRST_KEY = range(6)


def chain(tables: np.ndarray, key: int, symbol: int, length: int) -> list[int]:
    """Symbols s_1..s_length with s_j = tables[key, s_{j-1}], s_0 = ``symbol``.

    Example: tables[key] = (2, 0, 1), symbol 0, length 4 -> [2, 1, 0, 2].
    """
    found = []
    for _ in range(length):
        symbol = int(tables[key, symbol])
        found.append(symbol)
    return found


class Keychain:
    """Problems, score and demonstrations of ``keychain``.

    Hard prompt ``H id s0``, response ``K* s1 .. sL``; easy prompt ``E id s0 K``, response ``s1 .. sL``:
    the key stands at the same position in both. Held-out problems have the same ids and another s0.

    Args:
      num_keys, num_symbols, num_hard, num_easy: counts; one id token for every problem.
      chain_length: L, table look-ups in a right response, >= 1.
      decoy_score: score of a hard response that begins with the decoy, in [0, 1).
      demo_noise: probability that a demonstrated look-up is replaced by a uniform symbol, in [0, 1].
      demo_decoy_frac: share of hard demonstrations that are the decoy, in [0, 1].
      demo_hard_frac: share of hard demonstrations, in [0, 1].
      shared_key: True = K* is a function of s0, the same for all ids; False = of the id.
    """

    name = "keychain"
    score_range = (0.0, 1.0)
    pad = PAD

    def __init__(
        self, *, seed: int, num_keys: int, num_symbols: int, num_hard: int, num_easy: int, chain_length: int,
        decoy_score: float, demo_noise: float, demo_decoy_frac: float, demo_hard_frac: float, shared_key: bool,
    ) -> None:
        given = {
            "seed": seed, "num_keys": num_keys, "num_symbols": num_symbols, "num_hard": num_hard, "num_easy": num_easy,
            "chain_length": chain_length, "decoy_score": decoy_score, "demo_noise": demo_noise,
            "demo_decoy_frac": demo_decoy_frac, "demo_hard_frac": demo_hard_frac, "shared_key": shared_key,
        }
        _check(given)
        self.fingerprint = hashlib.blake2b(repr((self.name, sorted(given.items()))).encode(), digest_size=8).hexdigest()
        self.num_keys, self.num_symbols, self.num_ids = num_keys, num_symbols, num_hard + num_easy
        self.chain_length, self.decoy_score = chain_length, decoy_score
        self.demo_noise, self.demo_decoy_frac, self.demo_hard_frac = demo_noise, demo_decoy_frac, demo_hard_frac
        self._first_symbol = FIRST_KEY + num_keys
        self._first_id = self._first_symbol + num_symbols
        self._words = Words([
            "PAD", "E", "H", "UNUSED", "D", *(f"K{k}" for k in range(num_keys)),
            *(f"s{s}" for s in range(num_symbols)), *(f"id{i}" for i in range(self.num_ids)),
        ])
        self.vocab_size = len(self._words)

        generator = rng.generator(seed, "task.keychain.tables")
        self.tables = generator.permuted(np.tile(np.arange(num_symbols), (num_keys, 1)), axis=1)
        key_of_symbol = generator.integers(num_keys, size=num_symbols)
        generator = rng.generator(seed, "task.keychain.problems")
        key_of_id = generator.integers(num_keys, size=self.num_ids)
        train_symbol = generator.integers(num_symbols, size=self.num_ids)
        hard_key = key_of_symbol[train_symbol] if shared_key else key_of_id
        self._train = self._problems("train", num_hard, hard_key, key_of_id, train_symbol)
        generator = rng.generator(seed, "task.keychain.heldout")
        # 1..num_symbols-1 further on: never the training symbol.
        other_symbol = (train_symbol + generator.integers(1, num_symbols, size=self.num_ids)) % num_symbols
        other_key = (key_of_id + generator.integers(1, num_keys, size=self.num_ids)) % num_keys
        hard_key = key_of_symbol[other_symbol] if shared_key else key_of_id
        self._heldout = self._problems("heldout", num_hard, hard_key, other_key, other_symbol)

    def _problems(
        self, split: str, num_hard: int, hard_key: np.ndarray, easy_key: np.ndarray, symbol: np.ndarray
    ) -> list[Problem]:
        return [
            self._problem(f"{split}-{'hard' if i < num_hard else 'easy'}-{i}", i < num_hard, i, int(symbol[i]),
                          int(hard_key[i] if i < num_hard else easy_key[i]), solved=True)
            for i in range(self.num_ids)
        ]

    def _problem(self, name: str, hard: bool, index: int, symbol: int, key: int, *, solved: bool) -> Problem:
        prompt = (HARD if hard else EASY, self._first_id + index, self._first_symbol + symbol)
        key_token = (FIRST_KEY + key,)
        solution: Tokens = ()
        if solved:
            solution = tuple(self._first_symbol + s for s in chain(self.tables, key, symbol, self.chain_length))
            solution = key_token + solution if hard else solution
        return Problem(
            id=name, prompt=prompt if hard else prompt + key_token, answer=self.decode(solution), solution=solution,
            task=self.name, difficulty="hard" if hard else "easy", max_response=self.chain_length + hard,
            stop=(DECOY,), exact_length=True,
        )

    def train_problems(self) -> list[Problem]:
        """Hard problems, then easy ones."""
        return list(self._train)

    def eval_problems(self) -> list[Problem]:
        """Held-out: the same ids from another start symbol; easy ones with another key besides."""
        return list(self._heldout)

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """1 and solved if every token is right; ``decoy_score`` for the decoy at once on hard; else 0."""
        if response and response == problem.solution:
            return Outcome(1.0, True)
        if problem.difficulty == "hard" and response[:1] == (DECOY,):
            return Outcome(self.decoy_score, False)
        return Outcome(0.0, False)

    def right_prefix(self, problem: Problem) -> Tokens:
        """The right key of a hard problem; () for an easy one, whose prompt gives it."""
        return problem.solution[:1] if problem.difficulty == "hard" else ()

    def wrong_prefixes(self, problem: Problem) -> list[Tokens]:
        """The other keys of a hard problem; none for an easy one."""
        right = self.right_prefix(problem)
        return [(FIRST_KEY + k,) for k in range(self.num_keys) if right and (FIRST_KEY + k,) != right]

    def steps(self, problem: Problem, response: Tokens) -> list[int]:  # noqa: ARG002 - the door passes the problem
        """Every boundary between two tokens: 1..len - 1."""
        return list(range(1, len(response)))

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Noisy demonstrations of random ids and symbols with uniform keys (never the secret ones).

        A look-up is right *given the symbol shown before it*, also after a wrong one, with probability
        1 - demo_noise + demo_noise / num_symbols. Their problems carry no solution.
        """
        hard = generator.random(num) < self.demo_hard_frac
        decoy = hard & (generator.random(num) < self.demo_decoy_frac)
        index = generator.integers(self.num_ids, size=num)
        key = generator.integers(self.num_keys, size=num)
        shown = [generator.integers(self.num_symbols, size=num)]
        for _ in range(self.chain_length):
            noisy = generator.random(num) < self.demo_noise
            shown.append(np.where(noisy, generator.integers(self.num_symbols, size=num), self.tables[key, shown[-1]]))
        symbols = np.stack(shown, axis=1)
        responses = np.concatenate([key[:, None] + FIRST_KEY, symbols[:, 1:] + self._first_symbol], axis=1).tolist()

        made: dict[tuple[int, ...], Problem] = {}  # prompts repeat: build each problem once
        rows = []
        each = zip(hard.tolist(), index.tolist(), symbols[:, 0].tolist(), key.tolist(), strict=True)
        for n, (h, i, s, k) in enumerate(each):
            what = (h, i, s, -1 if h else k)
            if what not in made:
                made[what] = self._problem("demo-" + "-".join(map(str, what)), h, i, s, k, solved=False)
            response = tuple(responses[n]) if h else tuple(responses[n][1:])
            rows.append((made[what], (DECOY,) if decoy[n] else response))
        return rows

    def decode(self, tokens: Sequence[int]) -> str:
        """Readable text such as ``H id17 s3 | K4 s1 s0 s2 s2``."""
        first = tokens[0] if tokens else PAD
        return self._words.decode(tokens, {HARD: 3, EASY: 4}.get(first, 0))

    def encode(self, text: str) -> Tokens:
        """The inverse of ``decode``."""
        return self._words.encode(text)


def _check(given: dict[str, int | float | bool]) -> None:
    least = {"num_keys": 2, "num_symbols": 2, "num_hard": 0, "num_easy": 0, "chain_length": 1}
    for key, bound in least.items():
        if given[key] < bound:
            raise ValueError(f"task.{key} is {given[key]}; expected >= {bound}")
    if given["num_hard"] + given["num_easy"] < 1:
        raise ValueError("task.num_hard and task.num_easy are both 0; expected at least one problem")
    for key in ("demo_noise", "demo_decoy_frac", "demo_hard_frac"):
        if not 0 <= given[key] <= 1:
            raise ValueError(f"task.{key} is {given[key]}; expected a number in [0, 1]")
    if not 0 <= given["decoy_score"] < 1:
        raise ValueError(f"task.decoy_score is {given['decoy_score']}; expected a number in [0, 1): right pays 1")
