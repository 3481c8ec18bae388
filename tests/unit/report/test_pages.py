import csv
import json
import re
import subprocess
import sys

from omegaconf import OmegaConf

from rrl.report.callback import MultirunReport
from rrl.report.cli import main
from rrl.report.compare import print_comparison
from rrl.report.run_report import write_run_report
from rrl.report.summary import finish_run


def _drawings(html: str) -> list:
    return json.loads(re.search(r'id="charts">(.*?)</script>', html, re.S).group(1))


def test_a_run_gets_its_page_and_plots_from_files_alone(reported):
    assert {p.stem for p in (reported / "plots").glob("*.png")} == {
        "headline", "score_by_origin", "entropy", "replay_fraction", "hard_coverage", "critic_auc", "store_histograms",
    }  # fmt: skip
    html = (reported / "report.html").read_text()
    assert "K0 &lt;b&gt;&amp;&lt;/b&gt;" in html  # a prefix's text is text, never markup
    assert "rrl-train -m experiment=ppo,rrl seed=0" in html
    assert "0.93 \u00b1 0.1" in html
    assert html.count("<svg") == 2


NAME = "</title><!--<script> $\\frac{a$ [red] \u202e\x9b2J\x1b \ud83d =1+1"


def test_a_name_that_is_markup_mathematics_and_half_a_character_is_a_name(tmp_path, make_run, capsys):
    """Two arms, since a label becomes data of the curves, text of the plots, a cell of the table and of the CSV."""
    runs = [make_run(tmp_path / "a", "rrl", 0), make_run(tmp_path / "b", "ppo", 0)]
    for run in runs:
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"name": f"{run.name} {NAME}", "overrides": ["replay/filter=[length,review]", f"+name={NAME}"]}
        (run / "summary.json").write_text(json.dumps(summary))
        rows = [json.dumps({"key": "0", "text": "long " * 200_000, "problem": NAME}) + "\n"] * 2
        (run / "tables").mkdir(exist_ok=True)
        (run / "tables" / "prefixes.jsonl").write_text("".join(rows))
        write_run_report(run)
    assert main([*map(str, runs), "--out", str(tmp_path / "both")]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\x9b" not in said
    written = [run / "report.html" for run in runs] + [tmp_path / "both" / "comparison.html"]
    for html in (path.read_text("utf-8") for path in written):
        assert "<!--" not in html and html.count("<script") == html.count("</script>") and len(html) < 900_000
        assert "\u202e" not in html and "\x9b" not in html
        assert _drawings(html)
    with open(tmp_path / "both" / "comparison.csv", newline="", encoding="utf-8") as file:
        assert all(not cell.startswith(("=", "+")) for row in csv.reader(file) for cell in row)


def test_a_page_needs_no_network(reported):
    html = (reported / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', html)
    assert "@import" not in html
    assert "url(http" not in html


def test_the_headline_shades_between_capability_and_hard_success(reported):
    headline = _drawings((reported / "report.html").read_text())[0]
    upper, lower = (headline["series"][headline["bands"][0][k]] for k in ("upper", "lower"))
    assert upper["label"].startswith("capability")
    assert lower["label"].startswith("hard success")
    assert (upper["y"][0] > 0.4, lower["y"][0] < 0.01) == (True, True)  # able, yet not doing
    assert headline["xs"][upper["x"]][-1] == 3500 * 45


def test_charts_without_data_are_named_not_drawn(tmp_path, make_run, cut_run):
    run = make_run(tmp_path / "a", "ppo", 0)
    cut_run(run, "replay/fraction")
    write_run_report(run)
    assert [p.stem for p in (run / "plots").glob("*.png")] == ["replay_fraction"]
    html = (run / "report.html").read_text()
    assert "Can the critic tell good states from bad? (0.5 = chance) (no eval/right_key_auc or" in html
    assert "this run stored no prefixes" in html


def test_finishing_a_run_prints_its_table_and_how_to_go_on(tmp_path, make_run, cut_run, capsys):
    run = make_run(tmp_path / "a", "rrl", 0, status="interrupted")
    cut_run(run, "replay/fraction")
    finish_run(run)
    assert capsys.readouterr().out.splitlines()[-1] == f"next command: rrl-train resume={run}"


def test_a_sweep_is_compared_by_arm(compared, capsys):
    sweep, comparison = compared
    print_comparison(comparison, next_command="rrl-report x")
    assert [(a.label, len(a.runs)) for a in comparison.arms] == [("ppo", 3), ("rrl", 3)]
    assert comparison.arms[0].mean("eval/capability_gap")[0] > 0.9
    assert comparison.arms[1].mean("eval/capability_gap")[0] < 0.1
    assert {p.stem for p in (sweep / "comparison").glob("*.png")} == {
        "headline", "hard_success", "capability_gap", "score_by_origin", "entropy", "replay_fraction", "hard_coverage",
        "critic_auc", "store_histograms", "aggregate", "phases", "cost",
    }  # fmt: skip
    html = comparison.html.read_text()
    assert "rrl minus ppo" in html
    assert ">0.25<" in html  # three pairs, all of one sign: p = 2 / 2^3
    out = capsys.readouterr().out
    assert re.search(r"ppo \(3\) +\u2502 0\.00\d \u00b1 0\.00\d", out)
    assert out.splitlines()[-1] == "next command: rrl-report x"


def test_runs_that_did_not_finish_are_named_and_not_in_the_means(compared):
    _, comparison = compared
    assert "no metrics.jsonl" in comparison.notes[0]
    assert comparison.notes[1] == "not in the means: 6_rrl_s3 (rrl, seed 3) is failed"


def test_the_csv_holds_every_run_with_its_overrides_and_counts(compared):
    sweep, _ = compared
    with open(sweep / "comparison" / "comparison.csv") as file:
        rows = list(csv.DictReader(file))
    columns = ("experiment", "seed", "status", "learner.lr", "steps", "sampled_tokens", "seconds", "folder")
    assert [rows[0][c] for c in columns] == ["ppo", "0", "finished", "0.01", "40", "157500", "25.5", "0_ppo_s0"]
    assert [rows[6][c] for c in columns[:3]] == ["rrl", "3", "failed"]
    assert float(rows[3]["eval/hard_success"]) > 0.85


def test_the_callback_compares_when_a_multirun_ends(tmp_path, make_run, cut_run, capsys):
    for number, name in enumerate(("ppo", "rrl")):
        cut_run(make_run(tmp_path / f"{number}_{name}", name, 0), "replay/fraction")
    MultirunReport().on_multirun_end(
        OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}), config_name="train"
    )
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    assert f"next command: rrl-report {tmp_path / '1_rrl'}" in capsys.readouterr().out


def test_the_callback_survives_a_sweep_without_runs(tmp_path, caplog):
    MultirunReport().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    assert "no comparison" in caplog.text


def test_the_command_compares_several_folders_into_one(tmp_path, make_run, cut_run):
    folders = [make_run(tmp_path / n, n, 0) for n in ("ppo", "rrl")]
    for folder in folders:
        cut_run(folder, "replay/fraction")
    assert main([*map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "comparison.csv").is_file()


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err.startswith("rrl-report: folder")


def test_reports_open_without_torch():
    rooms = ", ".join(f"rrl.report.{m}" for m in ("cli", "compare", "run_report", "callback", "summary"))
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
