"""Which replayed prefixes turned from failing to solved: a bounded record of what each one brought, step by step.

A prefix has *turned* when no row of the first step that replayed it was solved, and a row of a later step was. The
store forgets a prefix that it evicts; this record keeps the words of those that turned, so that people can read what
replay opened. It decides nothing and no metric comes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rrl.records import Attempt
from rrl.types import Tokens, plain

if TYPE_CHECKING:
    from rrl.build import House

_MOST_PENDING = 20_000  # prefixes that only failed so far: about 100 bytes each, the longest unused are forgotten first
_MOST_TURNED = 200  # kept with their tokens: more than a person reads; those with most failures before stay
_MOST_TRIES = 24  # steps told of one prefix: the first one and the newest

Try = tuple[int, int, int]  # step, rows, solved rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A prefix that turned. failures: rows before the first solved one's step.  continuation: of a solved row of
    that step.  given tokens are marked, as in a ``Start``."""

    problem: str
    prompt: Tokens
    prefix: Tokens
    continuation: Tokens
    failures: int
    turned_step: int


class Turned:
    """Stateful observer of replayed rows."""

    def __init__(self) -> None:
        self._tries: dict[str, list[Try]] = {}  # of prefixes that failed at first, by key, the longest unused first
        self._turns: dict[str, Turn] = {}

    def observe(self, attempts: Sequence[Attempt], step: int) -> None:
        """Book a step's replayed rows, grouped by prefix, so that their order cannot matter."""
        rows: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            if attempt.start.replayed:
                rows.setdefault(attempt.start.key, []).append(attempt)
        for key in sorted(rows):
            solved = [a for a in rows[key] if a.solved]
            tries = self._tries.pop(key, None)
            if tries is None and solved:
                continue  # it did not fail at first
            before, tries = sum(n for _, n, _ in tries or []), tries or []
            self._tries[key] = [*tries[:1], *tries[1:][-(_MOST_TRIES - 2) :], (step, len(rows[key]), len(solved))]
            if tries and solved and key not in self._turns:
                first = min(solved, key=lambda a: a.tokens)
                self._turns[key] = Turn(
                    problem=first.start.problem.id, prompt=first.start.problem.prompt, prefix=first.start.prefix,
                    continuation=first.tokens, failures=before, turned_step=step,
                )  # fmt: skip
        self._forget()

    def rows(self, decode: Callable[[Tokens], str]) -> list[dict[str, Any]]:
        """One plain row a prefix that turned, most failures before it first. decode: token ids to text."""
        found = []
        for key, turn in self._turns.items():
            texts = {n: decode(plain(getattr(turn, n))) for n in ("prompt", "prefix", "continuation")}
            told = {"failures": turn.failures, "turned_step": turn.turned_step, "tries": self._tries[key]}
            found.append({"key": key, "problem": turn.problem} | texts | told)
        return sorted(found, key=lambda r: (-r["failures"], r["key"]))

    def state_dict(self) -> dict[str, Any]:
        """In the order of use, which decides what is forgotten first."""
        return {
            "tries": [[key, [list(t) for t in tries]] for key, tries in self._tries.items()],
            "turns": {key: asdict(self._turns[key]) for key in sorted(self._turns)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._tries = {str(key): [(int(s), int(n), int(k)) for s, n, k in tries] for key, tries in state["tries"]}
        self._turns = {
            key: Turn(**turn | {n: tuple(turn[n]) for n in ("prompt", "prefix", "continuation")})
            for key, turn in state["turns"].items()
        }

    def _forget(self) -> None:
        while len(self._turns) > _MOST_TURNED:
            least = min(self._turns, key=lambda k: (self._turns[k].failures, k))
            del self._turns[least], self._tries[least]
        if len(self._tries) - len(self._turns) <= _MOST_PENDING:
            return
        pending = [key for key in self._tries if key not in self._turns]
        for key in pending[: len(pending) - _MOST_PENDING]:
            del self._tries[key]


def prefix_rows(house: House) -> list[dict[str, Any]]:
    """The store's states with their text and prompt, most used first, for the report's page of prefixes."""
    rows = sorted(house.replay.rows(), key=lambda r: (-r["uses"], r["key"]))
    decode, prompts = house.policy.decode, {p.id: p.prompt for p in house.task.train_problems()}
    return [
        r | {"text": decode(plain(tuple(r["tokens"]))), "prompt": decode(prompts.get(r["problem"], ()))} for r in rows
    ]
