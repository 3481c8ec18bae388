"""Replay inside TRL's GRPOTrainer: ``rollout_func``, the reward functions and a callback. No trainer is subclassed.

    hooks = Hooks(build(["host.solved_at=1.0"], tokenizer=tokenizer))
    GRPOTrainer(..., reward_funcs=hooks.watch(reward), rollout_func=hooks.rollout, callbacks=[hooks.callback])

TRL's ``env_mask`` keeps prefix tokens out of loss, KL, entropy and length metrics: they are context. A group is the G
rows of one prompt and shares one prefix, so that its mean is the right baseline. Evaluation begins at bare prompts.
Tried with generation by transformers; the vLLM path follows TRL's source and is untested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rrl.hosts.replaying import HostReplay
from rrl.hosts.rows import Row, agreed
from rrl.hosts.task import PromptBook
from rrl.hosts.versions import require
from rrl.types import Metrics, Problem, Start, Tokens

TESTED = ">=1.16,<1.17"
require("trl", TESTED)
import torch  # noqa: E402
from accelerate.utils import gather_object  # noqa: E402 - TRL brings it; the line above says what is missing

from rrl.hosts.trl_callback import Saves  # noqa: E402
from rrl.hosts.trl_generate import any_process, check_contexts, check_trainer, fill, generate, logprobs_of  # noqa: E402
from rrl.hosts.trl_rewards import Watched  # noqa: E402

LOGGED = (
    "rollout/score_fresh", "rollout/score_replayed", "rollout/solved_fresh", "rollout/solved_replayed",
    "rollout/tokens_fresh", "rollout/tokens_replayed", "explore/coverage_bare", "explore/coverage_replayed",
    "replay/fraction", "replay/conversion", "replay/hard_conversion", "replay/depth_frac", "replay/prefix_age_steps",
    "replay/store_size", "replay/open_size", "replay/retired_problems",
)  # fmt: skip
"""What goes into the trainer's own log, as rrl/<name>."""


class Plan(NamedTuple):
    """One row to be: where it begins, and the answer that stands in its place (prefix credit), if any."""

    start: Start
    answer: Tokens | None

    @property
    def origin(self) -> str:
        return "answer" if self.answer is not None else "replayed" if self.start.replayed else "fresh"


