import json

import numpy as np
import pytest

from rrl.report import sections
from rrl.report.arms import group_arms
from rrl.report.gallery import gallery
from rrl.report.load import load_run
from rrl.report.settings import differing
from rrl.report.standing import TAUS, standings
from rrl.report.svg import short, slim

HARD = "eval/hard_success"


def a_run(folder, name, seed, final, *, overrides=(), config="", records=1):
    folder.mkdir()
    where = [{"progress/step": i + 1, "progress/sampled_tokens": i + 1} for i in range(records)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(w) + "\n" for w in where))
    told = {"name": name, "seed": seed, "status": "finished", "final": final, "overrides": list(overrides)}
    (folder / "summary.json").write_text(json.dumps(told))
    if config:
        (folder / "config.yaml").write_text(config)
    return load_run(folder)


def test_arms_that_differ_in_the_task_alone_are_one_row_of_several_tasks(tmp_path):
    cells = [("ppo", "a", (0.1, 0.3)), ("ppo", "b", (0.5, 0.7)), ("rrl", "a", (0.2, 0.4)), ("rrl", "b", (0.5, 0.9))]
    runs = [
        a_run(tmp_path / f"{name}_{task}_{seed}", name, seed, {HARD: x}, overrides=[f"task={task}"])
        for name, task, values in cells for seed, x in enumerate(values)
    ]  # fmt: skip
    ppo, rrl = standings(group_arms(runs), HARD)
    assert (ppo.label, rrl.label) == ("ppo", "rrl")
    assert {k: v.tolist() for k, v in rrl.scores.items()} == {"task task=a": [0.2, 0.4], "task task=b": [0.5, 0.9]}
    assert rrl.iqm.value == pytest.approx(0.45)  # (.4 + .5) / 2 of .2 .4 .5 .9
    # a: .2 beats .1; .4 beats both: 3 of 4.  b: .5 ties .5 and loses to .7; .9 beats both: 2.5 of 4.
    assert rrl.better.value == pytest.approx((0.75 + 0.625) / 2)
    assert ppo.better is None
    # Above .45: none of (.2, .4), both of (.5, .9).
    assert rrl.profile.value[np.searchsorted(TAUS, 0.45)] == 0.5
    assert rrl.iqm.low <= rrl.iqm.value <= rrl.iqm.high


def test_the_same_runs_give_the_same_intervals_and_other_tasks_are_not_compared(tmp_path):
    runs = [a_run(tmp_path / f"p{s}", "ppo", s, {HARD: 0.1 * s}, overrides=["task=a"]) for s in range(3)]
    runs += [a_run(tmp_path / f"r{s}", "rrl", s, {HARD: 0.2 * s}, overrides=["task=b"]) for s in range(3)]
    one, other = (standings(group_arms(runs), HARD) for _ in range(2))
    assert [s.iqm for s in one] == [s.iqm for s in other]
    assert one[1].better is None
    assert standings(group_arms(runs), "eval/reward") == []


def test_settings_that_differ_are_told_and_what_differs_within_an_arm_is_not(tmp_path):
    ours = "seed: {s}\nlearner:\n  lr: 0.1\n  salt: {s}\nreplay:\n  schedule:\n    _target_: a.b.Window\n    rho: .4\n"
    theirs = "seed: {s}\nlearner:\n  lr: 0.1\n  salt: 9\nreplay:\n  schedule:\n    _target_: a.b.NoReplay\n"
    runs = [a_run(tmp_path / f"r{s}", "rrl", s, {}, config=ours.format(s=s)) for s in (0, 1)]
    runs += [a_run(tmp_path / "p", "ppo", 0, {}, config=theirs.format(s=0))]
    rows, notes = differing(group_arms(runs))
    assert rows == {
        "learner.salt": ["-", "9"], "replay.schedule._target_": ["Window", "NoReplay"],
        "replay.schedule.rho": ["0.4", "-"],
    }  # fmt: skip
    assert notes == []


@pytest.mark.parametrize("text", ["", "a: [1\n", "- 1\n"])
def test_an_arm_whose_config_cannot_be_read_is_noted_and_the_rest_is_told(tmp_path, text):
    runs = [a_run(tmp_path / n, n, 0, {}, config=f"learner:\n  lr: {lr}\n") for n, lr in (("a", 1), ("b", 2))]
    runs.append(a_run(tmp_path / "c", "c", 0, {}, config=text))
    rows, notes = differing(group_arms(runs))
    assert rows == {"learner.lr": ["1", "2", "-"]}
    assert notes == ["c: no readable config.yaml, so its settings are not known"]
    assert "settings are not known" in sections.settings_section(group_arms(runs))


def test_the_gallery_shows_text_and_leaves_out_rows_of_another_form(tmp_path, make_run):
    run = make_run(tmp_path / "r", "rrl", 0, steps=3)
    with open(run / "tables" / "turned.jsonl", "a") as file:
        file.write('{"key": "1", "prefix": 3}\n{"problem": "p", "tries": "x"}\n')
    html = gallery(group_arms([load_run(run)]))
    assert html.count("<tr>") == 1 + 4
    assert "<script" not in html and "&lt;script&gt;document.title" in html
    assert html.index("hard-3") < html.index("hard-0")  # most failures before first
    assert 'aria-label="0/1 1/2"' in html and html.count('class="won"') == 4


def test_without_data_every_section_says_what_is_missing(tmp_path):
    arms = group_arms([a_run(tmp_path / n, n, 0, {}) for n in ("a", "b")])
    assert "no run recorded eval/hard_success" in sections.aggregate_section(arms, tmp_path)
    assert "no run recorded an exploration metric" in sections.exploration_section(arms, tmp_path)
    assert "could be read" in sections.settings_section(arms)
    assert "no run has rows in tables/turned.jsonl" in gallery(arms)
    assert "<table" in sections.cost_section(arms, tmp_path)  # steps and tokens are known of every run
    assert sections.settings_section(arms[:1]) == '<p class="soft">- (one arm: nothing to differ from)</p>'


def test_long_labels_keep_what_tells_them_apart():
    assert short("rrl replay/selection=gap learner.lr=.1") == "rrl selection=gap lr=.1"
    assert short("rrl learner.lr=0.010 replay/selection=value_threshold_10") == "rrl lr=0...ue_threshold_10"


def test_a_slim_picture_keeps_its_paths_to_a_hundredth_and_its_words():
    path, words = '<path d="M 10.123456 7\nL 3.5 0.999999"/>', "<text>a 1.5</text>"
    svg = f"<svg>\n <metadata>\n x 1.2345\n</metadata><!-- note -->\n{path}\n{words}\n</svg>"
    assert slim(svg) == '<svg> <path d="M 10.12 7 L 3.5 0.99"/> <text>a 1.5</text> </svg>'
