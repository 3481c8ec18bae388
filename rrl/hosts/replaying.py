"""What every host does with replay: ask for starts, tell what became of them, save and load.

The host chooses the problems. Which state a problem starts from is a pure function of (state, seed, step, problem):
a group shares one prefix, also where it straddles two processes, as long as all of them were told the same rows.
Every process holds a whole ``HostReplay`` and is told all rows; ``told`` says whether they agree.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrl import checkpoint
from rrl.exploration import Exploration
from rrl.hosts.rows import Row, scored_of
from rrl.hosts.task import HostTask
from rrl.protocols import Replay, ValueEstimator
from rrl.records import Attempt, Progress
from rrl.saver import UNFIT, progress_from, remembered
from rrl.stages import attempts_of
from rrl.types import Metrics, Problem, Start, Tokens

FOLDER = "rrl"
"""Name of our folder inside a host's checkpoint."""

KEPT = 2  # checkpoints that a host keeps at least: two that follow each other share no file of the store


class HostReplay:
    """Replay with a value estimator and the run's progress, counted in the host's own steps.

    Args:
      replay: what is remembered and drawn.
      value: judges states: P(solved) of starts for re-scoring, and of each token where the host has no critic.
      task: spells prefixes.
      solved_at: reward from which a row is solved.
      place_answers: whether ``answers`` gives any.
      fill_rows: rows of every prompt that the host shall sample and tell as ``warm_up`` before its first update.
      settings: what a stored state has to agree with, as plain values; {} = nothing.
      reads_entropy: options that read the sampling entropy, which a host without log-probs cannot tell.
    """

    def __init__(
        self, *, replay: Replay, value: ValueEstimator, task: HostTask, solved_at: float, place_answers: bool,
        fill_rows: int, settings: dict[str, Any], reads_entropy: tuple[str, ...],
    ) -> None:
        if fill_rows < 0:
            raise ValueError(f"host.fill_rows is {fill_rows}; expected >= 0 rows of every prompt")
        self.replay, self.value, self.task, self.settings, self.fill_rows = replay, value, task, settings, fill_rows
        self.solved_at, self._place_answers, self._reads_entropy = solved_at, place_answers, reads_entropy
        self._exploration, self._failed = Exploration(), set[str]()
        self._progress = Progress(step=0, sampled_tokens=0, token_budget=1, history=(), first=None, peak=None)
        self.told = hashlib.blake2b(repr(sorted(settings.items())).encode(), digest_size=8).hexdigest()

    def starts(self, problems: Sequence[Problem], *, step: int, num_steps: int) -> list[Start]:
        """Where the rows of ``problems`` begin at this step; equal problems begin at the same state."""
        progress = self._at(step, num_steps)
        self.replay.rescore(self.value.success, progress)
        chosen = {p.id: p for p in problems}
        starts = {name: self._start(problem, progress) for name, problem in chosen.items()}
        return [starts[p.id] for p in problems]

    def answers(self, problems: Sequence[Problem]) -> list[Tokens | None]:
        """A converted answer for each problem whose bare prompt failed entirely when its group was last seen.

        Prefix credit for hosts with group baselines: among the rows of the bare prompt its advantage is
        R - mean(group), and the group's mean is near 0. As part of a shared prefix it would cancel exactly: the
        advantages of a group add up to 0.
        """
        if not self._place_answers:
            return [None] * len(problems)
        return [self.replay.converted(p) if p.id in self._failed else None for p in problems]

    def observe(self, rows: Sequence[Row], *, step: int, num_steps: int, warm_up: bool = False) -> Metrics:
        """Book a step's rows, those of all processes. Metrics by origin, absent where undefined.

        warm_up: they were sampled before the first update; only admission and the value hear of them.
        """
        if self._reads_entropy and any(row.logprobs is None for row in rows):
            raise ValueError(f"{', '.join(self._reads_entropy)} reads the sampling entropy, but this host reports no "
                             "log-probs of sampled tokens; choose another option, or generate with an engine that does")
        progress = self._at(step, num_steps)
        estimated = self.value.estimate(scored_of(rows, self.solved_at))
        attempts = [self._valued(a, row) for a, row in zip(attempts_of(estimated), rows, strict=True)]
        metrics = self.replay.observe(attempts, progress, warm_up=warm_up) | self.value.fit(estimated, progress)
        explored, signals = self._exploration.observe(attempts, progress)
        self._note_failures(attempts)
        self._tell(rows)
        self._progress = progress.after(tokens=1, signals=None if warm_up else signals)
        return metrics | explored

    def refuse_filling(self, host: str) -> None:
        """For hosts that cannot sample before their first update. Raises ValueError where that was asked for."""
        if self.fill_rows:
            raise ValueError(f"host.fill_rows is {self.fill_rows}, which {host} has no way to sample; expected 0, and "
                             "a store to begin with: rrl-store import")

    def save(self, folder: Path) -> None:
        """Write everything beside ``folder`` and rename it into place: it is there whole, or not at all.

        A large store shares files with the save before the last one, where the host has kept that.
        """
        state = self._state(remembered(self.replay, KEPT))
        checkpoint.save(folder, state, {"settings": self.settings, "step": self._progress.step})

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote.

        Raises:
          ValueError: nothing was saved there, or by another tokenizer or under other settings.
        """
        state, meta = _read(folder)
        changed = sorted(k for k in meta["settings"].keys() | self.settings.keys()
                         if meta["settings"].get(k) != self.settings.get(k))
        if changed and meta["settings"] and self.settings:
            k = changed[0]
            raise ValueError(f"{str(folder)!r} was written with {k} = {meta['settings'].get(k)}, this run has "
                             f"{self.settings.get(k)}; expected the same settings, or a new run")
        _fitting(folder, lambda: self.load_state_dict(state))

    def seed_from(self, folder: Path) -> None:
        """Begin a new run with the store and the counts of a finished or imported one. Raises as ``load``."""
        state, _ = _read(folder)

        def take() -> None:
            kept = {name: state["replay"][name] for name in ("store", "spelling")}
            self.replay.load_state_dict(self.replay.state_dict() | kept)
            self.value.load_state_dict(state["value"])
            self._failed = set(state["failed"])
            self.told = state["told"]

        _fitting(folder, take)

    def state_dict(self) -> dict[str, Any]:
        return self._state(self.replay.state_dict())

    def _state(self, replay: dict[str, Any]) -> dict[str, Any]:
        return {
            "replay": replay, "value": self.value.state_dict(), "failed": sorted(self._failed),
            "exploration": self._exploration.state_dict(), "progress": dataclasses.asdict(self._progress),
            "told": self.told,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.replay.load_state_dict(state["replay"])
        self.value.load_state_dict(state["value"])
        self._exploration.load_state_dict(state["exploration"])
        self._failed, self.told = set(state["failed"]), str(state["told"])
        self._progress = progress_from(state["progress"])

    def _start(self, problem: Problem, progress: Progress) -> Start:
        """With the host's own limits: a store that was seeded knows the problem with another run's."""
        found = self.replay.start(problem, progress)
        if len(found.prefix) >= problem.max_response:
            raise ValueError(
                f"a stored prefix of {len(found.prefix)} tokens of problem {problem.id!r} leaves no room: a response "
                f"may have {problem.max_response}; raise the host's response length, or begin with a store of shorter "
                f"prefixes: replay.filter.length.max_tokens={max(1, problem.max_response - 1)}"
            )
        return Start(problem=problem, prefix=found.prefix)

    def _at(self, step: int, num_steps: int) -> Progress:
        """Fractions of the run are fractions of the host's steps: it ends at a number of them, not of tokens."""
        if num_steps < 1:
            raise ValueError(f"the host's run has {num_steps} steps; expected their number, which schedules go by")
        return dataclasses.replace(self._progress, step=step, sampled_tokens=max(0, min(step, num_steps)),
                                   token_budget=num_steps)

    def _valued(self, attempt: Attempt, row: Row) -> Attempt:
        """With the host's critic where it has one, read as a share of the score range."""
        if row.values is None:
            return attempt
        low, high = self.task.score_range
        share = np.clip((np.asarray(row.values, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
        return dataclasses.replace(attempt, value=share.astype(np.float32))

    def _note_failures(self, attempts: Sequence[Attempt]) -> None:
        """Problems whose bare rows of this step all failed; one solved row takes a problem off the list."""
        bare = [a for a in attempts if not a.start.replayed]
        solved = {a.start.problem.id for a in bare if a.solved}
        self._failed |= {a.start.problem.id for a in bare}
        self._failed -= solved

    def _tell(self, rows: Sequence[Row]) -> None:
        """Chain a digest of what was told, so that processes can compare theirs without sending their stores."""
        said = sorted((row.start.problem.id, row.start.prefix, row.tokens, row.score) for row in rows)
        self.told = hashlib.blake2b(repr((self.told, said)).encode(), digest_size=8).hexdigest()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is not there: no state of replay was saved beside this checkpoint of the "
                         "host; resume from an earlier checkpoint that has one, or begin a new run")
    return checkpoint.load(folder)


def _fitting(folder: Path, take: Callable[[], None]) -> None:
    try:
        take()
    except UNFIT as error:
        raise ValueError(f"the state of replay in {str(folder)!r} does not fit this run: {error}") from error
