import json

import numpy as np
import pytest

from rrl.report.arms import TOKENS, Arm, group_arms, mean_curve, overrides_of, smoothed
from rrl.report.load import load_run


def _run(folder, name, seed, points, overrides=(), status="finished"):
    folder.mkdir()
    lines = [
        {"progress/step": i, "progress/sampled_tokens": x, "eval/hard_success": y} for i, (x, y) in enumerate(points)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {"name": name, "seed": seed, "status": status, "overrides": list(overrides)}
    (folder / "summary.json").write_text(json.dumps(summary))
    return load_run(folder)


def test_seeds_and_trackers_make_no_arm_and_other_overrides_do(tmp_path):
    runs = [
        _run(tmp_path / "a", "rrl", 1, [(0, 0.0)], ["experiment=rrl", "seed=1", "tracker=[jsonl]"]),
        _run(tmp_path / "b", "rrl", 0, [(0, 0.0)], ["experiment=rrl", "seed=0"]),
        _run(tmp_path / "c", "rrl", 0, [(0, 0.0)], ["experiment=rrl", "seed=0", "replay.store.slots_per_problem=4"]),
    ]
    arms = group_arms(runs)
    assert [a.label for a in arms] == ["rrl", "rrl replay.store.slots_per_problem=4"]
    assert [r.seed for r in arms[0].runs] == [0, 1]
    assert overrides_of(runs[2]) == {"replay.store.slots_per_problem": "4"}


def test_what_does_not_change_a_run_makes_no_arm(tmp_path):
    harmless = ["run.keep_checkpoints=3", "run.num_threads=2", "resume=a", "tracker.jsonl.max_table_rows=9"]
    runs = [
        _run(tmp_path / "a", "rrl", 0, [(0, 0.0)], []),
        _run(tmp_path / "b", "rrl", 1, [(0, 0.0)], harmless),
        _run(tmp_path / "c", "rrl", 1, [(0, 0.0)], ["run.token_budget=3"]),
    ]
    assert [(arm.label, len(arm.runs)) for arm in group_arms(runs)] == [("rrl", 2), ("rrl run.token_budget=3", 1)]


def test_an_override_that_all_runs_share_is_not_in_the_label(tmp_path):
    runs = [_run(tmp_path / n, n, 0, [(0, 0.0)], ["run.token_budget=9"]) for n in ("ppo", "rrl")]
    assert [a.label for a in group_arms(runs)] == ["ppo", "rrl"]


def test_unfinished_runs_stay_out_of_an_arm_with_finished_ones(tmp_path):
    runs = [_run(tmp_path / s, "rrl", i, [(0, 0.0)], status=s) for i, s in enumerate(("finished", "failed"))]
    assert [r.seed for r in group_arms(runs)[0].runs] == [0]


def test_the_mean_curve_lives_where_all_seeds_have_values(tmp_path):
    first = _run(tmp_path / "a", "x", 0, [(0, 0.0), (10, 1.0), (20, 2.0)])
    second = _run(tmp_path / "b", "x", 1, [(5, 1.5), (10, 2.0), (15, 2.5)])
    arm = Arm(label="x", runs=(first, second))
    x, mean, half = mean_curve(arm, "eval/hard_success", TOKENS, 1)
    assert x.tolist() == [5, 10, 15]
    assert mean.tolist() == [1.0, 1.5, 2.0]  # (.5 + 1.5) / 2, (1 + 2) / 2, (1.5 + 2.5) / 2
    np.testing.assert_allclose(half, 12.7062 * 0.5, rtol=1e-4)  # t(.975, 1) * s / sqrt 2, s = .7071


def test_one_run_is_drawn_as_recorded_without_an_interval(tmp_path):
    arm = Arm(label="x", runs=(_run(tmp_path / "a", "x", 0, [(0, 0.0), (7, 1.0)]),))
    x, mean, half = mean_curve(arm, "eval/hard_success", TOKENS, 1)
    assert (x.tolist(), mean.tolist(), half) == ([0, 7], [0.0, 1.0], None)
    assert mean_curve(arm, "eval/capability", TOKENS, 1) is None
    assert arm.mean("eval/hard_success") == (1.0, None)
    assert arm.mean("eval/capability") is None


def test_running_mean_shrinks_at_the_ends():
    assert smoothed(np.array([0.0, 3.0, 0.0, 3.0]), 3).tolist() == pytest.approx([1.5, 1.0, 2.0, 1.5])
