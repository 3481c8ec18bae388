"""GRPO by TRL on the default task, with and without retrospective replay: the lines marked `rrl` are all it takes.

    python examples/hosts/trl/train.py --out outputs/trl            # both arms, one after the other, and the plot
    python examples/hosts/trl/train.py --out outputs/trl --arm grpo_rrl --seed 1
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from hydra import compose, initialize_config_module
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from rrl import build as rooms
from rrl.hosts.build import build  # rrl 1
from rrl.hosts.trl import Hooks  # rrl 2
from rrl.ranks import Ranks
from rrl.types import Start, sequences_of

# rrl 3: what differs from conf/hosts.yaml. Tokens are whole symbols here, so a cut may stand before any of them.
REPLAY = ["replay/schedule=window", "replay/cut=token", "replay/admission=first_boundary", "host.fill_rows=32"]
ARMS = {"grpo": ["replay/schedule=none", "host.fill_rows=0"], "grpo_rrl": []}


def warm_started(seed: int, folder: Path) -> tuple[Any, Any]:
    """(task, policy): keychain, and the tiny model as a LlamaForCausalLM after the task's noisy demonstrations."""
    with initialize_config_module("rrl.conf", version_base="1.3"):
        cfg = compose("train", ["policy=tiny_hf", f"seed={seed}", f"warm_start.cache_dir={folder / 'warm_start'}"])
    pool = rooms.build_policy(cfg, folder, Ranks())
    rooms.make(cfg.warm_start, "warm_start", **pool).prepare(pool["policy"])
    return pool["task"], pool["policy"]


def words(task: Any) -> Any:
    """A tokenizer with a word for each symbol of the task; the decoy ends a response."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(WordLevel({f"<{i}>": i for i in range(task.vocab_size)}, unk_token="<3>"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<0>", eos_token="<4>", unk_token="<3>")


class Curve(TrainerCallback):
    """Exact success from bare prompts every ``every`` optimiser steps: the probability of each right response."""

    def __init__(self, task: Any, policy: Any, every: int) -> None:
        self.rows: list[dict[str, float]] = []
        self._policy, self._every, self._task = policy, every, task
        self._groups = {kind: [p for p in task.train_problems() if p.difficulty == kind] for kind in ("hard", "easy")}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every == 0:
            self.measure(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(state)

    def measure(self, state: Any) -> None:
        row: dict[str, float] = {"step": float(state.global_step)}
        for kind, problems in self._groups.items():
            row[f"{kind}_success"] = self._success([(Start(problem=p), p.solution) for p in problems])
        hard = self._groups["hard"]
        row["capability"] = self._success([(Start(problem=p, prefix=p.solution[:1]), p.solution[1:]) for p in hard])
        logged = next((r for r in reversed(state.log_history) if "reward" in r), {})
        row |= {k: v for k, v in logged.items() if k in ("reward", "num_tokens") or k.startswith("rrl/")}
        self.rows.append(row)

    def _success(self, rows: list[Any]) -> float:
        sequences = sequences_of(rows)
        logprob, _ = self._policy.logprob(sequences)
        summed = torch.zeros(sequences.num_rows).index_add_(0, sequences.row_of, logprob)
        return float(summed.exp().mean())


def run(arm: str, seed: int, steps: int, out: Path) -> list[dict[str, float]]:
    """One arm: build what a TRL script builds, add replay, train, and write the curve."""
    task, policy = warm_started(seed, out)
    tokenizer, problems = words(task), task.train_problems()
    by_text = {" ".join(f"<{t}>" for t in p.prompt): p for p in problems}

    def reward(prompts: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [task.score(by_text[p], tuple(ids[: by_text[p].max_response])).score
                for p, ids in zip(prompts, completion_ids, strict=True)]  # fmt: skip

    # Half of the prompts are hard ones, as in our own loop's batches.
    texts = [t for t, p in by_text.items() for _ in range(3 if p.difficulty == "hard" else 1)]
    session = build([*REPLAY, *ARMS[arm], f"seed={seed}"], tokenizer=tokenizer)  # rrl 4
    hooks = Hooks(session, known={p.prompt: p for p in problems})  # rrl 5
    curve = Curve(task, policy, every=20)
    config = GRPOConfig(
        output_dir=str(out / arm), seed=seed, max_steps=steps, per_device_train_batch_size=128, steps_per_generation=2,
        num_iterations=2, epsilon_high=1.0, num_generations=4, max_completion_length=5, beta=0.0, learning_rate=3e-3,
        adam_beta2=0.95, adam_epsilon=1e-5, logging_steps=20, save_strategy="no", report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=policy.backbone.module,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=tokenizer,
        reward_funcs=hooks.watch(reward),  # rrl 6
        rollout_func=hooks.rollout,  # rrl 7
        callbacks=[hooks.callback, curve],  # rrl 8
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    trainer.train()
    out.mkdir(parents=True, exist_ok=True)
    columns = sorted({name for row in curve.rows for name in row}, key=lambda name: (name != "step", name))
    with open(out / f"{arm}_s{seed}.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=columns)
        writer.writeheader()
        writer.writerows(curve.rows)
    last = curve.rows[-1]
    print(f"{arm:9} seed {seed}: hard success {last['hard_success']:.2f}, capability {last['capability']:.2f}, "
          f"easy {last['easy_success']:.2f}; {time.perf_counter() - began:.0f} s")
    return curve.rows


def plot(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Hard success and capability of both arms over optimiser steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    names = {"hard_success": "success on hard problems", "capability": "the same, placed behind the right key"}
    for axis, (column, title) in zip(axes, names.items(), strict=True):
        for arm, rows in curves.items():
            axis.plot([r["step"] for r in rows], [r[column] for r in rows], label=arm)
        axis.set(title=title, xlabel="optimiser steps", ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def main() -> None:
    """Train the arms that were asked for, print their last figures and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for curves and the plot")
    parser.add_argument("--arm", choices=[*ARMS, "both"], default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1200, help="optimiser steps; a generation serves four")
    args = parser.parse_args()
    torch.set_num_threads(1)
    arms = list(ARMS) if args.arm == "both" else [args.arm]
    curves = {arm: run(arm, args.seed, args.steps, args.out) for arm in arms}
    plot(curves, args.out / f"curves_s{args.seed}.png")


if __name__ == "__main__":
    main()
