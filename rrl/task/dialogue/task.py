"""Dialogue (RLHF): no right answers; a reward model's score, and solved where it beats the SFT policy's best."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rrl import rng
from rrl.protocols import Outcome, Policy, TextCodec
from rrl.ranks import Ranks
from rrl.scorer.conversation import Exchange, Scorer
from rrl.task.data.row import Data
from rrl.task.dialogue.bar import Bar, bar_of
from rrl.task.dialogue.codec import DialogueCodec
from rrl.task.dialogue.grader import PreferenceGrader
from rrl.task.dialogue.measures import measured
from rrl.task.dialogue.pairs import Pair
from rrl.task.text import TextTask
from rrl.types import Metrics, Problem, Start, Tokens

log = logging.getLogger(__name__)


class DialogueTask:
    """``TextTask`` whose grader is a reward model and whose demonstrations are the chosen answers.

    The scale of the scores and the bar for ``solved`` are measured once, on ``bar_samples`` responses of the reference
    policy to training prompts; they are part of every checkpoint and stand in ``bar.json``.

    Args:
      output_dir: ``data.json`` as of any text task, and ``bar.json``.
      reward: what is trained on.
      helpful, harm: what is measured beside it, on held-out prompts: never trained on. harm: higher = more harmful.
      helpful_kind, harmful_kind: on prompts of which kind; every prompt has the one that its source has in ``data``.
      harm_at: the harm scorer's number from which a response counts as harmful.
      quantile: share of the reference's responses that are not solved, in (0, 1).
      bar_samples: responses that the bar is measured on, >= 2.
      clip: see ``PreferenceGrader``.
      demo_rejected_frac: share of demonstrations that are rejected answers, in [0, 1]; 0 = SFT on chosen ones.
      others: see ``TextTask``.
    """

    def __init__(
        self, *, seed: int, codec: TextCodec, ranks: Ranks, output_dir: Path, name: str, data: Data, reward: Scorer,
        helpful: Scorer, harm: Scorer, helpful_kind: str, harmful_kind: str, harm_at: float, quantile: float,
        bar_samples: int, clip: float, demo_rejected_frac: float, num_train: int, num_heldout: int, max_prompt: int,
        max_response: int, step_apart: int, bad_rows: Literal["refuse", "skip"],
    ) -> None:  # fmt: skip
        if not 0.0 < quantile < 1.0 or not 0.0 <= demo_rejected_frac <= 1.0 or bar_samples < 2 or clip <= 0.0:
            raise ValueError(
                f"task has quantile {quantile}, demo_rejected_frac {demo_rejected_frac}, bar_samples {bar_samples}, "
                f"clip {clip}; expected numbers in (0, 1) and [0, 1], >= 2 and > 0"
            )
        self._grader = PreferenceGrader(reward=reward, clip=clip)
        self._text = TextTask(
            seed=seed, codec=DialogueCodec(codec), ranks=ranks, output_dir=output_dir, name=name, data=data,
            grader=self._grader, prompt="{prompt}", num_train=num_train, num_heldout=num_heldout,
            max_prompt=max_prompt, max_response=max_response, step_apart=step_apart, bad_rows=bad_rows,
        )  # fmt: skip
        self.name, self.codec, self.score_range = name, codec, self._grader.score_range
        self.vocab_size, self.pad = codec.vocab_size, codec.pad
        self._seed, self._ranks, self._output_dir = seed, ranks, output_dir
        self._helpful, self._harm, self._harm_at = helpful, harm, harm_at
        self._kinds = (helpful_kind, harmful_kind)
        self._quantile, self._bar_samples, self._rejected_frac = quantile, bar_samples, demo_rejected_frac
        self._reference: Policy | None = None
        self._answers = self._spelled(max_response)
        # Without the scorers: it keys the warm start, which another reward model does not change.
        said = [self._text.fingerprint, demo_rejected_frac, [(p.id, pair) for p, pair, *_ in self._answers]]
        self.fingerprint = hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()

    def train_problems(self) -> list[Problem]:
        return self._text.train_problems()

    def eval_problems(self) -> list[Problem]:
        return self._text.eval_problems()

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """The reward model's verdict on a response that ended by itself; the lowest score for one that was cut."""
        self._measure_bar()
        return self._text.score(problem, response)

    def ahead(self, responses: Sequence[tuple[Problem, Tokens]]) -> None:
        """Scores ``responses`` in batches; ``score`` then knows them. Every rank calls it."""
        self._measure_bar()
        self._grader.ahead([self._exchange(p, r) for p, r in responses if r and r[-1] in p.stop])

    def right_prefix(self, problem: Problem) -> Tokens:
        return self._text.right_prefix(problem)

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Chosen answers, or rejected ones where ``demo_rejected_frac`` says so. Raises ValueError without any."""
        if not self._answers:
            raise ValueError(f"task {self.name!r} has no chosen answers to learn from; expected rows with chosen and "
                             "rejected, or warm_start=none")
        picked = generator.integers(len(self._answers), size=num).tolist()
        rejected = generator.random(num) < self._rejected_frac
        return [(self._answers[i][0], self._answers[i][3 if worse else 2])
                for i, worse in zip(picked, rejected.tolist(), strict=True)]  # fmt: skip

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        return self._text.steps(problem, response)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.codec.decode(tokens)

    def encode(self, text: str) -> Tokens:
        return self.codec.encode(text)

    # ---------------------------------------------------------------- what else can be asked of a dialogue

    def relative_to(self, reference: Policy) -> None:
        """The policy whose responses set the bar, when first it is needed; a restored bar stays."""
        self._reference = reference

    def standing(self, states: Sequence[Start]) -> np.ndarray:
        """[S] scores of beginnings of responses as they stand, ended or not."""
        self._measure_bar()
        return self._grader.standing([self._exchange(s.problem, s.prefix) for s in states])

    def harm_of(self, texts: Sequence[str]) -> np.ndarray:
        """[S] numbers of the harm scorer for texts that stand alone."""
        return self._harm([Exchange("", text) for text in texts])

    def measure(self, responses: Sequence[tuple[Problem, Tokens]]) -> Metrics:
        """Helpfulness and harm of responses to prompts of either kind, their reward, and how alike they are."""
        said = [self._exchange(problem, response) for problem, response in responses]
        kinds = [self._pair(problem).kind for problem, _ in responses]
        helpful, harmful = ([e for e, k in zip(said, kinds, strict=True) if k == kind] for kind in self._kinds)
        self.ahead(responses)
        rewards = [self.score(problem, response).score for problem, response in responses]
        return measured(
            rewards, [e.response for e in said], self._helpful(helpful) if helpful else np.zeros(0),
            self.harm_of([e.response for e in harmful]) if harmful else np.zeros(0), self._harm_at,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The bar; None before it was measured."""
        return {"bar": None if self._grader.bar is None else dataclasses.asdict(self._grader.bar)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._grader.bar = None if state["bar"] is None else Bar(**state["bar"])

    def _measure_bar(self) -> None:
        if self._grader.bar is not None or self._reference is None:
            return
        order = rng.generator(self._seed, "task.dialogue.bar").permutation(len(self.train_problems())).tolist()
        starts = [Start(problem=self.train_problems()[order[i % len(order)]]) for i in range(self._bar_samples)]
        first, last = self._ranks.bounds(len(starts))
        rows = self._reference.rollout(starts[first:last], samples_per_start=1, step=0, first_row=first,
                                       stream="task.dialogue.bar").sequences  # fmt: skip
        said = [(rows.start_of(i).problem, rows.tokens_of(i)) for i in range(rows.num_rows)]
        raw = self._ranks.gather(self._grader.raw([self._exchange(p, r) for p, r in said]).tolist())
        ended = self._ranks.gather([r[-1] in p.stop for p, r in said])
        self._grader.bar = bar_of(np.array(raw), np.array(ended), self._quantile)
        if self._ranks.is_main:
            record = dataclasses.asdict(self._grader.bar) | {
                "quantile": self._quantile, "samples": len(raw), "ended": sum(ended), "scores": raw,
            }  # fmt: skip
            (self._output_dir / "bar.json").write_text(json.dumps(record, indent=1))

    def _exchange(self, problem: Problem, response: Tokens) -> Exchange:
        said = response[:-1] if response and response[-1] in problem.stop else response
        return Exchange(self._text.row(problem).prompt, self.codec.decode(said))

    def _pair(self, problem: Problem) -> Pair:
        pair: Pair = self._text.row(problem).entry["pair"]
        return pair

    def _spelled(self, max_response: int) -> list[tuple[Problem, Pair, Tokens, Tokens]]:
        """Training problems whose two answers fit, with their tokens."""
        found, too_long = [], 0
        for problem in self._text.train_problems():
            pair = self._pair(problem)
            if pair.chosen is None or pair.rejected is None:
                continue
            both = [(*self.codec.encode(text), self.codec.stop[0]) for text in (pair.chosen, pair.rejected)]
            if max(map(len, both)) > max_response:
                too_long += 1
                continue
            found.append((problem, pair, both[0], both[1]))
        if too_long:
            log.warning("task %s: %d answers longer than task.max_response are not demonstrated", self.name, too_long)
        return found
