"""A Hydra callback: when a multirun ends, its runs are compared without being asked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class MultirunReport(Callback):
    """Writes ``<sweep>/comparison/`` and prints its table. Hydra builds it from hydra/callbacks=report."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Compare all runs below the sweep's folder; a report that fails is logged, the runs are safe."""
        from rrl.report.compare import (  # matplotlib: only when there is something to draw
            print_comparison,
            write_comparison,
        )

        sweep = Path(str(config.hydra.sweep.dir))
        try:
            comparison = write_comparison([sweep], sweep / "comparison")
        except (ValueError, OSError) as error:
            log.warning("no comparison of %s: %s; once that is mended: rrl-report %s", sweep, error, sweep)
            return
        print_comparison(comparison, next_command=f"rrl-report {comparison.arms[-1].runs[0].folder}")
