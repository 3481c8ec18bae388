"""Sequences per second of ``rrl`` and of TRL's GRPO trainer: same tiny model, same prompts, same CPU, interleaved.

Both roll out and train on ``--rows`` sequences a step, one optimiser step on each, 8 samples a prompt,
group-mean baseline (rrl: value=group_mean). Writes a CSV: one row per repetition.

    pip install -e .[bench] && python -m tests.bench.trl_grpo --out docs/results/trl_throughput.csv
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from tests.bench.rows import write_csv

SAMPLES = 8
SETTING = (
    "value=group_mean", "replay/schedule=none", "replay/admission=none", "warm_start=none", "tracker=[]",
    f"run.samples_per_start={SAMPLES}", "learner.epochs=1", "learner.minibatches=1",
    "evaluate.every_steps=1000000", "evaluate.dense_until=0",
)  # fmt: skip


def words_tokenizer(task):  # type: ignore[no-untyped-def]
    """A word-level tokenizer over the task's vocabulary, made here: no hub."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocab = {f"<{i}>": i for i in range(task.vocab_size)}
    raw = Tokenizer(WordLevel(vocab, unk_token="<3>"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<0>", eos_token="<4>", unk_token="<3>")


def trl_seconds(house, rows: int, steps: int, folder: Path) -> float:  # type: ignore[no-untyped-def]
    """Seconds a step of TRL's GRPOTrainer, after one step of warm-up."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    task = house.task
    problems = {" ".join(f"<{t}>" for t in p.prompt): p for p in task.train_problems() if p.difficulty == "hard"}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=task.vocab_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=4,
        )
    )
    marks: list[float] = []

    class Mark(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            marks.append(time.perf_counter())

    def reward(prompts, completions, completion_ids, **kwargs):  # type: ignore[no-untyped-def]
        return [task.score(problems[p], tuple(ids)).score for p, ids in zip(prompts, completion_ids, strict=True)]

    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        num_generations=SAMPLES,
        max_completion_length=5,
        max_steps=steps + 1,
        learning_rate=1e-3,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        beta=0.0,
        gradient_checkpointing=False,
        disable_tqdm=True,
        bf16=False,
    )
    data = Dataset.from_dict({"prompt": list(problems)})
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=data, processing_class=words_tokenizer(task)
    )
    trainer.add_callback(Mark())
    trainer.train()
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def rrl_seconds(house, rows: int, steps: int) -> float:  # type: ignore[no-untyped-def]
    """Seconds a step of the loop: rollout, score, estimate, observe, update, fit."""
    from dataclasses import replace

    from rrl import loop
    from rrl.saver import first_progress

    marks: list[float] = []
    budget = replace(first_progress(house.run), step=0, token_budget=10**9)

    class Enough(Exception):
        pass

    def after(progress):  # type: ignore[no-untyped-def]
        marks.append(time.perf_counter())
        if len(marks) > steps:
            raise Enough

    with suppress(Enough):
        loop.train(house, budget, after)
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128, help="sequences a step")
    parser.add_argument("--steps", type=int, default=10, help="timed steps a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    from hydra import compose, initialize_config_module

    from rrl.build import build
    from rrl.provenance import provenance
    from rrl.ranks import Ranks

    torch.set_num_threads(1)
    made = provenance("python -m tests.bench.trl_grpo")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(args.repetitions):
            with initialize_config_module("rrl.conf", version_base="1.3"):
                cfg = compose("train", [*SETTING, f"run.starts_per_step={args.rows // SAMPLES}"])
            house = build(cfg, Path(folder), Ranks())
            seconds = {
                "trl": trl_seconds(house, args.rows, args.steps, Path(folder) / "trl"),
                "rrl": rrl_seconds(house, args.rows, args.steps),
            }
            for who, s in seconds.items():
                measured = {"ms_per_step": round(s * 1e3, 2), "sequences_per_s": round(args.rows / s, 1)}
                where = {"device": made["device"], "commit": made["commit"]}
                rows.append({"who": who, "repetition": repetition, "rows": args.rows, **measured, **where})
            print({who: f"{s * 1e3:.1f} ms a step" for who, s in seconds.items()})
    write_csv(args.out, rows)
    median = {w: statistics.median(r["sequences_per_s"] for r in rows if r["who"] == w) for w in ("trl", "rrl")}
    ratio = median["rrl"] / median["trl"]
    print(f"median sequences/s: trl {median['trl']:.0f}, rrl {median['rrl']:.0f}, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
