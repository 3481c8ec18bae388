"""Pictures of the CSV files, from nothing else: time as a share of naive torch's, and peak memory, by provider.

    python kernels/bench/plot.py kernels/bench/results/cpu_*.csv --out kernels/bench/results/cpu.png
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, str]
QUANTILES = (20, 50, 80)


def cases_of(files: Sequence[Path]) -> dict[str, list[Row]]:
    """Rows by case, in the order of the files: ``linear_logprob full T=512 H=256 V=16384 random``."""
    cases: dict[str, list[Row]] = {}
    for file in files:
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                cases.setdefault(f"{row['op']}, {row['mode']}, {row['size']}, {row['inputs']}", []).append(row)
    if not cases:
        raise ValueError(f"no rows in {[str(f) for f in files]}; expected CSV files that a bench has written")
    return cases


def ratios(rows: list[Row]) -> tuple[str, list[float], list[float], list[float]]:
    """(whose median is 1, medians, distances to the 20 and to the 80 % quantile): naive torch's, else the first."""
    base = next((row for row in rows if row["provider"].startswith("naive torch")), rows[0])
    one = float(base["device_ms_p50"])
    low, middle, high = ([float(row[f"device_ms_p{q}"]) / one for row in rows] for q in QUANTILES)
    below = [m - x for m, x in zip(middle, low, strict=True)]
    above = [x - m for m, x in zip(middle, high, strict=True)]
    return base["provider"], middle, below, above


def main(arguments: Sequence[str] | None = None) -> None:
    """One line a case; left the ratio of median times (1 = naive torch), right the peak memory."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    given = parser.parse_args(arguments)
    cases = cases_of(given.files)
    names = list(dict.fromkeys(row["provider"] for rows in cases.values() for row in rows))
    colours = {name: "tab:red" if name.startswith("rrl_kernels") else "tab:gray" for name in names}
    bars = [len(rows) for rows in cases.values()]
    figure, axes = plt.subplots(
        len(cases), 2, figsize=(12, 1.0 + 0.75 * len(cases) + 0.17 * sum(bars)), squeeze=False,
        constrained_layout=True, height_ratios=[num + 1.5 for num in bars],
    )
    for (title, rows), (times, memory) in zip(cases.items(), axes, strict=True):
        base, middle, below, above = ratios(rows)
        _bars(times, rows, middle, [f"{float(row['device_ms_p50']):.4g} ms" for row in rows], colours)
        times.errorbar(middle, range(len(rows)), xerr=[below, above], fmt="none", ecolor="black", elinewidth=0.8)
        times.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
        times.set_title(f"{title}   time / time of {base}", fontsize=8, loc="left")
        mebibytes = [float(row["peak_mib"]) for row in rows]
        _bars(memory, rows, mebibytes, [f"{value:g} MiB" for value in mebibytes], colours)
        memory.set_title("peak memory above the inputs", fontsize=8, loc="left")
    first = next(iter(cases.values()))[0]
    figure.suptitle(f"{first['device']}, torch {first['torch']}, {first['date']}; lower is better", fontsize=9)
    figure.savefig(given.out, dpi=100)
    print(given.out)


def _bars(axis: Any, rows: list[Row], values: list[float], labels: list[str], colours: dict[str, str]) -> None:
    axis.barh(range(len(rows)), values, color=[colours[row["provider"]] for row in rows])
    names = [f"{row['provider']}   {label}" for row, label in zip(rows, labels, strict=True)]
    axis.set_yticks(range(len(rows)), names, fontsize=6)
    axis.invert_yaxis()
    axis.set_xlim(left=0.0)
    axis.tick_params(axis="x", labelsize=6)


if __name__ == "__main__":
    main()
