"""TensorBoard event files under ``<output_dir>/tensorboard``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rrl.records import Progress
from rrl.types import Metrics


class Tensorboard:
    """One scalar a metric; tables as Markdown text.

    Args:
      output_dir: the run's folder.
      axis: what the x axis counts, sampled_tokens or step.
      max_table_rows: rows of a table that are shown; >= 1.
    Raises:
      ValueError: the package tensorboard is not installed.
    """

    def __init__(self, *, output_dir: Path, axis: Literal["sampled_tokens", "step"], max_table_rows: int) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError("tracker=tensorboard needs the package tensorboard; install it: pip install tensorboard")
        if max_table_rows < 1:
            raise ValueError(f"tracker.tensorboard.max_table_rows is {max_table_rows}; expected >= 1")
        self._folder, self._axis, self._max_table_rows = output_dir / "tensorboard", axis, max_table_rows
        self._writer: Any = None
        self._x = 0

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """One point a metric."""
        self._x = progress.sampled_tokens if self._axis == "sampled_tokens" else progress.step
        writer = self._open()
        for name, value in metrics.items():
            writer.add_scalar(name, value, self._x)
        writer.flush()

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """The first rows as a Markdown table."""
        if rows:
            lines = [list(rows[0]), ["---"] * len(rows[0])]
            lines += [[str(v).replace("|", "\\|") for v in row.values()] for row in rows[: self._max_table_rows]]
            self._open().add_text(name, "\n".join("|" + "|".join(line) + "|" for line in lines), self._x)

    def artifact(self, path: Path, kind: str) -> None:
        """TensorBoard keeps no files; they stand in the run's folder."""

    def close(self, status: str) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.add_text("status", status, self._x)
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # A resumed run opens a second event file; TensorBoard shows the newer one's points where both have some.
            self._writer = SummaryWriter(log_dir=str(self._folder))
        return self._writer
