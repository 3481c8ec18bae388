"""The CSV files as one table in Markdown: every provider's time, as a share of naive torch's too, memory and error.

    python kernels/bench/table.py kernels/bench/results/cpu_*.csv --out kernels/bench/results/cpu.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from plot import Row, cases_of

HEAD = (
    "| case | provider | ms, median (20 % to 80 %) | time ratio | % of floor | peak MiB | max error against float64 |\n"
    "|---|---|---|---|---|---|---|\n"
)


def lines_of(case: str, rows: Sequence[Row]) -> list[str]:
    """One line a provider; the case stands in the first."""
    naive = next((row for row in rows if row["provider"].startswith("naive torch")), rows[0])
    lines = []
    for i, row in enumerate(rows):
        ratio = float(row["device_ms_p50"]) / float(naive["device_ms_p50"])
        name = f"{row['provider']} {row['provider_version']}".strip()
        spread = f"{row['device_ms_p50']} ({row['device_ms_p20']} to {row['device_ms_p80']})"
        shown = [f"`{case}`" if i == 0 else "", name, spread, f"{ratio:.2f}", row["floor_pct"], row["peak_mib"]]
        lines.append("| " + " | ".join([*shown, row["max_abs_err"] or "-"]) + " |")
    return lines


def table(files: Sequence[Path]) -> str:
    """The whole page. Raises ValueError where the files hold no row."""
    cases = cases_of(files)
    first = next(iter(cases.values()))[0]
    made = f"{first['device']}, torch {first['torch']}, triton {first['triton']}, Python {first['python']}"
    commits = sorted({row["commit"] for rows in cases.values() for row in rows})
    page = (
        f"# Kernels, measured\n\n{made}, {first['date']}, commit {', '.join(commits)}. Providers interleaved; "
        "medians; ratio 1: naive torch, or the first line where there is none. Made by `kernels/bench/table.py` from "
        "the CSV files beside this one; columns: [README](../README.md).\n\n"
    )
    return page + HEAD + "\n".join(line for case, rows in cases.items() for line in lines_of(case, rows)) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    given.out.write_text(table(given.files))
    print(given.out)


if __name__ == "__main__":
    main()
