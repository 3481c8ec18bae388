"""Supervised fine-tuning on the task's demonstrations before RL, kept on disk.

Every arm of a comparison begins from the same weights; training them once and loading them
bit for bit afterwards saves more time than any other trick in a sweep.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from rrl import rng
from rrl.environment import with_given
from rrl.protocols import Policy, Task
from rrl.ranks import Ranks
from rrl.types import Metrics, Start, sequences_of
from rrl.warm_start.cache import WeightCache, digest

_LAST = 20  # steps whose mean negative log-likelihood is reported


class SFT:
    """Minimise the mean negative log-likelihood of demonstrated response tokens with Adam.

    The learning rate rises linearly over ``warm_up_steps``, then falls linearly to
    ``final_lr_frac`` of ``lr`` at the last step. Only the main rank trains; the others receive.

    Args:
      steps: >= 1.
      batch: demonstrations a step, >= 1.
      lr: peak learning rate, > 0.
      warm_up_steps: >= 0.
      final_lr_frac: in [0, 1].
      betas: Adam's decay rates, two numbers in [0, 1).
      eps: Adam's epsilon, > 0.
      cache_dir: where trained weights are kept.
    """

    def __init__(
        self, *, seed: int, task: Task, ranks: Ranks, steps: int, batch: int, lr: float, warm_up_steps: int,
        final_lr_frac: float, betas: tuple[float, ...], eps: float, cache_dir: str,
    ) -> None:
        if steps < 1 or batch < 1:
            raise ValueError(f"warm_start has steps {steps}, batch {batch}; expected >= 1; warm_start=none skips it")
        if not (lr > 0.0 and eps > 0.0 and 0.0 <= final_lr_frac <= 1.0 and warm_up_steps >= 0 and len(betas) == 2):
            raise ValueError(
                f"warm_start has lr {lr}, eps {eps}, final_lr_frac {final_lr_frac}, warm_up_steps {warm_up_steps}, "
                f"betas {betas}; expected lr and eps > 0, final_lr_frac in [0, 1], warm_up_steps >= 0, two betas"
            )
        self._recipe = {
            "seed": seed, "steps": steps, "batch": batch, "lr": lr, "warm_up_steps": warm_up_steps,
            "final_lr_frac": final_lr_frac, "betas": list(betas), "eps": eps,
        }
        self._seed, self._task, self._ranks = seed, task, ranks
        self._steps, self._batch = steps, batch
        self._lr, self._warm_up_steps, self._final_lr_frac = lr, warm_up_steps, final_lr_frac
        self._betas, self._eps = (betas[0], betas[1]), eps
        self._cache_dir = Path(cache_dir)

    def prepare(self, policy: Policy) -> Metrics:
        """Give ``policy`` the warm-started weights, from the cache where it has them.

        Returns:
          warm_start/nll_nats: mean over the last 20 steps; warm_start/s: seconds; warm_start/cached: 1 or 0.
        """
        began = time.perf_counter()
        metrics: Metrics = {}
        if self._ranks.is_main:
            cache = self.cache_of(policy)
            kept = cache.load()
            if kept is None:
                nll = self._train(policy)
                cache.save(policy.state_dict(), {"nll_nats": nll})
            else:
                policy.load_state_dict(kept[0])
                nll = kept[1]["nll_nats"]
            metrics = {"warm_start/nll_nats": nll, "warm_start/cached": float(kept is not None)}
        if self._ranks.size > 1:
            policy.load_state_dict(self._ranks.broadcast(policy.state_dict()))
        return self._ranks.broadcast(metrics | {"warm_start/s": time.perf_counter() - began})

    def cache_of(self, policy: Policy) -> WeightCache:
        """Where the weights that this warm start makes of ``policy`` are kept."""
        weights: dict[str, Tensor] = policy.state_dict()
        recipe: dict[str, Any] = self._recipe | {
            "task": [self._task.name, self._task.fingerprint],
            "policy": policy.fingerprint,
            "initial_weights": digest(weights),  # names and shapes too, and which model of the hub it was
            "version": version("rrl"),
        }
        return WeightCache(self._cache_dir, recipe)

    def _train(self, policy: Policy) -> float:
        parameters = list(policy.parameters())
        optimiser = torch.optim.Adam(parameters, lr=self._lr, betas=self._betas, eps=self._eps, fused=True)
        recent: list[float] = []
        with _bar() as bar:
            shown = bar.add_task("warm start", total=self._steps, nll=float("nan"))
            for step in range(self._steps):
                pairs = self._task.demonstrations(self._batch, rng.generator(self._seed, "warm_start", step))
                rows = sequences_of([(Start(problem=p), with_given(self._task, p, said)) for p, said in pairs])
                loss, _ = policy.loss(rows, nll_loss)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for group in optimiser.param_groups:
                    group["lr"] = self._lr * self._lr_frac(step)
                optimiser.step()
                recent = [*recent[-_LAST + 1 :], float(loss.detach())]
                bar.update(shown, advance=1, nll=recent[-1])
        optimiser.zero_grad()
        return sum(recent) / len(recent)

    def _lr_frac(self, step: int) -> float:
        """Steps 0..3 of 4, 2 of them warm-up, to .1: .5, 1, 1, .1."""
        if step < self._warm_up_steps:
            return (step + 1) / self._warm_up_steps
        done = (step - self._warm_up_steps) / max(1, self._steps - 1 - self._warm_up_steps)
        return 1.0 - (1.0 - self._final_lr_frac) * done


def nll_loss(logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Token mean of -log p as a ``TokenLoss``."""
    del index
    return -logprob.mean(), torch.full_like(logprob, -1.0 / len(logprob)), torch.zeros_like(entropy)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[nll]:.3f} nats"), transient=True, disable=not sys.stdout.isatty(),
    )
