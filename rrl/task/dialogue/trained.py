"""Scorers trained here, in seconds, on preference pairs: so that RLHF runs on a CPU with nothing to download."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rrl import rng
from rrl.ranks import Ranks
from rrl.scorer.conversation import Exchange, transcript_of
from rrl.scorer.losses import bradley_terry_loss, logistic_loss
from rrl.scorer.preference_model import PreferenceModel
from rrl.scorer.small import Recipe, train_classifier
from rrl.task.dialogue.pairs import Pair, pairs_of

log = logging.getLogger(__name__)

Texts = Callable[[Sequence[str]], Tensor]
"""Scores of texts, with a gradient."""


class TrainedReward:
    """A reward model of prompt and response: the chosen one of a pair beats the rejected one (``bradley_terry_loss``).

    Args:
      model_seed: of its weights and batches; not the run's seed, so that all seeds of a sweep share one model.
      pairs: kind -> sources, as in ``Pairs``.
      damage_frac: share of the pairs whose rejected answer is, in that step, the chosen one with letters changed: a
        policy that learns to write makes such mistakes, people's answers have none.
      swap_frac: share of those whose rejected answer is a chosen one to a prompt of another kind (of any other prompt,
        where there is one kind): good in itself, and no answer to this.
      cache_dir: where trained models are kept, by a hash of everything that led to them.
      others: see ``Recipe``.
    """

    def __init__(
        self, *, model_seed: int, ranks: Ranks, pairs: dict[str, tuple[str, ...]], damage_frac: float,
        swap_frac: float, width: int, num_layers: int, num_heads: int, max_positions: int, steps: int, batch: int,
        lr: float, rows_per_batch: int, cache_dir: str,
    ) -> None:  # fmt: skip
        if min(damage_frac, swap_frac) < 0.0 or damage_frac + swap_frac > 1.0:
            raise ValueError(f"scorer has damage_frac {damage_frac}, swap_frac {swap_frac}; expected shares >= 0 that "
                             "sum to at most 1")
        recipe = Recipe(width=width, num_layers=num_layers, num_heads=num_heads, max_positions=max_positions,
                        steps=steps, batch=batch, lr=lr)  # fmt: skip
        train = pairs_of(pairs, "scorer.pairs")

        kinds = {p.kind for p in train}
        others = {kind: [p for p in train if p.kind != kind or len(kinds) == 1] for kind in kinds}

        def loss_of(scores: Texts, step: int) -> Tensor:
            generator = rng.generator(model_seed, "trained_reward", step)
            drawn = [train[i] for i in generator.integers(len(train), size=batch)]
            worse = [_worse(p, others, generator, damage_frac, swap_frac) for p in drawn]
            answers = [p.chosen for p in drawn] + worse
            both = scores([_text(p, answer) for p, answer in zip(drawn + drawn, answers, strict=True)])
            return bradley_terry_loss(both[:batch], both[batch:])

        facts = {"loss": "bradley_terry", "damage_frac": damage_frac, "swap_frac": swap_frac}
        kept = _Kept(Path(cache_dir), model_seed, recipe, facts, train, ranks)
        self._model = kept.model(loss_of, "transcript", rows_per_batch)

    def __call__(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] scores."""
        return self._model(exchanges)


