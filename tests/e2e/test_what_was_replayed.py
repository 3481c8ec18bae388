"""In a real run: every drawn state was stored earlier, begins a rollout that happened, and is continued exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rrl import loop
from rrl.protocols import Replay
from rrl.records import Attempt, Progress
from rrl.saver import first_progress
from rrl.types import Metrics, Problem, Start, Tokens
from tests.small import small_house


@dataclass
class Witness:
    """A Replay that passes everything on and writes down what it saw."""

    inner: Replay
    drawn: list[tuple[int, list[Start]]] = field(default_factory=list)
    observed: list[tuple[int, list[Attempt]]] = field(default_factory=list)
    credited: list[tuple[Start, Tokens, float]] = field(default_factory=list)

    def rescore(self, success: Callable[..., Any], progress: Progress) -> None:
        self.inner.rescore(success, progress)

    def draw(self, progress: Progress, num_starts: int) -> list[Start]:
        starts = self.inner.draw(progress, num_starts)
        self.drawn.append((progress.step, starts))
        return starts

    def start(self, problem: Problem, progress: Progress) -> Start:
        return self.inner.start(problem, progress)

    def converted(self, problem: Problem) -> Tokens | None:
        return self.inner.converted(problem)

    def lessons(self, attempts: Sequence[Attempt]) -> list[tuple[Start, Tokens, float]]:
        lessons = self.inner.lessons(attempts)
        self.credited += lessons
        return lessons

    def observe(self, attempts: Sequence[Attempt], progress: Progress, *, warm_up: bool = False) -> Metrics:
        self.observed.append((progress.step, list(attempts)))
        return self.inner.observe(attempts, progress, warm_up=warm_up)

    def rows(self) -> list[dict[str, Any]]:
        return self.inner.rows()

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)


def run_watched(tmp_path: Path, *overrides: str) -> Witness:
    house = small_house(tmp_path / "run", *overrides)
    witness = Witness(house.replay)
    house = replace(house, replay=witness)
    progress = loop.warm_up(house, first_progress(house.run), lambda p: None)
    loop.train(house, progress, lambda p: None)
    return witness


def test_every_replayed_state_was_stored_before_and_is_continued_exactly(tmp_path: Path) -> None:
    seen = run_watched(tmp_path, "replay/schedule=constant")
    replays = [(step, start) for step, starts in seen.drawn for start in starts]
    assert len(replays) > 50

    # each drawn state is a strict beginning of a response that was really given, at an earlier step, and failed
    for step, start in replays:
        happened = [
            a
            for when, attempts in seen.observed
            if when < step
            for a in attempts
            if a.start.problem.id == start.problem.id and a.response[: len(start.prefix)] == start.prefix
        ]
        assert any(len(a.response) > len(start.prefix) and not a.solved for a in happened)

    # every drawn start was rolled out in that very step, once for each time it was drawn, after the fresh ones
    for step, starts in seen.drawn:
        attempts = next(a for when, a in seen.observed if when == step)
        assert [a.start.key for a in attempts if a.start.replayed] == [s.key for s in starts]
        assert all(not a.start.replayed for a in attempts[: len(attempts) - len(starts)])

    # its outcome was counted once: uses in the store = times drawn, wins = times solved
    uses: dict[str, int] = {}
    wins: dict[str, int] = {}
    for _, attempts in seen.observed:
        for a in attempts:
            if a.start.replayed:
                uses[a.start.key] = uses.get(a.start.key, 0) + 1
                wins[a.start.key] = wins.get(a.start.key, 0) + a.solved
    stored = {row["key"]: row for row in seen.rows()}
    counted = [key for key in uses if key in stored]  # the others were evicted since
    assert counted and all(stored[k]["uses"] == uses[k] and stored[k]["wins"] == wins[k] for k in counted)


def test_credit_goes_to_the_prefix_tokens_of_converted_replays_only(tmp_path: Path) -> None:
    seen = run_watched(
        tmp_path, "replay/schedule=constant", "warm_start.steps=300", "warm_start.batch=128", "run.token_budget=8000"
    )
    converted = {
        (a.start.problem.id, a.start.prefix)
        for _, attempts in seen.observed
        for a in attempts
        if a.solved and a.start.replayed
    }
    assert converted
    assert seen.credited
    for start, tokens, weight in seen.credited:
        assert start.prefix == () and (start.problem.id, tokens) in converted and weight > 0.0
