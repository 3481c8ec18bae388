"""Whatever stands in a sweep's folder, its report is written from what can be read, or says why there is none."""

import json
import random

import pytest

from rrl.report.cli import main

ODD = (None, "x", [], {}, [1], {"a": 1}, True, -1, 1e400, "NaN", 2**70, "</script>")


def spoil(path, chance, rng):
    """Values of some JSON objects replaced by values of other kinds, keys dropped, lines torn or doubled."""
    lines = []
    for line in path.read_text().splitlines():
        told = json.loads(line)
        for key in list(told):
            if rng.random() < chance:
                told[key] = rng.choice(ODD)
            elif rng.random() < chance:
                del told[key]
        text = json.dumps(told)
        lines.append(text[: rng.randrange(len(text))] if rng.random() < chance else text)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("seed", range(2))
def test_a_spoilt_sweep_is_still_reported(tmp_path, make_run, cut_run, seed):
    rng = random.Random(seed)
    for name in ("ppo", "rrl"):
        for number in range(2):
            run = make_run(tmp_path / f"{name}{number}", name, number, steps=8)
            cut_run(run, "rollout/entropy_nats_fresh", "replay/fraction", "replay/store_bytes", "time/step_s")
            for path in (run / "metrics.jsonl", *run.glob("tables/*.jsonl"), run / "summary.json"):
                if path.name == "summary.json":
                    path.write_text(json.dumps(json.loads(path.read_text())))
                spoil(path, 0.15, rng)
            if rng.random() < 0.5:
                (run / "config.yaml").write_text("a: [")
    assert main([str(tmp_path)]) == 0
    assert "<h1>" in (tmp_path / "comparison" / "comparison.html").read_text()
    assert main([str(tmp_path / "rrl0")]) == 0
    assert "<h1>" in (tmp_path / "rrl0" / "report.html").read_text()


def test_a_single_run_says_on_the_console_what_is_missing(tmp_path, make_run, cut_run, capsys):
    run = make_run(tmp_path / "a", "rrl", 0, steps=2)
    cut_run(run, "replay/fraction")
    (run / "summary.json").unlink()
    assert main([str(run)]) == 0
    assert "note: no summary.json: the run has not ended, or was killed" in capsys.readouterr().out


def test_a_sweep_of_empty_runs_says_why_there_is_nothing_to_show(tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("rrl-report: no run can be read: left out:") and said.count("is empty") == 2
