"""Stopped and resumed: does a run ask the same problems and end with the same weights? Ours beside TRL's trainer.

Each trains on 12 problems, 4 a step, so an epoch is 3 steps; three epochs, a checkpoint after every step. Then it is
resumed from each of them, and compared with the unbroken run from there on. One row a stop.

    pip install -e .[peers] && python -m tests.bench.trl_resume --out docs/results/resume.csv
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.bench.rows import write_csv

PROBLEMS, A_STEP, EPOCHS = 12, 4, 3
STEPS = EPOCHS * PROBLEMS // A_STEP
OURS = (
    "problems=epoch", "task.num_hard=12", "task.num_easy=0", f"run.starts_per_step={A_STEP}", "warm_start.steps=1",
    "run.samples_per_start=2", "value=group_mean", "replay/schedule=none", "run.warm_up.batches=0",
    "run.checkpoint_every=1", "run.keep_checkpoints=100", "run.token_budget=100000", "tracker=[]",
)  # fmt: skip


class Trail(NamedTuple):
    """asked: the problems of each step, in order.  weights: at the end."""

    asked: list[tuple[str, ...]]
    weights: torch.Tensor


class _Enough(Exception):
    """All steps are done."""


def ours(folder: Path, stop: int | None) -> Trail:
    """The run from its beginning, or from its checkpoint of step ``stop``."""
    from rrl import loop
    from rrl.records import Progress
    from rrl.saver import Saver, first_progress, restore
    from tests.small import small_house

    house = small_house(folder / "run", *OURS)
    asked: list[tuple[str, ...]] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(house.replay, name)

        def observe(self, attempts: Any, progress: Any, **how: Any) -> Any:
            asked.append(tuple(sorted({a.start.problem.id for a in attempts})))
            return house.replay.observe(attempts, progress, **how)

    watched = dataclasses.replace(house, replay=Watched())  # type: ignore[arg-type]
    saver = Saver(house, folder / "run", {})

    def after(progress: Progress) -> None:
        if stop is None:
            saver.after_step(progress)
        if progress.step == STEPS:
            raise _Enough

    start = first_progress(house.run)
    if stop is not None:
        start = restore(house, folder / "run" / "checkpoints" / f"step_{stop:06d}")
    with suppress(_Enough):
        loop.train(watched, start, after)
    return Trail(asked, torch.cat([p.detach().flatten() for p in house.policy.parameters()]))


def trls(folder: Path, stop: int | None) -> Trail:
    """The same with TRL: unbroken, or ``trainer.train(resume_from_checkpoint=...)``."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed
    from trl import GRPOConfig, GRPOTrainer

    from tests.bench.trl_grpo import words_tokenizer

    class Words:
        vocab_size = 32

    set_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, pad_token_id=0, bos_token_id=None, eos_token_id=4,
    ))  # fmt: skip
    asked: dict[int, set[str]] = {}

    def reward(prompts: list[str], completion_ids: list[list[int]], trainer_state: Any, **_: Any) -> list[float]:
        asked.setdefault(trainer_state.global_step, set()).update(prompts)
        return [float(sum(ids) % 3) for ids in completion_ids]

    config = GRPOConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=2 * A_STEP, num_generations=2, beta=0.0,
        max_completion_length=4, num_train_epochs=EPOCHS, learning_rate=1e-3, logging_strategy="no", save_steps=1,
        save_strategy="steps" if stop is None else "no", report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
        gradient_checkpointing=False, seed=0,
    )  # fmt: skip
    data = Dataset.from_dict({"prompt": [f"t{i + 8}" for i in range(PROBLEMS)]})
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=data, processing_class=words_tokenizer(Words())
    )
    trainer.train(resume_from_checkpoint=None if stop is None else str(folder / "trl" / f"checkpoint-{stop}"))
    order = [tuple(sorted(asked[step])) for step in sorted(asked)]
    return Trail(order, torch.cat([p.detach().flatten() for p in model.parameters()]))


def compared(who: str, whole: Trail, resumed: Trail, stop: int) -> dict[str, Any]:
    """One row: how many of the steps after the stop ask for other problems, and how far the last weights are."""
    rest = whole.asked[stop:]
    differing = sum(a != b for a, b in zip(rest, resumed.asked, strict=False)) + abs(len(rest) - len(resumed.asked))
    apart = float((whole.weights - resumed.weights).abs().max())
    return {
        "who": who, "stopped_after_step": stop, "in_epoch": 1 + stop * A_STEP // PROBLEMS, "steps_left": len(rest),
        "steps_with_other_problems": differing, "largest_weight_difference": f"{apart:.3g}",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for who, train in (("rrl", ours), ("trl 1.16", trls)):
            whole = train(Path(name), None)
            assert len(whole.asked) == STEPS, whole.asked
            for stop in range(1, STEPS):
                rows.append(compared(who, whole, train(Path(name), stop), stop))
                print(rows[-1], flush=True)
    write_csv(args.out, rows)


if __name__ == "__main__":
    main()
