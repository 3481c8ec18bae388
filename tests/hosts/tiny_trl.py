"""A GRPO run of TRL on keychain's prompts with the tiny model, and a record of it: what tests of the adapter drive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module

from rrl import build
from rrl.hosts.build import build as build_session
from rrl.hosts.rows import Row
from rrl.hosts.trl import Hooks, Plan
from rrl.ranks import Ranks
from rrl.types import Problem, Tokens
from tests.bench.trl_grpo import words_tokenizer

GROUP, ROWS, NEW = 4, 16, 5
REPLAY = [
    "replay/schedule=constant", "replay.schedule.rho=0.5", "replay/cut=token", "replay/admission=first_boundary",
]  # fmt: skip


def house_pool(*overrides: str) -> dict[str, Any]:
    """Task and policy of the default run, the policy as transformers' LlamaForCausalLM."""
    with initialize_config_module("rrl.conf", version_base="1.3"):
        cfg = compose("train", ["policy=tiny_hf", "tracker=[]", *overrides])
    return build.build_policy(cfg, Path("."), Ranks())


def score_of(ids: list[int]) -> float:
    """A verdict that an untrained model meets in all its values: one row in five is solved, one pays .4."""
    return {0: 1.0, 1: 0.4}.get(sum(ids) % 5, 0.0)


@dataclass
class Batch:
    """One generated batch. plans: None in evaluation and without the adapter.  stored, converted: the store's states
    and answers when it was planned.  told: the rows that replay was told of it."""

    prompts: list[str]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    scores: list[float]
    plans: list[Plan] | None
    stored: set[tuple[str, Tokens]]
    converted: dict[str, Tokens]
    told: list[Row]


class Script:
    """A user's script: model, data, reward, trainer. ``hooks`` False is the host's own run."""

    def __init__(
        self, folder: Path, *, hooks: bool = True, replay: list[str] = REPLAY, store: str = "", num_problems: int = 12,
        **config: Any,
    ) -> None:
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import GRPOConfig, GRPOTrainer

        torch.manual_seed(0)
        pool = house_pool()
        self.task, self.model = pool["task"], pool["policy"].backbone.module
        self.tokenizer = words_tokenizer(self.task)
        problems = self.task.train_problems()[:num_problems]
        self.known: dict[Tokens, Problem] = {p.prompt: p for p in problems}
        prompts = [" ".join(f"<{t}>" for t in p.prompt) for p in problems]
        self.rewarded: list[Batch] = []
        self.losses: list[dict[str, torch.Tensor]] = []
        self.hooks: Any = None
        self._stop_after = 10**9
        self._planned: Any = None
        extra: dict[str, Any] = {"reward_funcs": self.reward}
        if hooks:
            self.hooks = Hooks(build_session(replay, tokenizer=self.tokenizer, store=store), known=self.known)
            self._record_told()
            extra = {"reward_funcs": self.hooks.watch(self.reward), "rollout_func": self.rollout,
                     "callbacks": [self.hooks.callback]}  # fmt: skip
        settings: dict[str, Any] = {
            "output_dir": str(folder), "per_device_train_batch_size": ROWS, "num_generations": GROUP,
            "max_completion_length": NEW, "max_steps": 30, "learning_rate": 1e-3, "logging_steps": 1,
            "save_strategy": "no", "report_to": [], "use_cpu": True, "beta": 0.0, "gradient_checkpointing": False,
            "disable_tqdm": True, "bf16": False, "seed": 1,
        }  # fmt: skip
        data = Dataset.from_dict({"prompt": prompts})
        self.trainer = GRPOTrainer(
            model=self.model, args=GRPOConfig(**settings | config), train_dataset=data, eval_dataset=data,
            processing_class=self.tokenizer, **extra,
        )  # fmt: skip
        self.trainer.remove_callback(PrinterCallback)
        self.contexts: list[tuple[bool, list[Tokens]]] = []  # (in training, what the model was asked to go on from)
        inner = self.trainer._generate_single_turn

        def generate(contexts: list[list[int]], *rest: Any) -> Any:
            self.contexts.append((self.trainer.model.training, [tuple(ids) for ids in contexts]))
            return inner(contexts, *rest)

        self.trainer._generate_single_turn = generate

    @property
    def batches(self) -> list[Batch]:
        """Training batches of a run with the adapter."""
        return [batch for batch in self.rewarded if batch.plans is not None]

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """The adapter's, with a note of what the store held."""
        replay = self.hooks.session.replay
        stored = {(r["problem"], tuple(r["tokens"])) for r in replay.rows()}
        table = replay.store.problems
        converted = {table.problem(number).id: answer for number, answer in table.converted.items()}
        output = self.hooks.rollout(prompts, trainer)
        self._planned = (output["prompt_ids"], self.hooks.plans, stored, converted)
        return output

    def reward(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        scores = [score_of(ids) for ids in completion_ids]
        ids, plans, stored, converted = self._planned or ([], None, set(), {})
        if not (self.hooks and self.hooks._filling):
            self.rewarded.append(Batch(list(prompts), ids, [list(i) for i in completion_ids], scores, plans, stored,
                                       converted, []))  # fmt: skip
        if len(self.rewarded) > self._stop_after:
            raise KeyboardInterrupt
        return scores

    def stop_after(self, batches: int) -> None:
        """Break off, as a kill would, when the next batch is rewarded."""
        self._stop_after = batches

    def watch_loss(self) -> None:
        """Keep what each loss was computed from."""
        inner = self.trainer._compute_loss

        def watched(model: Any, inputs: dict[str, Any]) -> Any:
            self.losses.append({k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)})
            return inner(model, inputs)

        self.trainer._compute_loss = watched

    def _record_told(self) -> None:
        inner = self.hooks.session.observe

        def observe(rows: list[Row], **where: Any) -> Any:
            if self.rewarded:
                self.rewarded[-1].told = list(rows)
            return inner(rows, **where)

        self.hooks.session.observe = observe
