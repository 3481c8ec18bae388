"""The comparison page as a reader meets it: its numbers, and itself in a real browser."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from rrl.report import page
from rrl.report.arms import group_arms
from rrl.report.charts import Chart, Line
from rrl.report.cli import main
from rrl.report.load import Run
from rrl.report.run_report import write_run_report
from tests.browser import PHONE, WIDE, open_page, overflow
from tests.e2e.commands import SMALL, typed
from tests.e2e.recomputed import arms_of, check_numbers, drawings, page_of, tables
from tests.unit.report.conftest import HOSTILE, write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, three seeds each, with hostile prefixes; a torn, an empty, an unstarted and an old run beside them."""
    folder = tmp_path_factory.mktemp("sweep")
    for number, (name, seed) in enumerate((n, s) for n in ("ppo", "rrl") for s in range(3)):
        write_run(folder / f"{number}_{name}_s{seed}", name, seed)
    torn = write_run(folder / "6_rrl_s3", "rrl", 3, status="failed") / "metrics.jsonl"
    torn.write_text(torn.read_text()[:-20])
    (folder / "7_rrl_s4").mkdir()
    (folder / "7_rrl_s4" / "metrics.jsonl").write_text("")
    (folder / "8_rrl_s5" / ".hydra").mkdir(parents=True)
    old = write_run(folder / "9_old_s0", "rrl", 9, status="failed")
    told = json.loads((old / "summary.json").read_text())
    (old / "summary.json").write_text(json.dumps(told | {"versions": {"rrl": "0.0.1"}, "expected": "much"}))
    said = io.StringIO()
    with redirect_stdout(said):
        assert main([str(folder)]) == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


def test_every_number_and_curve_is_what_the_records_give_by_another_way(sweep: Path) -> None:
    assert [len(runs) for runs in arms_of(sweep).values()] == [3, 3]
    check_numbers(sweep)


def test_the_check_of_numbers_can_fail(sweep: Path, tmp_path: Path) -> None:
    for run in sweep.glob("*_s*"):
        (tmp_path / run.name).mkdir()
        for file in run.glob("*.json*"):
            (tmp_path / run.name / file.name).write_text(file.read_text())
    (tmp_path / "comparison").mkdir()
    text = page_of(sweep)
    found = re.search(r'"hard success at temperature 1".*?"y":\[[^]]*?(\d\.\d{3})', text)
    assert found is not None
    broken = text[: found.start(1)] + "0.111" + text[found.end(1) :]
    (tmp_path / "comparison" / "comparison.html").write_text(broken)
    with pytest.raises(AssertionError):
        check_numbers(tmp_path)


def test_what_is_missing_is_said_on_the_page_and_the_console(sweep: Path) -> None:
    said, shown = (sweep / "said.txt").read_text(), page_of(sweep)
    for note in (
        "is empty: the run stopped before its first record",
        "8_rrl_s5 has not begun",
        "not in the means: 6_rrl_s3 (rrl, seed 3) is failed",
        "6_rrl_s3: the last line of metrics.jsonl is torn",
        "the runs are of different versions: rrl 0.1.0 (7 runs), 0.0.1 (1 runs)",
        "9_old_s0: summary.json: expected of another form than this version's, not used",
    ):
        assert note in said
        assert note.replace("'", "&#x27;") in shown


@pytest.fixture(scope="module", params=[WIDE, PHONE], ids=["wide", "phone"])
def opened(request: pytest.FixtureRequest, sweep: Path) -> Iterator[tuple]:
    with open_page(sweep / "comparison" / "comparison.html", request.param) as (shown, errors):
        yield shown, errors, sweep


def test_the_page_opens_without_an_error_and_fits_the_window(opened: tuple) -> None:
    shown, errors, _ = opened
    assert errors == []
    assert overflow(shown) <= 0


