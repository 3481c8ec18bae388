"""How much a network computes for rows that share contexts, read in either way.

A forward over T tokens costs 2 N T for N weights in products, and 4 L d for each pair of tokens that attention
looks at in L layers of width d; a causal kernel skips half of the square, a kernel with a mask of its own
does not. Starting a forward costs something as well, which at small sizes is more than the work.
Legend: U contexts of P columns, N rows of C columns behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rrl.policy.prefix.groups import Groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """tokens: columns read, padding included.  pairs: (query, key) pairs that attention computes by a causal kernel;
    masked: under a mask of their own.  forwards: calls."""

    tokens: float
    pairs: float
    masked: float = 0.0
    forwards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Floating-point operations of one token in the products and of one pair in attention, over all layers, and
    those that the machine could do while a forward is started."""

    token: float
    pair: float
    masked: float
    forward: float

    def of(self, work: Work) -> float:
        """Operations, and what could have been done instead of starting them."""
        pairs = self.pair * work.pairs + self.masked * work.masked
        return self.token * work.tokens + pairs + self.forward * work.forwards


# Operations that a device could do while one layer is started. cpu: measured with two-layer decoders of width 32
# to 256 on one thread, where reading in two forwards breaks even at about 20 million saved a layer. cuda: ten
# kernels of 10 microseconds at 200 TFLOP/s; an estimate.
START_OF_LAYER = {"cpu": 2e7, "cuda": 2e10}

# What a pair costs under a mask of four dimensions beside one under a causal kernel. cuda: measured on an H100, where
# such a mask keeps sdpa off its fast kernels: 8.7 (tree_mask) and 10 (kv_reuse) at P = 2048, C = 512, G = 8, from
# kernels/bench/results/nvidia_h100_80gb_hbm3_shared_prefix_ratio.csv.
MASKED = {"cpu": 1.0, "cuda": 9.0}


def price_of(decoder: Any) -> Price:
    """The embedding is a look-up and free; of a mixture of experts all experts are counted, which favours sharing."""
    config = decoder.config
    weights = sum(p.numel() for p in decoder.parameters()) - decoder.get_input_embeddings().weight.numel()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layers = int(config.num_hidden_layers)
    device = next(decoder.parameters()).device.type
    pair = 4.0 * layers * size * config.num_attention_heads
    return Price(
        token=2.0 * weights, pair=pair, masked=pair * MASKED.get(device, MASKED["cuda"]),
        forward=layers * START_OF_LAYER.get(device, START_OF_LAYER["cuda"]),
    )


def repeated(groups: Groups) -> Work:
    """Every row whole, in one rectangle. Two rows of context 6 and continuations 2 and 1: 16 tokens, 64 pairs."""
    rows, width = len(groups.lengths), int((groups.before + groups.lengths).max())
    return Work(tokens=rows * width, pairs=rows * width**2 / 2, forwards=1)


def reused(groups: Groups) -> Work:
    """Contexts, then continuations on their keys. The same rows: 6 + 4 tokens, 18 + 32 pairs."""
    contexts, width = groups.contexts.shape
    rows, own = groups.continuations.shape
    return Work(
        tokens=contexts * width + rows * own, pairs=contexts * width**2 / 2, masked=rows * own * (width + own),
        forwards=2 if own else 1,
    )


def masked(groups: Groups) -> Work:
    """Each group as one row under a dense mask. The same rows: 9 tokens, 81 pairs."""
    sizes = groups.context_lengths.index_add(0, groups.group, groups.lengths)
    width = int(sizes.max())
    return Work(tokens=len(sizes) * width, pairs=0.0, masked=len(sizes) * width**2, forwards=1)


def blocked(groups: Groups) -> Work:
    """All groups in one row, blocks that nobody may see left out. The same rows: 9 tokens, 18 + 12 + 6 + 2.5 pairs."""
    before, own = groups.before.double(), groups.lengths.double()
    pairs = groups.context_lengths.double().square().sum() / 2 + (before * own + own.square() / 2).sum()
    tokens = groups.context_lengths.sum() + groups.lengths.sum()
    return Work(tokens=float(tokens), pairs=float(pairs), forwards=1)
