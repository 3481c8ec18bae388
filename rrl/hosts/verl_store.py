"""The store of a verl run: a Ray actor that agent loops ask for starts, and the trainer tells what became of them.

Nothing here imports verl or Ray, so that it can be tried without them; ``verl.py`` makes an actor of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrl.hosts.build import build
from rrl.hosts.replaying import HostReplay
from rrl.hosts.rows import Row
from rrl.hosts.task import PromptBook
from rrl.types import Metrics, Start

NAME = "rrl_store"
"""Of the actor."""

FIELDS = ("prompts", "responses", "response_mask", "rm_scores")
"""What ``observe`` reads of a batch; ``values`` besides where the run has a critic."""


class VerlStore:
    """One process holds replay; agent loops ask it by prompt ids.

    Args:
      overrides: of conf/hosts.yaml.
      tokenizer: name or folder of the actor model's.
      max_response: verl's data.max_response_length, a replayed prefix included.
      num_steps: training steps of the run.
      samples_per_prompt: rollout.n.
      store: folder of a store to begin with; "" = an empty one.
    """

    def __init__(
        self, overrides: Sequence[str], tokenizer: str, *, max_response: int, num_steps: int, samples_per_prompt: int,
        store: str = "",
    ) -> None:
        from rrl.codec.tokenizer import load_tokenizer

        read = load_tokenizer(tokenizer, "main", None, trust_remote_code=False, key="actor_rollout_ref.model.path")
        self.session: HostReplay = build(overrides, tokenizer=read, store=store)
        self.session.refuse_filling("verl")
        self._book = PromptBook(stop=self.session.task.codec.stop, max_response=max_response, known={})
        self._num_steps, self._group = num_steps, samples_per_prompt

    def pick(self, prompt: Sequence[int], step: int, sample: int) -> tuple[list[int], list[int] | None]:
        """(prefix to go on from, a converted answer that stands in this row's place or None) of one row.

        sample: number of the row in its group, from 0. A function of what was told, step and prompt: all rows of a
        group get the same prefix; the last one of a bare group may be an answer.
        """
        problem = self._book.of(prompt)
        start = self.session.starts([problem], step=step, num_steps=self._num_steps)[0]
        answer = None
        if not start.replayed and sample == self._group - 1:
            answer = self.session.answers([problem])[0]
        return list(start.prefix), None if answer is None else list(answer)

    def observe(self, batch: Mapping[str, Sequence[Any]], step: int) -> Metrics:
        """Book a training batch.

        Args:
          batch: lists of a row each: ``prompts`` and ``responses`` ids, ``response_mask`` (0 = prefix), ``rm_scores`` a
            token, ``values`` a token where there is a critic, ``rrl_answer`` whether the row is a placed answer.
        """
        rows = [self._row(batch, i) for i in range(len(batch["prompts"])) if not batch["rrl_answer"][i]]
        placed = len(batch["prompts"]) - len(rows)
        metrics = self.session.observe(rows, step=step, num_steps=self._num_steps)
        return {f"rrl/{name}": x for name, x in metrics.items()} | {"rrl/replay/answer_rows": float(placed)}

    def save(self, folder: str) -> None:
        self.session.save(Path(folder))

    def load(self, folder: str) -> None:
        self.session.load(Path(folder))

    def state(self) -> dict[str, Any]:
        """For tests and reports."""
        return self.session.state_dict()

    def _row(self, batch: Mapping[str, Sequence[Any]], i: int) -> Row:
        response, sampled = [int(t) for t in batch["responses"][i]], [int(x) for x in batch["response_mask"][i]]
        held = sampled.index(1) if 1 in sampled else len(sampled)
        values = batch.get("values")
        start = Start(problem=self._book.of(batch["prompts"][i]), prefix=tuple(response[:held]))
        return Row(
            start=start, tokens=tuple(response[held:]), score=float(sum(batch["rm_scores"][i])),
            values=None if values is None else tuple(float(v) for v in values[i][held:]),
        )  # fmt: skip
