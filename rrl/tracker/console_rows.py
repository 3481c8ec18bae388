"""The eight rows of the console's table: which metrics they show, and why one may be missing."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from rrl.types import Metrics

_NO_REPLAY = "no replay yet"
_NO_EVAL = "no evaluation yet"


def short(number: float) -> str:
    """A count in few letters: 950, 41.2k, 1.30M."""
    if abs(number) < 1000:
        return f"{number:.0f}"
    return f"{number / 1e3:.1f}k" if abs(number) < 1e6 else f"{number / 1e6:.2f}M"


def _share(number: float) -> str:
    return f"{number:.3f}"


class Row(NamedTuple):
    """cells: (metric name, why it may be missing) for each part of ``text``, "{}" once a cell.
    Where no cell has a value the row is one dash with the first reason."""

    label: str
    text: str
    cells: tuple[tuple[str, str], ...]
    counts: bool = False

    def show(self, metrics: Metrics, seen: Collection[str]) -> str:
        """The row's text; "-" and the reason where a value is missing. seen: names that had one before."""
        spell = short if self.counts else _share
        reasons = ["none now" if name in seen else why for name, why in self.cells]
        shown = [spell(metrics[name]) if name in metrics else None for name, _ in self.cells]
        if not any(shown):
            return f"- ({reasons[0]})"
        return self.text.format(*(s or f"- ({why})" for s, why in zip(shown, reasons, strict=True)))

    def show_first(self, metrics: Metrics) -> str:
        """The row's text without reasons."""
        spell = short if self.counts else _share
        if not any(name in metrics for name, _ in self.cells):
            return "-"
        return self.text.format(*(spell(metrics[name]) if name in metrics else "-" for name, _ in self.cells))


ROWS = (
    Row(
        "score, fresh / replayed",
        "{} / {}",
        (("rollout/score_fresh", "all replayed"), ("rollout/score_replayed", _NO_REPLAY)),
    ),
    Row("hard solved (bare prompt)", "{}", (("eval/hard_success", _NO_EVAL),)),
    Row("capability gap", "{}", (("eval/capability_gap", _NO_EVAL),)),
    Row("entropy, nats a token", "{}", (("rollout/entropy_nats_fresh", "all replayed"),)),
    Row("replayed share / that solve", "{} / {}", (("replay/fraction", _NO_REPLAY), ("replay/conversion", _NO_REPLAY))),
    Row("store (open)", "{} ({})", (("replay/store_size", "no store"), ("replay/open_size", "no store")), counts=True),
    Row(
        "tokens, fresh / replayed",
        "{} / {}",
        (("rollout/tokens_fresh", "all replayed"), ("rollout/tokens_replayed", _NO_REPLAY)),
        counts=True,
    ),
    Row("tokens a second", "{}", (("time/tokens_per_s", "first step"),), counts=True),
)
