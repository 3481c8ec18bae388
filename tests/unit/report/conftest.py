"""Run folders as training writes them: PPO able yet stuck, RRL rising to .93."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rrl.report.compare import Comparison, write_comparison
from rrl.report.run_report import write_run_report


def write_run(
    folder: Path, name: str, seed: int, *, steps: int = 40, status: str = "finished", overrides: tuple[str, ...] = ()
) -> Path:
    """A run of ``steps`` records, 3,500 tokens each, with 5 warm-up steps before them."""
    rng = np.random.default_rng(seed)
    replays, folder = name != "ppo", folder.resolve()
    (folder / "tables").mkdir(parents=True)
    final: dict[str, float] = {}
    lines: list[str] = []
    for step in range(-4, steps + 1):
        done = max(0.0, (step + 4) / (steps + 4))
        on = replays and done > 0.3
        hard = (
            0.93 / (1 + math.exp(-14 * (done - 0.6))) * (0.97 + 0.03 * rng.random())
            if replays
            else 0.002 * rng.random()
        )
        record: dict[str, float] = {
            "progress/step": step,
            "progress/sampled_tokens": 3500 * (step + 5),
            "time/step_s": 0.05,
            "time/tokens_per_s": 7e4,
            "rollout/score_fresh": 0.45 + 0.3 * hard + 0.03 * rng.normal(),
            "rollout/entropy_nats_fresh": 1.6 * math.exp((-2 if replays else -3) * done) + 0.1,
            "rollout/tokens_fresh": 3500.0 - 900.0 * on,
            "time/rollout_s": 0.02,
            "time/learn_s": 0.015,
            "time/observe_s": 0.001 + 0.004 * replays,
        }
        if step > 0:
            record |= {
                "replay/fraction": 0.4 * on,
                "value/auc_fresh": 0.55 + 0.4 * done,
                "explore/hard_coverage_bare": float(round(48 * hard)),
                "explore/new_solves": 4.0 * (1 - done) * (1.5 if replays else 1.0),
                "replay/store_bytes": 190.0 * step * replays,
            }
        if on:
            record |= {
                "rollout/score_replayed": 0.1 + 0.7 * done + 0.03 * rng.normal(),
                "rollout/entropy_nats_replayed": 0.6 * math.exp(-2 * done),
                "replay/conversion": 0.6 * done,
                "rollout/tokens_replayed": 900.0,
                "rollout/prefix_tokens": 51.0,
                "explore/hard_coverage_replayed": float(round(48 * done)),
            }
        if step % 5 == 0 and step >= 0:
            capability = 0.12 + 0.83 * (1 - math.exp(-6 * done)) + 0.01 * rng.normal()
            final = {
                "eval/hard_success": hard,
                "eval/capability": capability,
                "eval/capability_gap": capability - hard,
                "eval/easy_success": 0.2 + 0.79 * (1 - math.exp(-7 * done)),
                "eval/right_key_auc": 0.5 + 0.42 * done * replays,
            }
            record |= final
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if replays:
        rows = [prefix_row(i, steps, rng) for i in range(60)]
        (folder / "tables" / "prefixes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        turns = [turned_row(i) for i in range(4)]
        (folder / "tables" / "turned.jsonl").write_text("".join(json.dumps(r) + "\n" for r in turns))
    schedule = "rrl.replay.schedule." + ("window.Window" if replays else "none.NoReplay")
    (folder / "config.yaml").write_text(
        f"name: {name}\nseed: {seed}\ntask:\n  _target_: rrl.task.keychain.Keychain\nlearner:\n  lr: 0.01\n"
        f"replay:\n  schedule:\n    _target_: {schedule}\n" + ("    rho: 0.4\n" if replays else "")
    )
    (folder / "summary.json").write_text(
        json.dumps(
            {
                "name": name,
                "seed": seed,
                "status": status,
                "steps": steps,
                "sampled_tokens": 3500 * (steps + 5),
                "seconds": 25.5,
                "final": final,
                "expected": {"eval/hard_success": [0.93 if replays else 0.0, 0.1]},
                "command": f"rrl-train -m experiment=ppo,rrl seed={seed}",
                "commit": "abc1234",
                "versions": {"rrl": "0.1.0", "python": "3.11.7"},
                "device": "x86_64 CPU, 1 thread",
                "overrides": [f"experiment={name}", f"seed={seed}", *overrides],
            }
        )
    )
    return folder


def prefix_row(number: int, steps: int, rng: np.random.Generator) -> dict[str, Any]:
    """A stored prefix: wins <= uses, born somewhere in the run."""
    uses = int(rng.integers(0, 20))
    return {
        "problem": f"hard-{number % 48}",
        "tokens": [7],
        "key": f"{number:016x}",
        "text": f"K{number % 10} <b>&</b>",
        "value": float(rng.beta(2, 3)),
        "uses": uses,
        "wins": int(rng.integers(0, uses + 1)),
        "born_step": int(rng.integers(-4, steps)),
        "depth_frac": 0.2,
        "status": "open",
        "origin": "rollout",
    }


HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"


def turned_row(number: int) -> dict[str, Any]:
    """A prefix that failed ``number`` + 1 times before it was solved; its text is an attack on the reader."""
    tries = [[step, 1, 0] for step in range(number + 1)] + [[number + 5, 2, 1]]
    return {
        "key": f"{number:016x}", "problem": f"hard-{number}", "prompt": f"{number}? </td>", "prefix": HOSTILE,
        "continuation": "</script>s1", "failures": number + 1, "turned_step": number + 5, "tries": tries,
    }  # fmt: skip


@pytest.fixture
def make_run() -> Callable[..., Path]:
    return write_run


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished RRL run with its report; tests only read it."""
    folder = write_run(tmp_path_factory.mktemp("reported") / "run", "rrl", 0)
    write_run_report(folder)
    return folder


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """A sweep of two arms with three seeds each, one run that failed and one that died early; tests only read it."""
    sweep = tmp_path_factory.mktemp("sweep")
    for number, (name, seed) in enumerate((n, s) for n in ("ppo", "rrl") for s in range(3)):
        write_run(sweep / f"{number}_{name}_s{seed}", name, seed, overrides=("learner.lr=0.01",))
    write_run(sweep / "6_rrl_s3", "rrl", 3, status="failed", overrides=("learner.lr=0.01",))
    (sweep / "7_rrl_s4").mkdir()
    (sweep / "7_rrl_s4" / "done.json").write_text("{}")
    return sweep, write_comparison([sweep], sweep / "comparison")


def keep_only(run: Path, *names: str) -> None:
    """Cut a run's records down to ``names`` (and the axes): few charts are drawn soon."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in r.items() if k.startswith("progress/") or k in names} for r in records]
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))


@pytest.fixture
def cut_run() -> Callable[..., None]:
    return keep_only
