"""Launch configurations and chunk sizes as a static table; nothing is searched at run time.

A search at run time would change results from run to run, and on a kernel that writes in place it would run every
candidate on the same memory. Keys are (compute capability, size of an element, vocabulary); a key that is not there
takes its nearest neighbour. No GPU has measured these numbers yet: they are chosen from the byte and register counts
given beside them, and each compiles without spills (``tests/kernels/test_compile.py``).
"""

from __future__ import annotations

from typing import NamedTuple


class RowConfig(NamedTuple):
    """block: columns read at once.  num_warps, num_stages: of the launch."""

    block: int
    num_warps: int
    num_stages: int


# Rows are read front to back. 4096 float32 columns over 8 warps are 16 registers a thread and array of the row; with
# three live arrays that is far from the 255 of a thread, and 8 warps leave room for several rows on one multiprocessor.
_ROWS = {
    1024: RowConfig(block=1024, num_warps=4, num_stages=2),
    32768: RowConfig(block=2048, num_warps=4, num_stages=3),
    262144: RowConfig(block=4096, num_warps=8, num_stages=3),
}


def row_config(vocab_size: int) -> RowConfig:
    """Of a kernel with one program a row, by vocabulary."""
    best = next((config for most, config in _ROWS.items() if vocab_size <= most), _ROWS[262144])
    block = min(best.block, max(16, 1 << (vocab_size - 1).bit_length()))  # no wider than the row
    return best._replace(block=block)


def scan_config(longest: int) -> RowConfig:
    """Of a kernel with one program a segment, by its longest: 1024 tokens a step, fewer where rows are short."""
    block = min(1024, max(16, 1 << max(longest - 1, 1).bit_length()))
    return RowConfig(block=block, num_warps=4 if block > 256 else 1, num_stages=1)


def head_chunk(device: str, vocab_size: int, logit_bytes: int) -> int:
    """Rows of the output layer whose logits exist at once.

    GPU: 4096, where reading and writing the float32 dW costs 9 % of the three products and the logits of 152,000
    tokens take 2.5 GB in float32; fewer would pay dW more often. CPU: 32 MiB of logits, about what the last-level
    cache and one thread's memory bandwidth like, at least 16 rows so that the products stay products of matrices.
    """
    if device == "cuda":
        return 4096
    return max(16, (32 << 20) // max(1, vocab_size * logit_bytes))
