"""Small sequence classifiers that read bytes, made from nothing and trained in seconds on one CPU thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrl.scorer.classifier import logits_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """width: hidden size, a multiple of 2 x num_heads.  num_layers, num_heads: of the decoder.  max_positions: bytes it
    reads.  steps: updates.  batch: examples an update.  lr: peak of Adam, reached after a tenth of the steps, then
    falling linearly to 0."""

    width: int
    num_layers: int
    num_heads: int
    max_positions: int
    steps: int
    batch: int
    lr: float

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "num_heads", "max_positions", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"scorer.{name} is {getattr(self, name)}; expected >= 1")
        if self.width % (2 * self.num_heads) or self.lr <= 0.0:
            raise ValueError(f"scorer has width {self.width} with num_heads {self.num_heads}, lr {self.lr}; expected a "
                             "multiple of 2 x num_heads, and > 0")


def byte_tokenizer() -> Any:
    """A tokenizer of transformers with one token a byte and no special tokens but padding."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, pad_token="<|pad|>")


def train_classifier(
    recipe: Recipe, seed: int, loss_of: Callable[[Callable[[Sequence[str]], Tensor], int], Tensor], folder: Path
) -> None:
    """Train a one-label classifier and save it, with its tokenizer, as a folder that transformers loads.

    Args:
      loss_of: (scores of texts, step) -> the loss of that step.
    """
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = byte_tokenizer()
    everywhere: dict[str, Any] = {"num_labels": 1, "attn_implementation": "sdpa"}  # read, never declared
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=recipe.width, intermediate_size=2 * recipe.width,
        num_hidden_layers=recipe.num_layers, num_attention_heads=recipe.num_heads,
        max_position_embeddings=recipe.max_positions, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=None, initializer_range=recipe.width**-0.5, **everywhere,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make: Any = LlamaForSequenceClassification
        model = make(config)
    adam = torch.optim.Adam(model.parameters(), lr=recipe.lr, betas=(0.9, 0.95), fused=True)

    def scores(texts: Sequence[str]) -> Tensor:
        return logits_of(model, [tokenizer.encode(text) for text in texts])[:, 0]

    rise = max(1, recipe.steps // 10)
    for step in range(recipe.steps):
        loss = loss_of(scores, step)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in adam.param_groups:
            group["lr"] = recipe.lr * min((step + 1) / rise, (recipe.steps - step) / (recipe.steps - rise + 1))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    model.config.pad_token_id = tokenizer.pad_token_id  # scoring pads with what suits it
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
