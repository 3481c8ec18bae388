"""A GRPO run of TRL on keychain with the tiny model: what the tests of the adapter drive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module

from rrl import build
from rrl.hosts.build import build as build_session
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


class Script:
    """A user's script: model, data, reward, trainer. ``hooks`` is None for the host's own run."""

    def __init__(self, folder: Path, *, hooks: bool = True, replay: list[str] = REPLAY, store: str = "",
                 num_problems: int = 12, **config: Any) -> None:  # fmt: skip
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        torch.manual_seed(0)
        pool = house_pool()
        self.task, self.model = pool["task"], pool["policy"].backbone.module
        self.tokenizer = words_tokenizer(self.task)
        problems = self.task.train_problems()
        chosen = problems[: num_problems // 2] + problems[-num_problems // 2 :]
        self.known: dict[Tokens, Problem] = {p.prompt: p for p in chosen}
        self.prompts = {" ".join(f"t{t}" for t in p.prompt): p for p in chosen}
        self.rewarded: list[tuple[list[str], list[list[int]], list[float]]] = []
        self.losses: list[dict[str, torch.Tensor]] = []
        self.hooks: Any = None
        extra: dict[str, Any] = {"reward_funcs": self.reward}
        if hooks:
            from rrl.hosts.trl import Hooks

            self.hooks = Hooks(build_session(replay, tokenizer=self.tokenizer, store=store), known=self.known)
            extra = {"reward_funcs": self.hooks.watch(self.reward), "rollout_func": self.hooks.rollout,
                     "callbacks": [self.hooks.callback]}  # fmt: skip
        settings: dict[str, Any] = {
            "output_dir": str(folder), "per_device_train_batch_size": ROWS, "num_generations": GROUP,
            "max_completion_length": NEW, "max_steps": 30, "learning_rate": 1e-3, "logging_steps": 1,
            "save_strategy": "no", "report_to": [], "use_cpu": True, "beta": 0.0, "gradient_checkpointing": False,
            "disable_tqdm": True, "bf16": False, "seed": 1,
        }  # fmt: skip
        data = Dataset.from_dict({"prompt": list(self.prompts)})
        self.trainer = GRPOTrainer(
            model=self.model, args=GRPOConfig(**settings | config), train_dataset=data, eval_dataset=data,
            processing_class=self.tokenizer, **extra,
        )  # fmt: skip

    def reward(self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
               ) -> list[float]:  # fmt: skip
        scores = []
        for prompt, ids in zip(prompts, completion_ids, strict=True):
            problem = self.prompts[prompt]
            scores.append(self.task.score(problem, tuple(ids[: problem.max_response])).score)
        self.rewarded.append((list(prompts), [list(ids) for ids in completion_ids], scores))
        return scores

    def watch_loss(self) -> None:
        """Keep what the loss was computed from."""
        inner = self.trainer._compute_loss

        def watched(model: Any, inputs: dict[str, Any]) -> Any:
            self.losses.append({k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)})
            return inner(model, inputs)

        self.trainer._compute_loss = watched
