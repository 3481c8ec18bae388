"""Twenty steps of one arm, small and in float64; prints what happened as JSON.

    python -m tests.golden.run <arm>

Started by ``record`` and by the test in a process of its own, whose environment fixes the CPU's instruction set.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
ARMS = {"ppo": ("experiment=ppo",), "rrl": ("experiment=rrl", "replay/schedule=constant")}
SIZES = (
    "policy.backbone.dtype=float64", "run.token_budget=4000", "run.starts_per_step=32", "run.warm_up.batches=3",
    "run.warm_up.starts=32", "warm_start.steps=250", "warm_start.batch=64", "evaluate.every_steps=10", "tracker=[]",
)  # fmt: skip
NUM_STEPS = 20
KEPT = (
    "learn/loss", "learn/grad_norm", "value/loss", "rollout/score_fresh", "rollout/entropy_nats_fresh",
    "rollout/solved_replay", "replay/fraction", "replay/store_size", "replay/conversion", "replay/lessons",
    "eval/hard_success", "eval/capability",
)  # fmt: skip
# Kernels chosen by what the CPU can do would differ between machines of one name under different hypervisors.
FIXED = {
    "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem",
}  # fmt: skip


def machine() -> dict[str, str]:
    """What an exact comparison needs to be equal: the CPU's name and torch's version; the rest is to know."""
    import numpy
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return {"cpu": name, "torch": torch.__version__, "numpy": numpy.__version__, "python": platform.python_version()}


def in_a_process(arm: str) -> dict[str, Any]:
    """``run(arm)`` in a process with the fixed environment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.run", arm],
        cwd=ROOT,
        env=os.environ | FIXED,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


class _Enough(Exception):
    """Twenty steps are done."""


class _Watched:
    """A Replay that passes everything on and digests the sampled tokens."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.tokens, self._digest = inner, 0, hashlib.blake2b(digest_size=8)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def observe(self, attempts: Any, progress: Any, *, warm_up: bool = False) -> Any:
        for a in attempts:
            self._digest.update(json.dumps([a.start.problem.id, a.start.prefix, a.tokens]).encode())
        return self._inner.observe(attempts, progress, warm_up=warm_up)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class _Log:
    """A tracker that keeps the metrics of the current step."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def log(self, progress: Any, metrics: dict[str, float]) -> None:
        self.last = metrics

    def rollouts(self, progress: Any, attempts: Any) -> None:
        """Nothing is shown."""


def run(arm: str) -> dict[str, Any]:
    """The machine, every step's key figures, and digests of the sampled tokens and of the store's keys."""
    import torch

    from rrl import loop
    from rrl.saver import first_progress
    from tests.small import small_house

    torch.set_num_threads(1)
    steps: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        house = small_house(Path(folder) / "run", *SIZES, *ARMS[arm])
        replay, log = _Watched(house.replay), _Log()
        house = replace(house, replay=replay, tracker=log)  # type: ignore[arg-type]

        def after(progress: Any) -> None:
            figures = {k: log.last[k] for k in KEPT if k in log.last}
            steps.append(
                {"step": progress.step, "sampled_tokens": progress.sampled_tokens, "tokens_digest": replay.digest}
                | figures
            )
            if progress.step == NUM_STEPS:
                raise _Enough

        with contextlib.suppress(_Enough):
            loop.train(house, loop.warm_up(house, first_progress(house.run), after), after)
        keys = sorted(row["key"] for row in house.replay.rows())
    return {
        "machine": machine(), "steps": steps, "store_keys": len(keys),
        "store_digest": hashlib.blake2b("".join(keys).encode(), digest_size=8).hexdigest(),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
