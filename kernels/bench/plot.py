"""Pictures of the CSV files, from nothing else: time and peak memory of every provider.

    python kernels/bench/plot.py kernels/bench/results/cpu_*.csv --out kernels/bench/results/cpu.png
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, str]


def cases_of(files: Sequence[Path]) -> dict[str, list[Row]]:
    """Rows by case, in the order of the files: ``linear_logprob full T=512 H=256 V=16384 random``."""
    cases: dict[str, list[Row]] = {}
    for file in files:
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                cases.setdefault(f"{row['op']}, {row['mode']}\n{row['size']}, {row['inputs']}", []).append(row)
    if not cases:
        raise ValueError(f"no rows in {[str(f) for f in files]}; expected CSV files that a bench has written")
    return cases


def main(arguments: Sequence[str] | None = None) -> None:
    """One line a case; left the median time with its 20 and 80 % quantiles, right the peak memory."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    given = parser.parse_args(arguments)
    cases = cases_of(given.files)
    names = list(dict.fromkeys(row["provider"] for rows in cases.values() for row in rows))
    colours = {name: plt.get_cmap("tab20")(i % 20) for i, name in enumerate(names)}
    figure, axes = plt.subplots(
        len(cases), 2, figsize=(13, 1.1 + 1.5 * len(cases)), squeeze=False, constrained_layout=True
    )
    for (title, rows), (times, memory) in zip(cases.items(), axes, strict=True):
        _bars(times, rows, "device_ms_p50", colours)
        _bars(memory, rows, "peak_mib", colours)
        times.set_title(title, fontsize=8, loc="left")
        times.axvline(float(rows[0]["floor_ms"]), color="black", linewidth=0.8, linestyle=":")
    axes[-1][0].set_xlabel("ms (median of interleaved rounds; dotted: physical floor)")
    axes[-1][1].set_xlabel("peak MiB above the inputs")
    first = next(iter(cases.values()))[0]
    figure.suptitle(f"{first['device']}, torch {first['torch']}, commit {first['commit']}, {first['date']}", fontsize=9)
    figure.savefig(given.out, dpi=110)
    print(given.out)


def _bars(axis: Any, rows: list[Row], column: str, colours: dict[str, Any]) -> None:
    values = [float(row[column] or "nan") for row in rows]
    axis.barh(range(len(rows)), values, color=[colours[row["provider"]] for row in rows])
    axis.set_yticks(range(len(rows)), [row["provider"] for row in rows], fontsize=6)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=6)
    if column == "device_ms_p50":
        low = [v - float(row["device_ms_p20"]) for v, row in zip(values, rows, strict=True)]
        high = [float(row["device_ms_p80"]) - v for v, row in zip(values, rows, strict=True)]
        axis.errorbar(values, range(len(rows)), xerr=[low, high], fmt="none", ecolor="black", elinewidth=0.8)


if __name__ == "__main__":
    main()
