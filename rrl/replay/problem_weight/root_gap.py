"""Problems that the bare prompt fails, and that were not replayed much yet."""

from __future__ import annotations

import numpy as np


class RootGap:
    """(1 - e_p) / sqrt(1 + replays_p): the visit count of Go-Explore (arXiv 2004.12919) times what is missing."""

    def __init__(self) -> None:
        return None

    def weight(self, root_success: np.ndarray, replays: np.ndarray) -> np.ndarray:
        gap: np.ndarray = (1.0 - root_success) / np.sqrt(1.0 + replays)
        return gap
