"""Weighted terms and lessons in, optimizer steps on the policy out.

Knows nothing of replay: a term is some rows and their share of the loss, a lesson some rows and a
weight for each token. Every mini-batch holds its part of every term and of the lesson, and makes one
forward and one backward over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from rrl import rng
from rrl.ops.imitation import solved_weights
from rrl.ops.importance import trainer_terms
from rrl.ops.joined_loss import JoinedLoss, Seen, Stretch, lesson_loss
from rrl.ops.kl import ESTIMATORS, kl_loss
from rrl.ops.minibatch import Part, cuts_of, minibatches
from rrl.ops.optimizer import adam_state, check_adam, linear_decay, load_adam_state, set_lr
from rrl.ops.update_tally import UpdateTally, zero_advantage_frac
from rrl.protocols import Objective, Policy
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Lesson, Metrics, Sequences, concat_sequences, rows_to_actions

Terms = Sequence[tuple[Estimated, float]]


class NonFiniteLoss(FloatingPointError):
    """A loss or gradient is NaN or infinite; the optimizer has not stepped on it.

    step: the update.  rows: (row, problem id) of the offending rows of this step, counted over all
    ranks in the order of the terms (fresh rows first); lesson rows come after them.
    """

    def __init__(self, step: int, rows: Sequence[tuple[int, str]]) -> None:
        self.step, self.rows = step, tuple(rows)
        shown = [f"row {row} of problem {name!r}" for row, name in self.rows[:8]] or ["no row stands out"]
        more = ", ..." if len(self.rows) > 8 else ""
        super().__init__(f"the policy loss is not finite at step {step}: {', '.join(shown)}{more}")


class PolicyLearner:
    """L = sum over terms of share x (objective + kl_coef KL(pi || pi_ref) + solved_coef NLL of solved rows)
    - sum over lessons of weight x log pi."""

    def __init__(
        self,
        *,
        policy: Policy,
        reference: Policy,
        objective: Objective,
        ranks: Ranks,
        seed: int,
        lr: float,
        lr_final_frac: float,
        betas: tuple[float, ...],
        eps: float,
        epochs: int,
        minibatches: int,
        deal: Literal["rows", "starts"],
        micro_batch_rows: int,
        micro_batch_tokens: int,
        grad_norm: float,
        kl_coef: float,
        kl_estimator: Literal["k1", "k2", "k3"],
        reference_every: int,
        solved_coef: float,
        importance_cap: float,
    ) -> None:
        """See conf/learner/adam.yaml. Raises ValueError for numbers out of range."""
        check_adam(betas, eps, "learner")
        for name, x, least in (
            ("epochs", epochs, 1), ("minibatches", minibatches, 1), ("micro_batch_rows", micro_batch_rows, 0),
            ("micro_batch_tokens", micro_batch_tokens, 0), ("lr", lr, 0), ("kl_coef", kl_coef, 0),
            ("reference_every", reference_every, 0), ("solved_coef", solved_coef, 0),
        ):
            if x < least:
                raise ValueError(f"learner.{name} is {x}; expected >= {least}")
        if grad_norm <= 0:
            raise ValueError(f"learner.grad_norm is {grad_norm}; expected > 0 (.inf = no clipping)")
        if 0.0 != importance_cap < 1.0:
            raise ValueError(f"learner.importance_cap is {importance_cap}; expected >= 1, or 0 (no correction)")
        if deal not in ("rows", "starts"):
            raise ValueError(f"learner.deal is {deal!r}; expected rows or starts")
        if kl_estimator not in ESTIMATORS:
            raise ValueError(f"learner.kl_estimator is {kl_estimator!r}; expected one of {', '.join(ESTIMATORS)}")
        self._policy, self._reference, self._objective = policy, reference, objective
        self._ranks, self._seed = ranks, seed
        self._lr, self._lr_final_frac, self._grad_norm = lr, lr_final_frac, grad_norm
        self._whole_starts = deal == "starts"
        self._epochs, self._minibatches = epochs, minibatches
        self._micro_batch_rows, self._micro_batch_tokens = micro_batch_rows, micro_batch_tokens
        self._kl_coef, self._kl, self._reference_every = kl_coef, ESTIMATORS[kl_estimator], reference_every
        self._solved_coef, self._importance_cap = solved_coef, importance_cap
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, fused=True)

    def update(self, terms: Terms, lesson: Lesson | None, progress: Progress) -> Metrics:
        """epochs x minibatches steps on this rank's rows; every rank gives equally many terms.

        Raises:
          NonFiniteLoss: before the optimizer steps on it.
        """
        lr = linear_decay(self._lr, self._lr_final_frac, progress.done_frac)
        set_lr(self._optimizer, lr)
        terms, mismatch = self._as_the_trainer_sees(terms)
        references = self._reference_logprobs(terms, progress)
        imitated = solved_weights(terms, self._solved_coef, self._ranks) if self._solved_coef else None
        no_lengths = torch.zeros(0, dtype=torch.int64)
        lengths = [t.sequences.lengths for t, _ in terms] + [no_lengths if lesson is None else lesson.sequences.lengths]
        starts = [t.sequences.start_index for t, _ in terms]
        starts.append(no_lengths if lesson is None else lesson.sequences.start_index)
        tally = UpdateTally(clip_range=self._objective.clip_range)
        for parts in minibatches(
            lengths, ranks=self._ranks, epochs=self._epochs, num=self._minibatches,
            generator=lambda epoch, stream: rng.generator(self._seed, "learner", progress.step, epoch, stream),
            together=starts if self._whole_starts else None,
        ):
            batch = self._batch(terms, references, imitated, lesson, parts)
            seen, norm = self._step(batch, parts, progress.step)
            tally.add(seen, batch.behavior_logprob, batch.reference_logprob, batch.loss.losses, norm)
        mismatch |= zero_advantage_frac(terms, self._ranks)
        return tally.metrics(self._ranks) | mismatch | ({"learn/lr": lr} if tally.grad_norms else {})

    def state_dict(self) -> dict[str, Any]:
        """Adam's moments; the weights are the policy's to save."""
        return adam_state(self._optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        load_adam_state(self._optimizer, state)

    def _as_the_trainer_sees(self, terms: Terms) -> tuple[Terms, Metrics]:
        """With an importance cap, its own old log-probs and truncated weights; else the terms as they came."""
        if self._importance_cap == 0.0:
            return terms, {}
        return trainer_terms(terms, self._policy, self._importance_cap, self._ranks)

    def _reference_logprobs(self, terms: Terms, progress: Progress) -> list[Tensor] | None:
        """log pi_ref of every term's tokens, once an update; None where neither loss nor metric wants it."""
        if self._kl_coef == 0.0 and (self._reference_every == 0 or progress.step % self._reference_every):
            return None
        rows = [term.sequences for term, _ in terms]
        return [self._reference.logprob(s)[0].cpu() if s.num_rows else torch.zeros(0) for s in rows]

    def _batch(
        self, terms: Terms, references: list[Tensor] | None, imitated: list[Tensor] | None, lesson: Lesson | None,
        parts: list[Part],
    ) -> _Batch:
        """One mini-batch: the terms' parts end to end, then the lesson's."""
        taken = [term.rows(part.rows) for (term, _), part in zip(terms, parts, strict=False)]
        sequences = [t.sequences for t in taken]
        stretches, first, reference = [], 0, None
        if references is not None:
            reference = torch.cat([
                x[rows_to_actions(t.sequences.offsets, part.rows)]
                for x, (t, _), part in zip(references, terms, parts, strict=False)
            ])
        for number, (t, (_, share), part) in enumerate(zip(taken, terms, parts, strict=False)):
            last = first + len(t.advantage)
            bound = self._objective.bind(t, share, part.num_tokens, part.num_rows)
            stretches.append(Stretch(name="policy", first=first, last=last, token_loss=bound))
            if self._kl_coef and reference is not None:
                scale = self._kl_coef * share / max(part.num_tokens, 1)
                priced = partial(kl_loss, self._kl, reference[first:last], scale)
                stretches.append(Stretch(name="kl", first=first, last=last, token_loss=priced))
            if imitated is not None:  # normalised for the whole step, as a lesson's weights below
                weight = imitated[number][rows_to_actions(terms[number][0].sequences.offsets, part.rows)]
                taught = partial(lesson_loss, weight * self._minibatches)
                stretches.append(Stretch(name="solved", first=first, last=last, token_loss=taught))
            first = last
        if lesson is not None:
            # The weights are normalised for the whole step; each mini-batch shall have the step's magnitude.
            weight = lesson.weight[rows_to_actions(lesson.sequences.offsets, parts[-1].rows)] * self._minibatches
            sequences.append(lesson.sequences.rows(parts[-1].rows))
            taught = partial(lesson_loss, weight)
            stretches.append(Stretch(name="lesson", first=first, last=first + len(weight), token_loss=taught))
        joined = concat_sequences(sequences)
        return _Batch(
            sequences=joined,
            loss=JoinedLoss(stretches, len(joined.actions)),
            behavior_logprob=torch.cat([t.rollouts.behavior_logprob for t in taken]),
            reference_logprob=reference,
        )

    def _step(self, batch: _Batch, parts: list[Part], step: int) -> tuple[Seen, float]:
        """Backward, check, optimizer step. Returns what the forward showed and the gradient's norm."""
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        # A start's rows together: what they share is read once.
        for first, last in cuts_of(
            batch.sequences, most_rows=self._micro_batch_rows, most_tokens=self._micro_batch_tokens
        ):
            whole = last - first == batch.sequences.num_rows
            piece = batch.sequences if whole else batch.sequences.rows(torch.arange(first, last))
            loss, _ = self._policy.loss(
                piece, batch.loss.shifted(int(batch.sequences.offsets[first])),
                whole_rows=self._objective.whole_rows,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        self._ranks.sum_gradients(self._parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._grad_norm))
        seen = batch.loss.seen()
        finite = torch.tensor([total, norm]).isfinite().all()
        if self._ranks.sum([0.0 if finite else 1.0])[0]:  # all ranks stop together, or those left would hang
            raise NonFiniteLoss(step, self._ranks.gather(_offenders(batch.sequences, seen, parts)))
        self._optimizer.step()
        return seen, norm


def _offenders(sequences: Sequences, seen: Seen, parts: list[Part]) -> list[tuple[int, str]]:
    bad = ~(seen.logprob.isfinite() & seen.entropy.isfinite() & seen.d_logprob.isfinite())
    shifts = [sum(p.total_rows for p in parts[:s]) + part.first_row for s, part in enumerate(parts)]
    numbers = [int(r) + shift for part, shift in zip(parts, shifts, strict=True) for r in part.rows]
    rows = torch.unique(sequences.row_of[bad]).tolist()
    return [(numbers[i], sequences.start_of(i).problem.id) for i in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """A mini-batch: all rows, their joined loss, and the terms' old log-probs (a lesson's tokens come after)."""

    sequences: Sequences
    loss: JoinedLoss
    behavior_logprob: Tensor
    reference_logprob: Tensor | None
