"""What a run remembers and decides, as plain Python and numpy: no tensor, no model.

These are the nouns that other people's trainers can fill too: ``Attempt`` goes into ``Replay``,
``Start`` comes out of it. P is the candidate axis. Ages are in steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int64

from rrl.types import Problem, Start, Tokens, prefix_key

ORIGINS = ("rollout", "replay", "canonical")  # of a prefix; the store keeps the place in this tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One finished rollout: what ranks gather and what hosts can fill.

    tokens: after ``start.prefix``, given ones marked (see ``rrl.starts``).  value: P(solved) before
    each of them, [0, 1], float array of the same length (a host without a critic fills its problem's
    success rate).  entropy: of the sampling distribution at each of them, nats.  At a given token both
    are placeholders: the value of the next sampled token, and 0.  ended: False where the length limit cut it.
    """

    start: Start
    tokens: Tokens
    value: np.ndarray
    entropy: np.ndarray
    score: float
    solved: bool
    ended: bool

    def __post_init__(self) -> None:
        if not (len(self.tokens) == len(self.value) == len(self.entropy)):
            raise ValueError(
                f"Attempt of {self.start.problem.id!r}: tokens, value and entropy have lengths "
                f"{len(self.tokens)}, {len(self.value)}, {len(self.entropy)}; expected equal lengths"
            )

    @property
    def response(self) -> Tokens:
        """The whole response: replayed prefix and continuation, given tokens marked."""
        return self.start.prefix + self.tokens

    @property
    def own(self) -> np.ndarray:
        """[T] bool: which of ``tokens`` were sampled."""
        return np.asarray(self.tokens, dtype=np.int64) >= 0

    @property
    def num_sampled(self) -> int:
        return len(self.tokens) if min(self.tokens, default=0) >= 0 else int(self.own.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A state worth remembering, as proposed by admission. What changes later is a store column.

    origin: "rollout" (from a fresh attempt), "replay" (from a replayed one) or "canonical".
    born_value: P(solved) at the cut when proposed.  depth_frac: len(tokens) / length of the whole
    response it was cut from.  parent: key of the start it came from.
    """

    problem: Problem
    tokens: Tokens
    origin: str
    born_step: int
    born_value: float
    depth_frac: float
    parent: str

    def __post_init__(self) -> None:
        if not self.tokens:
            raise ValueError(f"Prefix.tokens of {self.problem.id!r} is empty; a fresh start is not stored")
        if self.origin not in ORIGINS:
            raise ValueError(f"Prefix.origin is {self.origin!r}; expected rollout, replay or canonical")

    @property
    def key(self) -> str:
        return prefix_key(self.problem.id, self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Store columns of a short list of states of *one* problem, as selection sees them; of many problems, whose name
    is then "", where a ``RowwiseSelection`` ranks them in one call.

    problem: its id.  value/value_std: P(solved), last re-scored, and its standard deviation (0 = unknown).
    born_value: P(solved) when stored.  score_age: steps since re-scored.  tries/conversions:
    decayed counts n and c.  root_success: e_p of the problem, same for all.  root_value: P(solved)
    of the bare problem when last re-scored.  idle: steps since last replayed or stored.  td: largest change
    of P(solved) in one token, the outcome included, on the last way from the state, [0, 1].
    """

    problem: str
    depth: Int64[np.ndarray, "P"]
    depth_frac: Float64[np.ndarray, "P"]
    value: Float64[np.ndarray, "P"]
    value_std: Float64[np.ndarray, "P"]
    born_value: Float64[np.ndarray, "P"]
    score_age: Int64[np.ndarray, "P"]
    tries: Float64[np.ndarray, "P"]
    conversions: Float64[np.ndarray, "P"]
    born_step: Int64[np.ndarray, "P"]
    idle: Int64[np.ndarray, "P"]
    td: Float64[np.ndarray, "P"]
    root_success: float | Float64[np.ndarray, "P"]
    root_value: float | Float64[np.ndarray, "P"]

    def __len__(self) -> int:
        return len(self.depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a schedule decides: the replayed share of the batch, the share of the store that may be
    drawn (best first), and the largest relative depth t/T of a replayed state. All in [0, 1]."""

    fraction: float
    eligible_frac: float
    depth_max: float

    def __post_init__(self) -> None:
        for name in ("fraction", "eligible_frac", "depth_max"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Plan.{name} is {getattr(self, name)}; expected a number in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """What a step's rows cost and brought, fresh and replayed: sampled tokens, and solved rows of problems that the
    bare prompt hardly solves (e_p < .05 before the step)."""

    fresh_tokens: int
    fresh_solved: int
    replayed_tokens: int
    replayed_solved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """How much the policy still explores, from this step's *fresh* rollouts.

    entropy: mean token entropy, nats.  unique_frac: distinct (problem, response) pairs over rows.
    new_solves: problems solved for the first time ever per 1,000 fresh rows.  solve_rate: solved share.
    """

    entropy: float
    unique_frac: float
    new_solves: float
    solve_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the run stands. Runs end at a budget of *sampled* tokens, so fractions are of tokens.

    step: policy updates done; value warm-up counts -W..-1.  history: signals of past steps,
    oldest first, at most ``history_len`` of them.  first/peak: the signals' first values and
    running maxima, which normalise the exploration degree.  seconds: spent in all steps so far, in every process that
    the run was resumed in; two runs that differ in nothing else are the same.
    """

    step: int
    sampled_tokens: int
    token_budget: int
    history: tuple[Signals, ...]
    first: Signals | None
    peak: Signals | None
    history_len: int = 100
    seconds: float = field(default=0.0, compare=False)

    @property
    def done_frac(self) -> float:
        return min(1.0, self.sampled_tokens / self.token_budget)

    @property
    def finished(self) -> bool:
        return self.sampled_tokens >= self.token_budget

    @property
    def exploration(self) -> float:
        """Exploration degree E in [0, 1] (B.8): mean of entropy H/H_0, unique share u/u_0 and
        new-solve rate over its running maximum, each clipped to [0, 1]; 1 before any signal."""
        if self.first is None or self.peak is None:
            return 1.0
        window = self.history[-10:]
        parts = [
            np.mean([s.entropy for s in window]) / max(self.first.entropy, 1e-9),
            np.mean([s.unique_frac for s in window]) / max(self.first.unique_frac, 1e-9),
        ]
        if self.peak.new_solves > 0:
            parts.append(np.mean([s.new_solves for s in window]) / self.peak.new_solves)
        return float(np.mean(np.clip(parts, 0.0, 1.0)))

    def after(self, *, tokens: int, signals: Signals | None, seconds: float = 0.0) -> Progress:
        """The next step: ``tokens`` more sampled, ``signals`` of its fresh rows (None = none), ``seconds`` spent."""
        nxt = replace(
            self, step=self.step + 1, sampled_tokens=self.sampled_tokens + tokens, seconds=self.seconds + seconds
        )
        if signals is None:
            return nxt
        peak = (
            signals
            if self.peak is None
            else Signals(
                entropy=max(self.peak.entropy, signals.entropy),
                unique_frac=max(self.peak.unique_frac, signals.unique_frac),
                new_solves=max(self.peak.new_solves, signals.new_solves),
                solve_rate=max(self.peak.solve_rate, signals.solve_rate),
            )
        )
        history = (*self.history, signals)[-self.history_len :]
        return replace(nxt, history=history, first=self.first or signals, peak=peak)
