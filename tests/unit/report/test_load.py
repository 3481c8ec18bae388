import json

import pytest

from rrl.report.load import find_runs, load_run, unstarted


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone.*does not exist"):
        load_run(tmp_path / "gone")


def test_a_folder_without_metrics_says_which_tracker_writes_them(tmp_path):
    with pytest.raises(ValueError, match=r"no metrics.jsonl.*tracker="):
        load_run(tmp_path)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        load_run(tmp_path)


def test_a_torn_last_line_is_left_out_and_noted(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"progress/step": 1, "progress/sampled_tokens": 10}\n{"progress/step": 2, "pro'
    )
    run = load_run(tmp_path)
    assert [r["progress/step"] for r in run.records] == [1]
    assert "torn" in run.notes[0]
    assert "no summary.json" in run.notes[1]


def test_damaged_lines_in_the_middle_are_left_out_and_noted_with_their_numbers(tmp_path):
    lines = ["x", '{"progress/step": 1, "progress/sampled_tokens": 1}', "[2]", '{"progress/step": 2}', ""]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    run = load_run(tmp_path)
    assert [r["progress/step"] for r in run.records] == [1]
    assert run.notes[0] == "metrics.jsonl: lines 1, 3 cannot be read and left out"
    assert run.notes[1] == "metrics.jsonl: 1 lines without progress/step and progress/sampled_tokens are left out"


def test_a_file_without_one_readable_record_is_an_error_that_says_why(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"rollout/score_fresh": 1}\n')
    with pytest.raises(ValueError, match="is empty: metrics.jsonl: 1 lines without progress/step"):
        load_run(tmp_path)


def test_what_is_no_finite_number_is_left_out_and_names_of_another_version_are_noted(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"progress/step": 1, "progress/sampled_tokens": 1, "eval/x": NaN, "learn/loss": "?", "old/name": 2}\n'
    )
    run = load_run(tmp_path)
    assert run.records == ({"progress/step": 1, "progress/sampled_tokens": 1, "old/name": 2},)
    assert run.notes[0] == "metrics.jsonl: 2 values that are no finite number are left out (eval/x, learn/loss)"
    assert run.notes[1] == "recorded by another version: 1 metrics not in the catalogue (old/name)"


@pytest.mark.parametrize("text", ["{", "[]", '"finished"'])
def test_a_damaged_summary_is_noted_and_the_records_stand_in(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text('{"progress/step": 7, "progress/sampled_tokens": 11}\n')
    (tmp_path / "summary.json").write_text(text)
    run = load_run(tmp_path)
    assert (run.summary["steps"], run.finished) == (7, False)
    assert run.notes[0].startswith("summary.json cannot be read")


def test_a_summary_of_another_version_is_used_as_far_as_it_goes(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"progress/step": 7, "progress/sampled_tokens": 11}\n')
    told = {"name": "a", "status": "finished", "seed": "three", "final": {"x": "y"}, "expected": {"e": [1]}}
    (tmp_path / "summary.json").write_text(json.dumps(told))
    run = load_run(tmp_path)
    assert (run.name, run.seed, run.finished, run.final.get("x")) == ("a", 0, True, None)
    assert run.notes[0] == "summary.json: seed of another form than this version's, not used"
    assert run.notes[2] == "summary.json: expected e is no [value, tolerance], not used"
    assert run.notes[1].startswith("summary.json has no command, commit, device, ...")


def test_jobs_that_never_began_are_found(tmp_path, make_run):
    make_run(tmp_path / "0_ppo_s0", "ppo", 0, steps=1)
    (tmp_path / "1_rrl_s0" / ".hydra").mkdir(parents=True)
    assert [p.name for p in unstarted([tmp_path])] == ["1_rrl_s0"]


def test_lines_of_one_step_are_one_record_and_the_last_value_is_final(tmp_path):
    lines = [
        {"progress/step": 1, "progress/sampled_tokens": 10, "rollout/score_fresh": 0.1, "eval/hard_success": 0.0},
        {"progress/step": 2, "progress/sampled_tokens": 20, "rollout/score_fresh": 0.3},
        {"progress/step": 2, "progress/sampled_tokens": 20, "eval/hard_success": 0.5},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    run = load_run(tmp_path)
    assert len(run.records) == 2
    assert run.final["eval/hard_success"] == 0.5
    x, y = run.series("rollout/score_fresh", "progress/sampled_tokens")
    assert x.tolist() == [10, 20]
    assert y.tolist() == [0.1, 0.3]
    assert not run.finished


def test_ages_count_from_birth_to_the_end_of_the_run(tmp_path, make_run):
    run = load_run(make_run(tmp_path / "a", "rrl", 0))
    assert all(row["age_steps"] == 40 - row["born_step"] for row in run.prefixes)
    assert run.notes == ()


def test_runs_are_found_below_a_sweep_and_the_comparison_folder_is_none(compared):
    sweep, _ = compared
    assert [p.name for p in find_runs([sweep])][:2] == ["0_ppo_s0", "1_ppo_s1"]
    assert len(find_runs([sweep])) == 8  # one of them died early


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no run below"):
        find_runs([tmp_path])
