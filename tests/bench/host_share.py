"""CPU time of the TRL adapter as a share of the host's step: what replay itself costs inside somebody else's trainer.

Two sizes: keychain's (5 tokens a row, two layers 32 wide, steps of tens of milliseconds: the worst case), and a
small text-sized one (128 tokens a row, a Llama of six layers 256 wide, random weights). All = everything inside
``rollout`` and the telling but TRL's own tokenizing and generating; replay = the calls of ``Replay`` and the value
estimator in it, which any loop pays; adapter = the rest.

    pip install -e .[dev] && python -m tests.bench.host_share --out docs/results/host_share.csv
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.bench.rows import write_csv
from tests.hosts.words import words


class Stopwatch:
    """CPU seconds inside wrapped calls."""

    def __init__(self) -> None:
        self.spent = 0.0

    def around(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent += time.process_time() - began

        timed.__name__ = getattr(function, "__name__", "timed")
        return timed


def share(size: str, steps: int, folder: Path) -> dict[str, Any]:
    """One run of TRL; CPU milliseconds a step of the whole and of the adapter."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from rrl.hosts.build import build
    from rrl.hosts.trl import Hooks

    torch.manual_seed(0)
    width, layers, rows, group, new = {"tiny": (32, 2, 128, 4, 5), "text": (256, 6, 32, 8, 128)}[size]
    tokenizer = words(1024)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=1024, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64), max_position_embeddings=512, pad_token_id=0, bos_token_id=None,
        eos_token_id=4,
    ))  # fmt: skip
    prompts = [f"<2> <{30 + i}> <17>" for i in range(176)]
    host, adapter = Stopwatch(), Stopwatch()  # TRL's own work inside ``rollout``; all of it and the telling
    replay = ["replay/schedule=constant", "replay.schedule.rho=0.4", "replay/cut=token"]
    hooks = Hooks(build(replay, tokenizer=tokenizer))

    def reward(completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [float(sum(ids) % 5 == 0) for ids in completion_ids]

    functions = hooks.watch(reward)
    config = GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=rows, num_generations=group, max_completion_length=new,
        max_steps=steps, learning_rate=1e-4, logging_steps=10, save_strategy="no", report_to=[], use_cpu=True, beta=0.0,
        gradient_checkpointing=False, disable_tqdm=True, bf16=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, args=config, train_dataset=Dataset.from_dict({"prompt": prompts}), processing_class=tokenizer,
        reward_funcs=functions, rollout_func=adapter.around(hooks.rollout), callbacks=[hooks.callback],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer._generate_single_turn = host.around(trainer._generate_single_turn)
    trainer._tokenize_prompts = host.around(trainer._tokenize_prompts)
    hooks._watched._tell = adapter.around(hooks._watched._tell)
    inside, session = Stopwatch(), hooks.session  # replay and value: what our own loop pays too
    for owner, verbs in ((session.replay, ("rescore", "start", "converted", "observe")),
                         (session.value, ("estimate", "fit"))):  # fmt: skip
        for verb in verbs:
            setattr(owner, verb, inside.around(getattr(owner, verb)))
    began = time.process_time()
    trainer.train()
    whole, all_of_it = time.process_time() - began, adapter.spent - host.spent
    return {
        "size": size, "rows": rows, "new_tokens": new, "steps": steps, "states": len(hooks.session.replay.rows()),
        "step_ms": round(1e3 * whole / steps, 1), "replay_ms": round(1e3 * inside.spent / steps, 2),
        "adapter_ms": round(1e3 * (all_of_it - inside.spent) / steps, 2),
        "all_percent": round(100.0 * all_of_it / whole, 2),
        "adapter_percent": round(100.0 * (all_of_it - inside.spent) / whole, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    from rrl.provenance import provenance

    torch.set_num_threads(1)
    made = provenance("python -m tests.bench.host_share")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in ("tiny", "text"):
            rows.append(share(size, args.steps, Path(folder) / size) | {k: made[k] for k in ("device", "commit")})
            print(rows[-1])
    write_csv(args.out, rows)


if __name__ == "__main__":
    main()
