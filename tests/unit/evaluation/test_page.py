from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from rrl.report.cli import main as rrl_report
from rrl.report.evaluation.load import load_evaluation
from rrl.report.evaluation.page import MOST_PROBLEMS, samples_page, shown
from rrl.report.evaluation.plots import difficulty_figure, pass_figure
from rrl.report.evaluation.write import finish_evaluation
from tests.unit.evaluation.rows import row, write_evaluation

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & \x00\x1b[2J\ud800\u202e"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the samples' <pre>."""

    def __init__(self, html):
        super().__init__()
        self.found, self.pre, self._inside = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag == "pre"
        if self._inside:
            self.pre.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "pre"

    def handle_data(self, data):
        if self._inside:
            self.pre[-1] += data


def finished(tmp_path, rows, **changes):
    folder = write_evaluation(tmp_path / "e", rows, **changes)
    finish_evaluation(folder, baseline=None)
    return folder


def test_what_a_model_writes_is_text_and_nothing_else(tmp_path):
    rows = [row(HOSTILE, [1, 0], greedy=1, text=HOSTILE, prompt=HOSTILE, answer=HOSTILE, difficulty=HOSTILE)]
    page = (finished(tmp_path, rows, name=HOSTILE) / "samples.html").read_text(encoding="utf-8")
    plain = finished(tmp_path / "plain", [row("a", [1, 0], greedy=1)])
    wanted = Elements((plain / "samples.html").read_text(encoding="utf-8"))
    told = Elements(page)
    assert [tag for tag, _ in told.found] == [tag for tag, _ in wanted.found]  # no element more, none fewer
    assert not [a for _, attrs in told.found for a in attrs if a.startswith("on")]
    visible = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & \u2400\u241b[2J?\\u202e"
    assert told.pre[:5] == [visible] * 5  # prompt, answer, greedy, two samples


def test_the_terminal_is_told_no_escape_sequence(tmp_path, capsys):
    finished(tmp_path, [row("a", [1, 0], greedy=1, difficulty=HOSTILE)], name=HOSTILE)
    assert not set(capsys.readouterr().out) & {"\x00", "\x1b"}


def test_long_texts_end_and_say_so():
    assert shown("x" * 20_003).endswith("x ... and 3 characters more")


def test_the_page_shows_a_problem_with_its_responses_and_filters(tmp_path):
    rows = [row("first", [1, 0], greedy=0, text="so 7"), row("second", [0, 0], greedy=0, difficulty="easy"),
            row("third", [1, 1], greedy=1)]  # fmt: skip
    page = (finished(tmp_path, rows) / "samples.html").read_text()
    told = Elements(page)
    problems = [attrs for tag, attrs in told.found if tag == "details"]
    assert [(p["data-outcome"], p["data-difficulty"]) for p in problems] == [
        ("mixed", "hard"), ("none", "easy"), ("all", "hard")]  # fmt: skip
    assert page.count('<div class="card"><h3>sample ') == 6 and page.count("<h3>greedy: ") == 3
    assert "score 1, 4 tokens" in page and "1/2" in page and page.count("<svg") >= 2
    assert {"find", "outcome", "difficulty"} <= {attrs.get("id") for _, attrs in told.found}
    assert "http" not in {attrs.get("src", "")[:4] for _, attrs in told.found}


def test_a_large_evaluation_says_what_is_left_out(tmp_path):
    rows = [row(f"p{i}", [0] * 20) for i in range(MOST_PROBLEMS + 1)]
    page = samples_page(load_evaluation(finished(tmp_path, rows)))
    assert f"{MOST_PROBLEMS} of {MOST_PROBLEMS + 1} problems, 16 of 20 responses each" in page
    assert page.count("<details") == MOST_PROBLEMS


def test_plots_show_what_the_json_says():
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    pass_at_k = {"1": interval, "8": {"value": 1.0, "low": 1.0, "high": 1.0}}
    figure = pass_figure({"pass_at_k": pass_at_k, "greedy": interval})
    curve = figure.axes[0].lines[0]
    assert curve.get_xdata().tolist() == [1, 8] and curve.get_ydata().tolist() == [0.5, 1.0]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {0.25, 0.75} <= set(band[:, 1].tolist())
    alone = {"value": 0.5, "low": None, "high": None}
    parts = {"easy": {"num_problems": 3, "sampled": interval, "greedy": interval},
             "hard": {"num_problems": 1, "sampled": alone, "greedy": alone}}  # fmt: skip
    bars = difficulty_figure({"by_difficulty": parts})
    assert [p.get_height() for p in bars.axes[0].patches] == [0.5] * 4
    assert [t.get_text() for t in bars.axes[0].get_xticklabels()] == ["easy (3)", "hard (1)"]
    assert pass_figure({}) is None and difficulty_figure({}) is None


def test_rrl_report_makes_everything_anew_from_the_samples(tmp_path, capsys):
    folder = finished(tmp_path, [row("a", [1, 0], greedy=1), row("b", [0, 0], greedy=0)])
    before = json.loads((folder / "eval.json").read_text())
    assert before["status"] == "finished" and before["figures"]["pass_at_k"]["1"]["value"] == 0.25
    assert "pass@1" in capsys.readouterr().out
    for path in (folder / "samples.html", *(folder / "plots").iterdir()):
        path.unlink()
    (folder / "eval.json").write_text(json.dumps(before | {"figures": {}}))
    assert rrl_report([str(folder)]) == 0
    assert json.loads((folder / "eval.json").read_text()) == before
    assert (folder / "samples.html").is_file()
    assert {p.name for p in (folder / "plots").iterdir()} == {"pass_at_k.png", "accuracy_by_difficulty.png"}


def test_a_half_done_evaluation_is_reported_as_one(tmp_path, capsys):
    folder = finished(tmp_path, [row("a", [1, 0])], num_problems=9)
    assert json.loads((folder / "eval.json").read_text())["status"] == "unfinished"
    assert f"next command: rrl-eval resume={folder}" in capsys.readouterr().out
    assert "stopped before its end" in (folder / "samples.html").read_text()


def test_a_baseline_is_kept_for_later_reports_and_missed_where_it_is_gone(tmp_path, capsys):
    rows = [row("a", [1, 0], greedy=1), row("b", [0, 0], greedy=0)]
    folder, other = finished(tmp_path, rows), write_evaluation(tmp_path / "other", rows)
    finish_evaluation(folder, baseline=other)
    compared = json.loads((folder / "eval.json").read_text())["versus"]
    assert "win rate 0.500" in capsys.readouterr().out
    other.rename(tmp_path / "elsewhere")
    assert rrl_report([str(folder)]) == 0
    assert json.loads((folder / "eval.json").read_text())["versus"] == compared
    assert "win rate 0.500" in capsys.readouterr().out


def test_a_damaged_folder_costs_one_line(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "e", [row("a", [1])], k=(1,))
    (folder / "eval.json").write_text("{")
    assert rrl_report([str(folder)]) == 1
    assert "eval.json' is not JSON" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected a folder that rrl-eval wrote"):
        load_evaluation(tmp_path)
