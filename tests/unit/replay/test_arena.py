"""All prefix tokens in one array: what is read out of it, however it is copied."""

from __future__ import annotations

import numpy as np
import pytest

from rrl.replay.arena import Arena


@pytest.mark.parametrize("longest", [5, 127, 128, 400])   # by an index a token, or by a slice a row
@pytest.mark.parametrize("num", [0, 1, 60])
def test_rows_are_gathered_end_to_end_in_the_order_asked(num: int, longest: int) -> None:
    dice, arena = np.random.default_rng(longest), Arena()
    rows = [dice.integers(-9, 30_000, size, dtype=np.int32) for size in dice.integers(1, longest + 1, 200).tolist()]
    offsets, lengths = np.array([arena.append(row) for row in rows]), np.array([len(row) for row in rows])
    asked = dice.integers(0, 200, num)
    gathered = arena.gather(offsets[asked], lengths[asked])
    assert gathered.dtype == np.int32 and gathered.tolist() == [t for place in asked.tolist() for t in rows[place]]


def test_what_is_gathered_is_nobodys_memory() -> None:
    arena = Arena()
    offset = arena.append(np.arange(300, dtype=np.int32))
    gathered = arena.gather(np.array([offset]), np.array([300]))
    gathered[:] = -1
    assert arena.read(offset, 300).tolist() == list(range(300))