class Hooks:
    """The three things that a script hands to GRPOTrainer.

    Args:
      session: what ``rrl.hosts.build.build`` makes, or a ``HostReplay`` of your own.
      known: problems with more to them than a prompt (an answer for filters, a limit of their own), by prompt ids.
    """

    def __init__(self, session: HostReplay, known: Mapping[Tokens, Problem] | None = None) -> None:
        self.session, self.callback = session, Saves(session)
        self._known, self._book = known or {}, PromptBook(stop=(), max_response=1, known={})
        self._watched: Watched | None = None
        self._trainer: Any = None
        self.plans: list[Plan] | None = None  # of this process's batch; None in evaluation
        self._logprobs: list[list[float]] | None = None
        self._filling, self._filled = False, False

    def watch(self, *functions: Any) -> list[Any]:
        """Reward functions for the trainer that also tell replay their weighted sum; all that the trainer gets."""
        self._watched = Watched(
            functions, weights=lambda: self._trainer.reward_weights.tolist(), active=lambda: self.plans is not None,
            tell=self._tell,
        )  # fmt: skip
        return self._watched.functions

    def rollout(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """TRL's ``rollout_func``: rows of the prompts that this process was dealt, each prompt G times."""
        if trainer is not self._trainer:
            self._meet(trainer)
        training = trainer.model.training
        if training and not self._filled:
            self._filled = True
            if trainer.state.global_step == 0 and self.session.fill_rows:
                self._fill(trainer)
        ids, images, fields = trainer._tokenize_prompts(prompts)
        if training and images is not None:
            raise ValueError("prompts have images, and a stored prefix is token ids only; expected prompts of text")
        self.plans = self._planned(ids, trainer) if training else None
        plans = self.plans or []
        if not any_process(trainer, any(p.origin != "fresh" for p in plans)):
            repeats = trainer.num_generations if training else trainer.num_generations_eval
            new, self._logprobs = generate(trainer, ids, images, fields, repeats=repeats)
            return {"prompt_ids": ids, "completion_ids": new, "logprobs": self._logprobs}
        contexts = [[*prompt, *plan.start.prefix] for prompt, plan in zip(ids, plans, strict=True)]
        new, logprobs = generate(trainer, contexts, None, {}, repeats=1)
        new = [row[: p.start.room] if p.start.replayed else row for row, p in zip(new, plans, strict=True)]
        self._logprobs = logprobs
        whole = [list(p.start.prefix) + row if p.answer is None else list(p.answer)
                 for row, p in zip(new, plans, strict=True)]
        return {
            "prompt_ids": ids, "completion_ids": whole, "logprobs": self._behaviour(trainer, ids, new, logprobs),
            "env_mask": [[int(place >= len(p.start.prefix)) for place in range(len(row))]
                         for row, p in zip(whole, plans, strict=True)],
        }  # fmt: skip

    def _meet(self, trainer: Any) -> None:
        check_trainer(trainer, functions=self._watched.functions if self._watched else [], callback=self.callback)
        self._trainer = trainer
        self._book = PromptBook(stop=tuple(int(t) for t in trainer.eos_token_ids),
                                max_response=trainer.max_completion_length, known=self._known)

    def _fill(self, trainer: Any) -> None:
        """Before the first update: remember what the model says to every prompt; the run's own noise is untouched."""
        self._filling = True
        with torch.random.fork_rng():
            fill(trainer, self.session.fill_rows)
        self._filling = False

    def _planned(self, ids: Sequence[Sequence[int]], trainer: Any) -> list[Plan]:
        """Pure in (what was told, step, problem, place in the group): processes that share a group agree."""
        problems = [self._book.of(prompt) for prompt in ids]
        if self._filling:
            return [Plan(Start(problem=problem), None) for problem in problems]
        state, group = trainer.state, trainer.num_generations
        starts = self.session.starts(problems, step=state.global_step, num_steps=state.max_steps)
        answers = self.session.answers(problems)
        first, plans = trainer.accelerator.process_index * len(ids), []
        for place, (start, answer) in enumerate(zip(starts, answers, strict=True), start=first):
            placed = not start.replayed and place % group == group - 1  # one row of G: the last
            plans.append(Plan(start, answer if placed else None))
        check_contexts(trainer, {id(start): start for start in starts if start.replayed}.values())  # once a group
        return plans

    def _behaviour(
        self, trainer: Any, ids: list[Any], new: list[list[int]], logprobs: list[list[float]] | None
    ) -> list[list[float]] | None:
        """Log-probs of whole rows where the engine tells them: 0 for the prefix, which has no gradient, and today's for
        a placed answer, which the engine did not sample."""
        if logprobs is None:
            return None
        plans = self.plans or []
        placed = [(prompt, p.answer) for prompt, p in zip(ids, plans, strict=True) if p.answer is not None]
        answers = iter(logprobs_of(trainer, placed))
        return [next(answers) if p.answer is not None else [0.0] * len(p.start.prefix) + list(said[: len(row)])
                for p, row, said in zip(plans, new, logprobs, strict=True)]

    def _tell(self, scores: list[float], completion_ids: list[list[int]], columns: dict[str, Any]) -> None:
        """Book this batch; every process books the rows of all."""
        plans, trainer = self.plans or [], self._trainer
        rows = [self._row(place, scores[place], ids) for place, ids in enumerate(completion_ids)
                if plans[place].answer is None]
        said = gather_object([(self.session.told, rows, len(plans) - len(rows))])
        step = -1 if self._filling else trainer.state.global_step
        metrics: Metrics = self.session.observe(
            agreed([(told, part) for told, part, _ in said]), step=step, num_steps=trainer.state.max_steps,
            warm_up=self._filling,
        )
        if self._filling:
            return
        for name in LOGGED:
            if name in metrics:
                columns["log_metric"](f"rrl/{name}", metrics[name])
        columns["log_metric"]("rrl/replay/answer_rows", float(sum(num for _, _, num in said)))
        columns["log_extra"]("rrl_origin", [plan.origin for plan in plans])

    def _row(self, place: int, score: float, ids: Sequence[int]) -> Row:
        start = (self.plans or [])[place].start
        tokens = tuple(int(t) for t in ids[len(start.prefix) : start.problem.max_response])
        said = None if self._logprobs is None else tuple(self._logprobs[place][: len(tokens)])
        return Row(start=start, tokens=tokens, score=score, logprobs=said)
