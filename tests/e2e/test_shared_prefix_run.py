"""A run whose groups share what they have in common is the run that reads every row whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rrl import loop
from rrl.saver import first_progress
from tests.small import small_house

SIZES = (
    "experiment=grpo", "policy=tiny_hf", "policy.backbone.source.dtype=float64", "replay/schedule=constant",
    "replay/admission=random_cut", "run.samples_per_start=4", "run.starts_per_step=4", "run.token_budget=640",
    "warm_start.steps=30", "evaluate.every_steps=1000", "evaluate.dense_until=0", "learner.epochs=1",
    "learner.minibatches=1", "tracker=[]",
)  # fmt: skip


class Log:
    """Keeps the metrics of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def log(self, progress: Any, metrics: dict[str, float]) -> None:
        self.steps.append({k: v for k, v in metrics.items() if not k.startswith(("time/", "memory/", "progress/"))})

    def rollouts(self, progress: Any, attempts: Any) -> None:
        pass

    def close(self) -> None:
        pass


def run(folder: Path, sharing: str) -> tuple[list[dict[str, float]], torch.Tensor, set[str]]:
    """(every step's metrics, final weights, ways in which the decoder was called)."""
    log = Log()
    house = replace(small_house(folder, *SIZES, f"policy.prefix_sharing={sharing}"), tracker=log)  # type: ignore[arg-type]
    ways: set[str] = set()

    def spy(module: Any, args: Any, options: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            ways.add("cache" if options.get("past_key_values") is not None else "whole")

    house.policy.backbone.decoder.register_forward_pre_hook(spy, with_kwargs=True)  # type: ignore[attr-defined]
    loop.train(house, loop.warm_up(house, first_progress(house.run), lambda p: None), lambda p: None)
    return log.steps, torch.cat([p.detach().flatten() for p in house.policy.parameters()]), ways


def test_a_run_with_shared_prefixes_has_the_numbers_of_one_with_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers rounds norms to float32 and their gradients with them; without that, what differs is ours.
    monkeypatch.setattr(
        LlamaRMSNorm, "forward", lambda self, x: F.rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon)
    )
    (whole, expected, ways), (shared, found, others) = (run(tmp_path / s, s) for s in ("repeat", "kv_reuse"))
    assert ways == {"whole"} and "cache" in others
    assert len(whole) == len(shared) >= 3
    assert any(step.get("replay/fraction", 0.0) > 0 for step in whole)
    for one, other in zip(whole, shared, strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-10, abs=1e-10, nan_ok=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
