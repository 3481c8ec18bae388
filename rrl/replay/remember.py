"""From attempts to stored prefixes: cut, propose, filter, add, with a count of what became of each proposal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rrl.protocols import Admission, Cut, Filter
from rrl.records import Attempt, Candidates
from rrl.replay.intake import Proposal
from rrl.replay.judge import judge, refusal_metrics
from rrl.replay.observe import Seen
from rrl.replay.store import Store
from rrl.replay.surprise import UNSEEN, surprise
from rrl.replay.turns import past_given
from rrl.starts import key_of_packed, packed
from rrl.types import Metrics


class _Made(NamedTuple):
    proposal: Proposal
    attempt: Attempt
    first_boundary: bool


def remember(
    store: Store, seen: Sequence[Seen], *, cut: Cut, admission: Admission, filters: Mapping[str, Filter], step: int,
    done_frac: float,
) -> Metrics:
    """Propose prefixes of every attempt and store those that pass, shallower ones first.

    The shallow-first order lets an ancestor stand before its extensions arrive, and makes the outcome
    independent of the order of rows. Duplicates and retired problems are refused before filters run.
    """
    counts = {"proposed": 0, "admitted": 0, "refused_duplicate": 0, "refused_worse": 0, "refused_retired": 0,
              "refused_filter": 0, "evicted": 0}
    depth_fracs: list[float] = []
    refused: list[str] = []
    num_first = 0
    made = _proposals(store, seen, cut=cut, admission=admission, step=step)

    def judged(place: int) -> str:
        verdict = judge(filters, made[place].proposal.prefix, made[place].attempt)
        if verdict.action != "keep":
            refused.append(verdict.by)
        return verdict.action

    def td(place: int) -> float:
        prefix = made[place].proposal.prefix
        return UNSEEN if prefix.origin == "canonical" else surprise(made[place].attempt, len(prefix.tokens))

    added = store.add([one.proposal for one in made], done_frac=done_frac, judged=judged, td=td)
    for one, (outcome, evicted) in zip(made, added, strict=True):
        counts["proposed"] += 1
        counts[outcome] += 1
        counts["evicted"] += evicted
        if outcome == "admitted":
            depth_fracs.append(one.proposal.prefix.depth_frac)
            num_first += one.first_boundary
    metrics = {f"replay/{name}": float(count) for name, count in counts.items()} | refusal_metrics(filters, refused)
    if depth_fracs:
        metrics["replay/admission_depth_frac"] = float(np.mean(depth_fracs))
        metrics["replay/first_boundary_frac"] = num_first / len(depth_fracs)
    return metrics


def _proposals(
    store: Store, seen: Sequence[Seen], *, cut: Cut, admission: Admission, step: int
) -> list[_Made]:
    """All proposals of a batch, in an order that depends on their content only."""
    roots = _roots(store, seen, step)
    made = []
    for attempt, _, row in seen:
        boundaries = past_given(cut.boundaries(attempt), attempt.response)  # whoever wrote the cut
        first = next((t for t in boundaries if t > len(attempt.start.prefix)), None)
        for prefix in admission.propose(attempt, boundaries, roots.get(row), step):
            words = packed(prefix.tokens)
            proposal = Proposal(prefix, key_of_packed(prefix.problem.id, words), words, attempt.score)
            made.append(_Made(proposal, attempt, len(prefix.tokens) == first))
    # Equal prefixes of different attempts: the better valued one is stored, then any fixed order.
    made.sort(key=_place_in_line)
    return made


def _place_in_line(made: _Made) -> tuple[Any, ...]:
    p = made.proposal.prefix
    return (p.problem.id, len(p.tokens), p.tokens, -p.born_value, p.origin, p.parent, p.depth_frac, made.attempt.score)


def _roots(store: Store, seen: Sequence[Seen], step: int) -> dict[int | None, Candidates]:
    """Columns of every entry that an attempt of this batch began from."""
    rows = sorted({s.row for s in seen if s.row is not None})
    candidates = store.candidates([np.array([row]) for row in rows], step)
    return dict(zip(rows, candidates, strict=True))
