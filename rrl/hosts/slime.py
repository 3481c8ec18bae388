"""Replay inside slime: a data source that returns partial samples, and a function that books finished ones.

    --data-source-path rrl.hosts.slime.ReplayDataSource
    --rollout-all-samples-process-path rrl.hosts.slime.observe

slime goes on from a sample that has tokens and the status ABORTED, as it does after a partial rollout; ``loss_mask`` 0
keeps the prefix out of the loss. Evaluation has its own data set and begins at bare prompts. Prefix credit is not
offered here: a placed answer would need its reward before slime's own reward model has seen it.
Written by slime's source of 2026 and tried against its documented ``Sample`` fields, not on a GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.hosts.build import build
from rrl.hosts.replaying import HostReplay
from rrl.hosts.rows import Row
from rrl.hosts.task import PromptBook
from rrl.pretrained import load
from rrl.types import Metrics, Start

_LOG = logging.getLogger(__name__)
_FIELDS = ("prompt", "tokens", "response", "response_length", "reward", "loss_mask", "rollout_log_probs", "status",
           "metadata")
_PREFIX = "rrl_prefix"  # key in a sample's metadata: tokens of its response that were not sampled now


class ReplayDataSource:
    """slime's own data source with stored prefixes in the samples of replayed prompts.

    Replay options come from slime's ``--custom-config-path``: a YAML with a list ``rrl`` of overrides of
    conf/hosts.yaml, and maybe ``rrl_store``, the folder of a store to begin with.

    Args:
      args: slime's.
      inner: the data source that deals prompts; slime's buffered one unless a test gives another.
      session: what holds replay; built from ``args`` unless given.
    """

    def __init__(self, args: Any, inner: Any = None, session: HostReplay | None = None) -> None:
        if inner is None:
            from slime.rollout.data_source import (
                RolloutDataSourceWithBuffer,  # slime is on no registry: lazily, by name
            )

            inner = RolloutDataSourceWithBuffer(args)
        self._args, self._inner, self._rollout = args, inner, 0
        self.tokenizer = _tokenizer(args)
        self.session = session or build(list(getattr(args, "rrl", None) or []), tokenizer=self.tokenizer,
                                        store=getattr(args, "rrl_store", None) or "")
        self.session.refuse_filling("slime")
        self._book = PromptBook(stop=self.session.task.codec.stop, max_response=args.rollout_max_response_len, known={})

    def get_samples(self, num_samples: int) -> list[list[Any]]:
        """Groups of slime's samples; those of a replayed prompt go on behind one stored prefix."""
        groups: list[list[Any]] = self._inner.get_samples(num_samples)
        fresh = [group for group in groups if all(_untouched(sample) for sample in group)]
        prompts = [self._ids(group[0].prompt) for group in fresh]
        problems = [self._book.of(prompt) for prompt in prompts]
        starts = self.session.starts(problems, step=self._rollout, num_steps=self._args.num_rollout)
        for group, prompt, start in zip(fresh, prompts, starts, strict=True):
            if start.replayed:
                self._check_context(prompt, start)
                for sample in group:
                    self._begin(sample, prompt, start)
        return groups

    def add_samples(self, samples: list[list[Any]]) -> None:
        """Partial samples that slime puts back; they keep their prefix."""
        self._inner.add_samples(samples)

    def observe(self, groups: Sequence[Any]) -> Metrics:
        """Book the finished samples of one rollout.

        Raises:
          ValueError: a finished sample has no reward.
        """
        samples = [s for group in groups for s in group]
        rows = [self._row(s) for s in samples if s.status.value in ("completed", "truncated") and s.response_length]
        metrics = self.session.observe(rows, step=self._rollout, num_steps=self._args.num_rollout) if rows else {}
        self._rollout += 1
        return metrics

    def save(self, rollout_id: int) -> None:
        """Beside slime's own state of the data set, written whole or not at all."""
        self.session.save(_folder(self._args.save, rollout_id))
        self._inner.save(rollout_id)

    def load(self, rollout_id: int | None = None) -> None:
        """Go on from ``rollout_id``; nothing where slime begins."""
        self._inner.load(rollout_id)
        if self._args.load is not None and rollout_id is not None and rollout_id >= 0:
            self.session.load(_folder(self._args.load, rollout_id))
            self._rollout = rollout_id + 1

    def __len__(self) -> int:
        return len(self._inner)

    def _ids(self, prompt: Any) -> list[int]:
        if not isinstance(prompt, str):
            raise ValueError("a prompt is a list of messages; expected slime's --apply-chat-template, so that it is "
                             "text whose ids are known before it is sampled from")
        return list(self.tokenizer.encode(prompt, add_special_tokens=False))

    def _begin(self, sample: Any, prompt: list[int], start: Start) -> None:
        num = len(start.prefix)
        missing = [name for name in _FIELDS if not hasattr(sample, name)]
        if missing:
            raise ValueError(f"slime's Sample has no field {missing[0]!r}; expected the fields {', '.join(_FIELDS)}: "
                             "this slime is not the one that rrl.hosts.slime was written for")
        sample.tokens, sample.response_length = [*prompt, *start.prefix], num
        sample.response = self.tokenizer.decode(list(start.prefix), skip_special_tokens=False)
        sample.rollout_log_probs = [0.0] * num
        setattr(sample, "loss_mask", [0] * num)  # noqa: B010 - slime's name; masks of ours are in policy/layout.py only
        sample.status = type(sample.status)("aborted")
        sample.metadata = {**sample.metadata, _PREFIX: num}

    def _row(self, sample: Any) -> Row:
        if isinstance(sample, list):
            raise ValueError("a sample fans out into several; expected one trainable sample a prompt")
        if sample.reward is None:
            raise ValueError(f"a finished sample of prompt {str(sample.prompt)[:80]!r} has reward None; expected a "
                             "number from --custom-rm-path or --rm-type")
        held, ids = int(sample.metadata.get(_PREFIX, 0)), [int(t) for t in sample.tokens]
        prompt, response = ids[: -sample.response_length], ids[-sample.response_length :]
        start = Start(problem=self._book.of(prompt), prefix=tuple(response[:held]))
        said = sample.rollout_log_probs
        logprobs = tuple(said[held:]) if said is not None and len(said) == len(response) else None
        return Row(start=start, tokens=tuple(response[held:]), score=float(sample.get_reward_value(self._args)),
                   logprobs=logprobs)

    def _check_context(self, prompt: list[int], start: Start) -> None:
        room = getattr(self._args, "rollout_max_context_len", None)
        needed = len(prompt) + self._args.rollout_max_response_len  # slime takes the prefix off the response's length
        if room is not None and needed > room:
            raise ValueError(f"a prompt of {len(prompt)} tokens, a prefix of {len(start.prefix)} in its response, may "
                             f"grow to {needed} tokens; --rollout-max-context-len is {room}: lower "
                             "--rollout-max-response-len")


def observe(args: Any, samples: Sequence[Any], data_source: Any) -> None:  # noqa: ARG001 - slime's signature
    """slime's ``--rollout-all-samples-process-path``: it hands in the bound ``get_samples`` of the data source."""
    source = getattr(data_source, "__self__", data_source)
    if not isinstance(source, ReplayDataSource):
        raise ValueError(f"the data source is a {type(source).__name__}; expected "
                         "--data-source-path rrl.hosts.slime.ReplayDataSource beside this function")
    metrics = source.observe(samples)
    _LOG.info("rrl: %s", {name: round(x, 4) for name, x in sorted(metrics.items()) if name.startswith("replay/")})


def _untouched(sample: Any) -> bool:
    return sample.status.value == "pending" and not sample.tokens


def _tokenizer(args: Any) -> Any:
    from transformers import AutoTokenizer

    return load(AutoTokenizer, args.hf_checkpoint, key="--hf-checkpoint", revision="main", trust_remote_code=False,
                gguf_file=None)


def _folder(root: str, rollout_id: int) -> Path:
    return Path(root) / "rollout" / f"rrl_{rollout_id}"
