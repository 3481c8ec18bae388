"""What replay knows of each problem: its own success rate e_p, how often it was replayed, whether it is parked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from rrl.replay.arena import pack, unpack
from rrl.replay.columns import Columns
from rrl.types import Problem, Tokens

_COLUMNS = {
    "hash": "<u8",  # of the id; names the problem in random streams
    "root_success": "<f8",  # e_p, from fresh rows only
    "fresh_rows": "<i8",  # rows behind e_p
    "replays": "<i8",  # starts replayed
    "parked": "|b1",
    "root_value": "<f8",  # P(solved) of the bare prompt when last re-scored
}


class ProblemTable:
    """One row a problem ever attempted, numbered in order of first sight."""

    def __init__(self, *, retire_at: float, reopen_below: float) -> None:
        self._retire_at = retire_at
        self._reopen_below = reopen_below
        self.columns = Columns(_COLUMNS)
        self.converted: dict[int, Tokens] = {}
        self._ids: list[str] = []
        self._objects: list[Problem | None] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, problem_id: str) -> int | None:
        return self._numbers.get(problem_id)

    def number(self, problem: Problem) -> int:
        """The problem's row, made on first sight.

        Raises:
            ValueError: this id had another prompt before, so that what is stored of it are prefixes of something else.
        """
        number = self._numbers.get(problem.id)
        if number is None:
            digest = hashlib.blake2b(problem.id.encode(), digest_size=8).digest()
            number = self.columns.add({
                "hash": int.from_bytes(digest, "little"), "root_success": 0.0, "fresh_rows": 0,
                "replays": 0, "parked": False, "root_value": 0.0,
            })
            self._numbers[problem.id] = number
            self._ids.append(problem.id)
            self._objects.append(problem)
            return number
        known = self._objects[number]
        if known is None:
            self._objects[number] = problem
        elif known.prompt != problem.prompt:
            raise ValueError(f"problem {problem.id!r} has another prompt than its stored prefixes continue; expected "
                             "the same one (another prompt template, or two problems of one id?)")
        return number

    def problem(self, number: int) -> Problem:
        problem = self._objects[number]
        assert problem is not None, self._ids[number]
        return problem

    def retired(self, number: int) -> bool:
        """Whether the bare prompt is solved often enough: nothing is admitted or credited any more."""
        return bool(self.retired_of(np.array([number]))[0])

    def retired_of(self, numbers: np.ndarray) -> np.ndarray:
        """``retired`` of many."""
        found: np.ndarray = self.columns["root_success"][numbers] >= self._retire_at
        return found

    def book_fresh(self, numbers: np.ndarray, rows: np.ndarray, solved: np.ndarray, decay: float) -> None:
        """e <- decay^n e + (1 - decay^n) solved / n for a step's n fresh rows of each problem; then park or reopen.

        Grouped by problem, so the order of rows cannot matter. Parked while e >= retire_at, and until
        e < reopen_below: the gap keeps a problem at the threshold from flickering.
        """
        keep = decay ** rows.astype(np.float64)
        success = keep * self.columns["root_success"][numbers] + (1.0 - keep) * solved / rows
        self.columns["root_success"][numbers] = success
        self.columns["fresh_rows"][numbers] += rows
        parked = self.columns["parked"][numbers]
        self.columns["parked"][numbers] = (success >= self._retire_at) | (parked & (success >= self._reopen_below))

    @property
    def ids(self) -> list[str]:
        """Of all problems, by number."""
        return self._ids

    def payload(self, numbers: Iterable[int]) -> dict[str, Any]:
        """What these problems ask."""
        owners = list(numbers)
        problems = [self.problem(n) for n in owners]
        return {
            "owners": np.array(owners, dtype=np.int64),
            "prompt": pack([p.prompt for p in problems]),
            "solution": pack([p.solution for p in problems]),
            "stop": pack([p.stop for p in problems]),
            "answer": [p.answer for p in problems],
            "task": [p.task for p in problems],
            "difficulty": [p.difficulty for p in problems],
            "max_response": np.array([p.max_response for p in problems], dtype=np.int64),
            "exact_length": np.array([p.exact_length for p in problems], dtype=bool),
        }

    def state_dict(self, with_entries: Iterable[int]) -> dict[str, Any]:
        """Everything of the numbers, and the payload of problems that own entries: others come back with a batch."""
        return {
            "columns": self.columns.take(np.arange(len(self))),
            "ids": list(self._ids),
            "converted_of": np.array(sorted(self.converted), dtype=np.int64),
            "converted": pack([self.converted[n] for n in sorted(self.converted)]),
            **self.payload(sorted(with_entries)),
        }

    def load_state_dict(self, state: dict[str, Any], with_entries: Iterable[int]) -> None:
        """Restore. Raises ValueError where a problem ``with_entries`` asks nothing, or what is asked is no problem."""
        said = [text for name in ("ids", "answer", "task", "difficulty") for text in state[name]]
        if odd := [text for text in said if not isinstance(text, str)]:
            raise ValueError(f"stored problems have {odd[0]!r} as id, answer, task or difficulty; expected text")
        self._ids = list(state["ids"])
        self._numbers = {name: number for number, name in enumerate(self._ids)}
        self.columns.fill(state["columns"])
        self.converted = dict(zip(state["converted_of"].tolist(), unpack(state["converted"]), strict=True))
        self._objects = [None] * len(self._ids)
        prompts, solutions, stops = (unpack(state[name]) for name in ("prompt", "solution", "stop"))
        for i, number in enumerate(state["owners"].tolist()):
            self._objects[number] = Problem(
                id=self._ids[number], prompt=prompts[i], answer=state["answer"][i], solution=solutions[i],
                task=state["task"][i], difficulty=state["difficulty"][i],
                max_response=int(state["max_response"][i]), stop=stops[i],
                exact_length=bool(state["exact_length"][i]),
            )
        if not len(self.columns) == len(self._ids) == len(self._numbers):
            raise ValueError(f"{len(self.columns)} rows of stored problems have {len(self._numbers)} ids")
        if lost := [n for n in with_entries if not 0 <= n < len(self._ids) or self._objects[n] is None]:
            raise ValueError(f"stored prefixes are of problem number {lost[0]}, which asks nothing")
        if any(token < 0 for problem in self._objects if problem is not None for token in problem.prompt):
            raise ValueError("a stored problem's prompt has ids below 0")
