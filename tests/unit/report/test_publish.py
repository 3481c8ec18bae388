"""Sweeps as files to commit: a row an arm, or the grid and heat-map of two axes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rrl.report.arms import group_arms
from rrl.report.compare import HEADLINE, write_comparison
from rrl.report.grid import Grid, grid_of, grid_table
from rrl.report.load import Run, load_run
from rrl.report.publish import publish

# (selection, schedule, seed) -> hard success at the end
CELLS = {("gap", "none", 0): 0.0, ("gap", "late", 0): 0.8, ("gap", "late", 1): 0.6, ("plr", "none", 0): 0.1,
         ("plr", "late", 0): 0.9, ("mix", "none", 0): 0.0, ("mix", "late", 0): 0.25}  # fmt: skip


def a_run(folder: Path, overrides: Sequence[str], seed: int, hard: float, name: str = "rrl") -> Run:
    folder.mkdir(parents=True)
    record = {"progress/step": 0, "progress/sampled_tokens": 70, "eval/hard_success": hard}
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    summary = {
        "name": name, "seed": seed, "status": "finished", "steps": 9, "sampled_tokens": 70, "seconds": 1.0,
        "final": {"eval/hard_success": hard}, "expected": {}, "command": "rrl-train +sweeps=x", "commit": "abc",
        "versions": {}, "device": "cpu", "overrides": [*overrides, f"seed={seed}"],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return load_run(folder)


@pytest.fixture
def product(tmp_path: Path) -> list[Run]:
    return [
        a_run(tmp_path / f"{a}_{b}_{s}", [f"replay/selection={a}", f"replay/schedule={b}", "run.token_budget=70"], s, x)
        for (a, b, s), x in CELLS.items()
    ]


def grid_from(runs: Sequence[Run]) -> Grid | None:
    return grid_of(group_arms(runs), HEADLINE)


def test_two_axes_make_a_grid_of_means_best_first(product: list[Run]) -> None:
    grid = grid_from(product)
    assert grid is not None
    assert (grid.row_key, grid.rows) == ("replay/selection", ("plr", "gap", "mix"))  # means .5, .35 and .125
    assert (grid.column_key, grid.columns) == ("replay/schedule", ("late", "none"))
    np.testing.assert_allclose(grid.values, [[0.9, 0.1], [0.7, 0.0], [0.25, 0.0]])  # (.8 + .6) / 2
    assert grid.seeds == (1, 2)
    assert grid_table(grid).splitlines() == [
        "| `replay/selection` \\ `replay/schedule` | late | none | mean |",
        "| --- | --- | --- | --- |",
        "| plr | **0.90** | 0.10 | 0.50 |",
        "| gap | 0.70 | 0.00 | 0.35 |",
        "| mix | 0.25 | 0.00 | 0.12 |",
        "| mean | 0.62 | 0.03 | 0.33 |",
    ]


def test_a_missing_arm_is_a_hole_not_a_zero(product: list[Run]) -> None:
    grid = grid_from([run for run in product if run.folder.name != "gap_none_0"])
    assert grid is not None and np.isnan(grid.values).sum() == 1
    assert "| gap | 0.70 | - | 0.70 |" in grid_table(grid)


def test_experiments_are_an_axis_like_any_other(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / f"{n}{lr}", [f"experiment={n}", f"learner.lr={lr}"], 0, 0.5, n)
            for n in ("ppo", "rrl", "rrl_literal") for lr in (1, 2)]  # fmt: skip
    grid = grid_from(runs)
    assert grid is not None and (grid.row_key, grid.column_key) == ("experiment", "learner.lr")


@pytest.mark.parametrize("overrides", [
    [["a=1"], ["a=2"], ["a=3"]],                                          # one axis
    [["a=1", "b=1", "c=1"], ["a=2", "b=2", "c=2"], ["a=1", "b=2", "c=2"]],  # three
    [["a=1", "b=1"], ["a=2", "b=2"]],                                     # two that never cross
])  # fmt: skip
def test_other_arms_are_a_list(tmp_path: Path, overrides: list[list[str]]) -> None:
    assert grid_from([a_run(tmp_path / str(i), o, 0, 0.5) for i, o in enumerate(overrides)]) is None


def test_a_product_is_published_as_a_grid_with_its_rows_in_the_csv(product: list[Run], tmp_path: Path) -> None:
    paths = publish([tmp_path], tmp_path / "out" / "menu")
    assert [p.name for p in paths] == ["menu.csv", "menu.md", "menu.png"]
    page = paths[1].read_text()
    assert page.startswith("# menu\n\n") and "| plr | **0.90** | 0.10 | 0.50 |" in page
    assert "mean over 1 to 2 seeds" in page and "at 70 sampled tokens" in page and "![hard success](menu.png)" in page
    assert page.rstrip().endswith("Made by `rrl-train +sweeps=x` at commit abc; ; cpu; seeds 0, 1.")
    with open(paths[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(product) and {row["replay/selection"] for row in rows} == {"gap", "plr", "mix"}
    assert paths[2].stat().st_size > 5_000


def test_a_few_arms_are_published_as_a_list(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    for name in ("ppo", "rrl"):
        make_run(tmp_path / name, name, 0)
    page = publish([tmp_path], tmp_path / "out" / "two")[1].read_text()
    assert "| arm | seeds | hard success per seed | hard success | capability |" in page
    assert "`capability` the same behind the right prefix" in page


@pytest.mark.usefixtures("product")
def test_many_arms_draw_a_heat_map_and_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrl.report.compare._MOST_ARMS", 3)
    html = write_comparison([tmp_path], tmp_path / "comparison").html.read_text()
    assert {p.name for p in (tmp_path / "comparison").glob("*.png")} == {"heatmap.png", "aggregate.png", "cost.png"}
    assert html.count("The baseline and the best of") == 4  # parts that would need a colour an arm show three of them
    assert "6 arms are too many to tell curves apart" in html and "heatmap.png beside this page" in html


def test_the_page_says_whether_success_is_exact_or_a_share_of_samples(tmp_path: Path) -> None:
    for name, target in (("exact", "rrl.evaluate.Exact"), ("sampled", "rrl.evaluate.Sampled")):
        folder = tmp_path / name
        a_run(folder / "run", [], 0, 0.5)
        (folder / "run" / "config.yaml").write_text(f"evaluate:\n  _target_: {target}\n")
        publish([folder], tmp_path / f"{name}_page")
    exact, sampled = ((tmp_path / f"{name}_page.md").read_text() for name in ("exact", "sampled"))
    assert "the exact probability" in exact and "share of sampled responses" not in exact
    assert "share of sampled responses" in sampled and "the exact probability" not in sampled