def test_every_figure_is_drawn(opened: tuple) -> None:
    shown, _, sweep = opened
    charts = drawings(page_of(sweep))
    assert len(charts) >= 10
    assert shown.locator(".plot .uplot canvas").count() == len(charts)
    inked = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(x => x)"""
    assert all(canvas.evaluate(inked) for canvas in shown.locator(".uplot canvas").all())
    svgs = [box for svg in shown.locator("main svg").all() if (box := svg.bounding_box())]
    assert len(svgs) == 2 + 4 + 2 + 2 and all(box["width"] > 200 and box["height"] > 100 for box in svgs)
    assert shown.locator("section").count() == 9


def test_a_prefix_that_holds_a_script_is_shown_and_not_run(opened: tuple) -> None:
    shown, errors, _ = opened
    cell = shown.locator("#turned tbody tr").first.locator("td").nth(4)
    assert cell.inner_text().replace("\n", "") == HOSTILE
    assert shown.title() == "Comparison: ppo / rrl" and shown.locator("img").count() == 0 and errors == []


def test_a_click_on_a_heading_sorts_its_table_as_numbers(opened: tuple) -> None:
    shown, _, sweep = opened
    column = tables(page_of(sweep), "runs")[0][0].index("hard success")
    head = shown.locator("#runs th").nth(column)

    def cells() -> list[float]:
        return [float(row.split("\t")[column]) for row in shown.locator("#runs tbody").inner_text().splitlines()]

    before = cells()
    head.click()
    assert cells() == sorted(before) and head.get_attribute("aria-sort") == "ascending"
    head.press("Enter")
    assert cells() == sorted(before, reverse=True) != before
    shown.locator("#phases th").nth(6).click()  # "-" and signed numbers with intervals: nothing comes last
    told = [r.split("\t")[6] for r in shown.locator("#phases tbody").inner_text().splitlines()]
    signed = [float(t.split()[0]) for t in told if t != "-"]
    assert signed == sorted(signed) and told[len(signed) :] == ["-"] * (len(told) - len(signed)) != []


def test_rows_can_be_filtered(opened: tuple) -> None:
    shown, _, _ = opened
    rows = shown.locator("#turned tbody tr")
    assert rows.count() == 12  # three seeds, four prefixes each
    shown.locator("input[data-filter=turned]").fill("hard-2")
    assert sum(row.is_visible() for row in rows.all()) == 3
    shown.locator("input[data-filter=turned]").fill("")


def test_ten_figures_of_twenty_curves_with_intervals_stay_below_a_megabyte() -> None:
    generator = np.random.default_rng(0)
    names = ("rollout/score_fresh", "eval/hard_success", "rollout/entropy_nats_fresh", "replay/fraction", "learn/loss",
             "learn/grad_norm", "value/loss", "value/auc_fresh", "explore/new_solves", "time/step_s")  # fmt: skip
    runs = []
    for number in range(40):  # twenty arms, two seeds
        records = [
            {"progress/step": i, "progress/sampled_tokens": i * 3517 + int(generator.integers(99))}
            | {name: float(generator.normal()) for name in names}
            for i in range(200)
        ]
        told = {"name": f"arm{number // 2}", "seed": number % 2, "status": "finished", "overrides": [], "final": {}}
        runs.append(Run(folder=Path(str(number)), summary=told, records=tuple(records), prefixes=(), turned=(),
                        config="", notes=()))  # fmt: skip
    charts = [Chart(name.replace("/", "_"), name, "y", (Line(name, name),)) for name in names]
    body, drawn = page.curves(charts, group_arms(runs))
    assert len(drawn) == 10 and all(len(d["series"]) == 3 * 20 for d in drawn)  # a mean and both ends of its band
    assert min(len(s["y"]) for d in drawn for s in d["series"]) >= 100
    assert len(page.page("t", "", [body], drawn, {}).encode()) < 1_000_000


@pytest.mark.slow
def test_a_real_sweep_of_two_arms_and_three_seeds_is_reported_as_its_records_say(tmp_path: Path) -> None:
    line = ["-m", "experiment=ppo,rrl", "seed=0,1,2", *SMALL, "tracker=[jsonl]", "hydra.sweep.dir=sweep"]
    done = typed(tmp_path, "rrl-train", *line)
    assert done.code == 0, done.err
    done = typed(tmp_path, "rrl-report", "sweep")
    assert done.code == 0 and "ppo (3)" in done.out, done.err
    check_numbers(tmp_path / "sweep")
    with open_page(tmp_path / "sweep" / "comparison" / "comparison.html", PHONE) as (shown, errors):
        assert errors == [] and overflow(shown) <= 0


@pytest.mark.parametrize("width", [WIDE, PHONE], ids=["wide", "phone"])
def test_stored_prefixes_can_be_vetted_in_the_report_of_a_run(sweep: Path, width: int) -> None:
    (run,) = [r for r in sweep.glob("*_rrl_s0") if r.is_dir()]
    write_run_report(run)
    with open_page(run / "report.html", width) as (shown, errors):
        counts = shown.locator("section.review [data-is=counts]")
        assert counts.inner_text().startswith("60 of 60")
        shown.click("section.review [data-decision=rejected]")
        shown.click("section.review [data-decision=approved]")
        assert "1 approved \u00b7 1 rejected" in counts.inner_text()
        with shown.expect_download() as started:
            shown.keyboard.press("s")
        lines = [json.loads(line) for line in Path(started.value.path()).read_text().splitlines()]
        assert sorted(line["decision"] for line in lines) == ["approved", "rejected"]
        assert errors == [] and overflow(shown) <= 0
