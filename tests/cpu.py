"""How much a piece of work costs, and nothing else that the process does."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def counted() -> Iterator[SimpleNamespace]:
    """``seconds``, when the block has ended: CPU time of this thread in it.

    A worker that has run thousands of tests has threads of other people's, and a heap whose collection takes seconds;
    it is collected before, so that it is not in the middle.
    """
    gc.collect()
    cost, begin = SimpleNamespace(seconds=float("nan")), time.thread_time()
    yield cost
    cost.seconds = time.thread_time() - begin
