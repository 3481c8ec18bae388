"""Replay inside verl: an agent loop that goes on from stored prefixes, and a trainer that tells the store. No fork.

    +ray_kwargs.ray_init.runtime_env.worker_process_setup_hook=rrl.hosts.verl.setup trainer.v1.trainer_mode=rrl
    actor_rollout_ref.rollout.agent.default_agent_loop=rrl_agent +rrl.overrides=[replay/schedule=window]

The hook runs in every Ray worker and registers both. The prefix stands in the response with ``response_mask`` 0: the
reward manager decodes the whole answer, the losses see what was sampled now. Rows of ``extra_info.split`` other than
"train" begin at bare prompts, because an agent loop is not told about validation.
Tried on a CPU: the agent loop with a stub server, fields through a real TransferQueue, the store as a Ray actor.
A whole training step needs a GPU and was not run.
"""

from __future__ import annotations

import os
from typing import Any

from rrl.hosts.verl_store import FIELDS, NAME, VerlStore
from rrl.hosts.versions import require

TESTED = ">=0.9,<0.10"
require("verl", TESTED)
import ray  # noqa: E402 - verl brings it; the line above says what is missing
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register  # noqa: E402
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop  # noqa: E402


@register("rrl_agent")
class RRLAgentLoop(SingleTurnAgentLoop):
    """verl's single-turn loop behind a stored prefix. One instance serves one row, so it may remember its prefix."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """One row of a group; ``row`` is the data set's, with ``global_steps`` and ``session_id``."""
        self._asks = None
        if (row.get("extra_info") or {}).get("split") == "train":
            self._asks = (int(row["global_steps"]), int(row["session_id"]))
        self._prompt: list[int] = []
        self._prefix: list[int] = []
        self._answer: list[int] | None = None
        limit = dict(sampling_params)
        out = await super().run(limit, **row)
        kept = {"rrl_prefix": len(self._prefix), "rrl_answer": self._answer is not None}
        if self._answer is not None:
            return _output(out, self._prompt, [], self._answer, limit=self.response_length, extra=kept)
        return _output(out, self._prompt or out.prompt_ids, self._prefix, out.response_ids,
                       limit=self.response_length, extra=kept)

    async def ct_build_initial_tokens(self, *args: Any, **kwargs: Any) -> list[int]:
        return await self._behind(await super().ct_build_initial_tokens(*args, **kwargs))

    async def apply_chat_template(self, *args: Any, **kwargs: Any) -> list[int]:
        return await self._behind(await super().apply_chat_template(*args, **kwargs))

    async def _behind(self, prompt: list[int]) -> list[int]:
        """The prompt with its prefix, which verl must not cut from the left: it is added after verl's own cap."""
        if self._asks is None:
            return prompt
        step, sample = self._asks
        self._prompt = list(prompt)
        self._prefix, self._answer = await ray.get_actor(NAME).pick.remote(self._prompt, step, sample)
        return self._prompt + self._prefix


def _output(
    out: AgentLoopOutput, prompt: list[int], prefix: list[int], sampled: list[int], *, limit: int, extra: dict[str, Any]
) -> AgentLoopOutput:
    """verl's output with the prefix moved from the prompt to the response, cut at the response's length.

    A placed answer counts as sampled; its log-probs are verl's to recompute (``old_log_probs``), so none are told.
    """
    logprobs = out.response_logprobs
    if logprobs is not None:
        logprobs = None if extra["rrl_answer"] else ([0.0] * len(prefix) + list(logprobs))[:limit]
        if logprobs is None:
            raise ValueError("a converted answer has no log-probs of the sampler, but the run asks for them; expected "
                             "actor_rollout_ref.rollout.calculate_log_probs=false, or host.place_answers=false among "
                             "rrl.overrides")
    return out.model_copy(update={
        "prompt_ids": list(prompt), "response_ids": (prefix + list(sampled))[:limit],
        "response_mask": ([0] * len(prefix) + [1] * len(sampled))[:limit], "response_logprobs": logprobs,
        "extra_fields": {**out.extra_fields, **extra},
    })  # fmt: skip


def setup() -> None:
    """Ray's ``worker_process_setup_hook``: registers the trainer in whichever process makes it."""
    from rrl.hosts.verl_trainer import register_rrl_trainer

    register_rrl_trainer()


def store_of(config: Any, num_steps: int) -> Any:
    """The store's actor, made on first call. config: verl's; ``rrl.overrides`` and ``rrl.store`` are ours."""
    own = config.get("rrl") or {}
    return ray.remote(VerlStore).options(name=NAME, get_if_exists=True, num_cpus=0).remote(
        list(own.get("overrides") or []), str(config.actor_rollout_ref.model.path),
        max_response=int(config.data.max_response_length), num_steps=num_steps,
        samples_per_prompt=int(config.actor_rollout_ref.rollout.n), store=str(own.get("store") or ""),
    )


def batch_of(data: Any, *, critic: bool) -> dict[str, list[Any]]:
    """A TransferQueue batch as plain lists; jagged fields have no ``tolist`` of their own."""
    rows: dict[str, list[Any]] = {name: [t.tolist() for t in data[name].unbind()]
                                  for name in (*FIELDS, *(["values"] if critic else []))}
    extra = data["extra_fields"]
    rows["rrl_answer"] = [bool(_plain(extra, i).get("rrl_answer", False)) for i in range(len(rows["prompts"]))]
    return rows


def _plain(extra: Any, i: int) -> dict[str, Any]:
    found = extra[i]
    return dict(getattr(found, "data", found))


def checkpoint_folder(config: Any, step: int) -> str:
    """Where our part of verl's checkpoint stands."""
    return os.path.join(str(config.trainer.default_local_dir), f"global_step_{step}", "rrl")