class TrainedHarm:
    """Log-odds that a response, or its beginning, is harmful; it reads the response alone.

    Positive: rejected answers to prompts of ``harmful_kind``. Negative: all other answers. Beginnings of random length
    are shown too, with the whole answer's label.

    Args:
      harmful_kind: kind of prompts whose rejected answers do harm.
      min_bytes: shortest beginning that is shown; shorter ones say nothing yet.
      others: see ``TrainedReward``.
    """

    def __init__(
        self, *, model_seed: int, ranks: Ranks, pairs: dict[str, tuple[str, ...]],
        harmful_kind: str, min_bytes: int, width: int, num_layers: int, num_heads: int, max_positions: int, steps: int,
        batch: int, lr: float, rows_per_batch: int, cache_dir: str,
    ) -> None:  # fmt: skip
        if harmful_kind not in pairs:
            raise ValueError(f"scorer.harmful_kind is {harmful_kind!r}; expected one of: {', '.join(pairs)}")
        recipe = Recipe(width=width, num_layers=num_layers, num_heads=num_heads, max_positions=max_positions,
                        steps=steps, batch=batch, lr=lr)  # fmt: skip
        train = pairs_of(pairs, "scorer.pairs")
        labelled = _labelled(train, harmful_kind)
        harmful, harmless = ([text for text, label in labelled if label == wanted] for wanted in (True, False))

        def loss_of(scores: Texts, step: int) -> Tensor:
            generator = rng.generator(model_seed, "trained_harm", step)
            half = batch // 2
            texts = [group[i] for group in (harmful, harmless) for i in generator.integers(len(group), size=half)]
            shown = [t[: generator.integers(min(min_bytes, len(t)), len(t) + 1)] for t in texts]
            return logistic_loss(scores(shown), torch.arange(2 * half) < half)

        facts = {"loss": "logistic", "harmful_kind": harmful_kind, "min_bytes": min_bytes}
        kept = _Kept(Path(cache_dir), model_seed, recipe, facts, train, ranks)
        self._model = kept.model(loss_of, "response", rows_per_batch)

    def __call__(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] log-odds."""
        return self._model(exchanges)


def damaged(text: str, generator: np.random.Generator) -> str:
    """``text`` with one to five letters left out, doubled, or replaced by others of its own."""
    letters = list(text)
    for _ in range(int(generator.integers(1, 6))):
        i, j = generator.integers(len(letters), size=2)
        letters[i] = ("", letters[i] * 2, letters[j])[generator.integers(3)] or ""
    return "".join(letters) if "".join(letters) != text else text[1:]


def _worse(
    pair: Pair, others: dict[str, list[Pair]], generator: np.random.Generator, damage_frac: float, swap_frac: float
) -> str:
    """The answer that the chosen one shall beat this time."""
    luck, chosen = generator.random(), pair.chosen or ""
    if luck < damage_frac:
        return damaged(chosen, generator)
    if luck < damage_frac + swap_frac:
        pool = others[pair.kind]
        swapped = pool[generator.integers(len(pool))].chosen or ""
        if swapped != chosen:
            return swapped
    return pair.rejected or ""


def _labelled(pairs: Sequence[Pair], harmful_kind: str) -> list[tuple[str, bool]]:
    return [(text or "", harmful and pair.kind == harmful_kind)
            for pair in pairs for text, harmful in ((pair.chosen, False), (pair.rejected, True))]  # fmt: skip


def _text(pair: Pair, response: str | None) -> str:
    return transcript_of(Exchange(pair.prompt, response or ""))


class _Kept:
    """A folder named by everything that led to the model in it."""

    def __init__(
        self, directory: Path, seed: int, recipe: Recipe, facts: dict[str, Any], pairs: Sequence[Pair], ranks: Ranks
    ) -> None:
        said = json.dumps([seed, repr(recipe), facts, pairs, version("rrl")], sort_keys=True)
        self._folder = directory / hashlib.blake2b(said.encode(), digest_size=12).hexdigest()
        self._seed, self._recipe, self._ranks = seed, recipe, ranks

    def model(
        self, loss_of: Callable[[Texts, int], Tensor], reads: Literal["transcript", "response"], rows_per_batch: int
    ) -> PreferenceModel:
        """Trained now, or the one that stands there."""
        if not (self._folder / "config.json").is_file() and self._ranks.is_main:
            began, part = time.perf_counter(), self._folder.with_suffix(f".{os.getpid()}.part")
            train_classifier(self._recipe, self._seed, loss_of, part)
            if self._folder.exists():
                shutil.rmtree(part)  # another process was quicker; its model is the same
            else:
                part.rename(self._folder)
            log.info("trained %s in %.0f s: %s", reads, time.perf_counter() - began, self._folder)
        self._ranks.broadcast(True)  # the others wait for the folder
        return PreferenceModel(
            model=str(self._folder), revision="main", trust_remote_code=False, reads=reads, good_label=0,
            dtype="float32", device="cpu", rows_per_batch=rows_per_batch,
        )  # fmt: skip
