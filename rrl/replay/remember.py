"""From attempts to stored prefixes: cut, propose, filter, add, with a count of what became of each proposal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rrl.protocols import Admission, Cut, Filter
from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.judge import judge, refusal_metrics
from rrl.replay.observe import Seen
from rrl.replay.store import Store
from rrl.replay.surprise import UNSEEN, surprise
from rrl.replay.turns import past_given
from rrl.types import Metrics


class _Proposal(NamedTuple):
    prefix: Prefix
    key: str
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
    for proposal in _proposals(store, seen, cut=cut, admission=admission, step=step):
        prefix, attempt = proposal.prefix, proposal.attempt
        counts["proposed"] += 1
        if store.problems.retired(store.problems.number(prefix.problem)):
            counts["refused_retired"] += 1
            continue
        if store.shelf.find(proposal.key) is not None:
            counts["refused_duplicate"] += 1
            continue
        verdict = judge(filters, prefix, attempt)
        if verdict.action != "keep":
            refused.append(verdict.by)
        if verdict.action == "drop":
            counts["refused_filter"] += 1
            continue
        added = store.add(
            prefix, proposal.key, done_frac=done_frac, parent_reward=attempt.score,
            td=UNSEEN if prefix.origin == "canonical" else surprise(attempt, len(prefix.tokens)),
            quarantined=verdict.action == "quarantine",
        )
        counts[added.outcome] += 1
        counts["evicted"] += added.evicted
        if added.outcome == "admitted":
            depth_fracs.append(prefix.depth_frac)
            num_first += proposal.first_boundary
    metrics = {f"replay/{name}": float(count) for name, count in counts.items()} | refusal_metrics(filters, refused)
    if depth_fracs:
        metrics["replay/admission_depth_frac"] = float(np.mean(depth_fracs))
        metrics["replay/first_boundary_frac"] = num_first / len(depth_fracs)
    return metrics


def _proposals(
    store: Store, seen: Sequence[Seen], *, cut: Cut, admission: Admission, step: int
) -> list[_Proposal]:
    """All proposals of a batch, in an order that depends on their content only."""
    roots = _roots(store, seen, step)
    proposals = []
    for attempt, _, row in seen:
        boundaries = past_given(cut.boundaries(attempt), attempt.response)  # whoever wrote the cut
        first = next((t for t in boundaries if t > len(attempt.start.prefix)), None)
        for prefix in admission.propose(attempt, boundaries, roots.get(row), step):
            proposals.append(_Proposal(prefix, prefix.key, attempt, len(prefix.tokens) == first))
    # Equal prefixes of different attempts: the better valued one is stored, then any fixed order.
    proposals.sort(key=lambda p: (p.prefix.problem.id, len(p.prefix.tokens), p.prefix.tokens, -p.prefix.born_value,
                                  p.prefix.origin, p.prefix.parent, p.prefix.depth_frac, p.attempt.score))
    return proposals


def _roots(store: Store, seen: Sequence[Seen], step: int) -> dict[int | None, Candidates]:
    """Columns of every entry that an attempt of this batch began from."""
    rows = sorted({s.row for s in seen if s.row is not None})
    candidates = store.candidates([np.array([row]) for row in rows], step)
    return dict(zip(rows, candidates, strict=True))
