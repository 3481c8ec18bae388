"""What rliable says of fixed scores, into rliable_reference.json beside this file; needs an environment of its own.

    python3 -m venv .cache/rliable && .cache/rliable/bin/pip install rliable "pandas<3"
    .cache/rliable/bin/python tests/unit/report/rliable_reference.py

rliable 1.2.0 cannot be imported with pandas 3 (its arch 7 breaks there), so it is no dependency: its numbers are kept.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

REPETITIONS = 20_000
TAUS = [0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0]


def scores() -> tuple[np.ndarray, np.ndarray]:
    """Two arms, 5 seeds on 4 tasks each; rounded, so that some scores are equal."""
    generator = np.random.default_rng(7)
    level = np.array([0.2, 0.45, 0.6, 0.9])
    ours = np.clip(level + 0.08 + generator.normal(0.0, 0.12, size=(5, 4)), 0.0, 1.0)
    theirs = np.clip(level + generator.normal(0.0, 0.12, size=(5, 4)), 0.0, 1.0)
    return np.round(ours, 1), np.round(theirs, 2)


def main() -> None:
    """Ask rliable, write its answers with the versions that gave them."""
    from rliable import library, metrics

    ours, theirs = scores()
    np.random.seed(0)  # noqa: NPY002  (rliable's resampling reads the global state)
    points, intervals = library.get_interval_estimates(
        {"ours": ours, "theirs": theirs}, lambda x: np.array([metrics.aggregate_iqm(x), metrics.aggregate_mean(x)]),
        reps=REPETITIONS,
    )  # fmt: skip
    better, better_interval = library.get_interval_estimates(
        {"pair": (ours, theirs)}, metrics.probability_of_improvement, reps=REPETITIONS
    )
    profiles, profile_intervals = library.create_performance_profile(
        {"ours": ours, "theirs": theirs}, np.array(TAUS), reps=REPETITIONS
    )
    told = {
        "versions": {p: version(p) for p in ("rliable", "arch", "pandas", "numpy", "scipy")}
        | {"python": sys.version.split()[0]},
        "repetitions": REPETITIONS,
        "taus": TAUS,
        "iqm_mean": {k: np.asarray(v).tolist() for k, v in points.items()},
        "iqm_mean_interval": {k: np.asarray(v).tolist() for k, v in intervals.items()},
        "improvement": float(np.asarray(better["pair"]).ravel()[0]),
        "improvement_interval": np.asarray(better_interval["pair"]).ravel().tolist(),
        "profile": {k: np.asarray(v).tolist() for k, v in profiles.items()},
        "profile_interval": {k: np.asarray(v).tolist() for k, v in profile_intervals.items()},
    }
    (Path(__file__).parent / "rliable_reference.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
