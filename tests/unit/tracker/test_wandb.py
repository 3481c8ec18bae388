"""What the W&B backend writes, read back from its files."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from rrl.metrics import CATALOGUE
from rrl.records import Attempt, Progress
from rrl.tracker.all import Trackers
from rrl.tracker.sweep import shortened
from rrl.tracker.wandb import Wandb
from rrl.tracker.wandb_log import history_in, last_step
from rrl.tracker.wandb_memory import FILE
from rrl.types import Start
from tests.config.tree import ROOT
from tests.unit.replay.builders import a_problem
from tests.wandb_log import Written, read_back

STEP, TOKENS = "progress/step", "progress/sampled_tokens"
PROMPT = "ab"  # of builders.a_problem, as Speller has it


def progress(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=10 * step, token_budget=1000, history=(), first=None, peak=None)


class Speller:
    """A task as far as a tracker knows it."""

    name = "spelling"

    def decode(self, tokens):
        return "".join(chr(96 + token) for token in tokens)


@pytest.fixture
def wandb_tracker(monkeypatch, tmp_path):
    """Makes the backend as its YAML has it, offline, with a few keys changed."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))   # where artifacts wait for a sync
    written = yaml.safe_load((ROOT / "conf" / "tracker" / "wandb.yaml").read_text())
    del written["_target_"]

    def made(folder, **changed):
        keys = written | {"name": "rrl", "mode": "offline"} | changed
        return Wandb(output_dir=folder, resolved_config={"seed": 3, "run": {"token_budget": 1000}}, seed=3,
                     task=Speller(), **keys)

    return made


def logs_of(folder: Path) -> list[Path]:
    """W&B's files of a run, a file a process, oldest first."""
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))


def the_log(folder: Path) -> Written:
    (path,) = logs_of(folder)
    return read_back(path)


def rows_of(written: Written) -> list[int]:
    return [row[STEP] for row in written.history]


def an_attempt(prefix, tokens, solved) -> Attempt:
    count = len(tokens)
    return Attempt(start=Start(problem=a_problem(), prefix=prefix), tokens=tokens, value=np.full(count, 0.25),
                   entropy=np.zeros(count), score=float(solved), solved=solved, ended=True)


def test_every_metric_of_the_catalogue_is_written_with_its_axis(wandb_tracker, tmp_path):
    trackers = Trackers({"wandb": wandb_tracker(tmp_path)})
    logged = {name: i / 7 for i, name in enumerate(CATALOGUE) if name not in (STEP, TOKENS)}
    trackers.log(progress(4), logged)
    trackers.close("finished")
    written = the_log(tmp_path)
    (row,) = written.history
    assert {name: row[name] for name in logged} == logged and (row[STEP], row[TOKENS]) == (4, 40)
    assert written.axes == dict.fromkeys(CATALOGUE, TOKENS) | {STEP: "", TOKENS: STEP}
    assert written.summary["status"] == "finished"


def test_the_axis_is_a_key(wandb_tracker, tmp_path):
    tracker = wandb_tracker(tmp_path, axis=STEP)
    tracker.log(progress(1), {"learn/loss": 1.0})
    tracker.close("finished")
    assert {axis for name, axis in the_log(tmp_path).axes.items() if name != STEP} == {STEP}


def test_the_config_says_what_code_made_the_run(wandb_tracker, tmp_path):
    tracker = wandb_tracker(tmp_path, tags=["keychain"])
    tracker.log(progress(1), {"learn/loss": 1.0})
    tracker.close("finished")
    written = the_log(tmp_path)
    assert written.config["seed"] == 3 and written.config["run"] == {"token_budget": 1000}
    code = written.config["code"]
    assert re.fullmatch("[0-9a-f]{7,}|-", code["commit"]) and isinstance(code["dirty"], bool)
    assert code["versions"].keys() >= {"rrl", "torch", "python"} and code["command"].startswith("rrl-train")
    run = written.run
    named = (run.display_name, run.run_group, run.job_type, list(run.tags))
    assert named == ("rrl-seed3", "rrl", "train", ["keychain"])


def a_sweep(folder: Path, choices: dict, overrides: list[str], job: list[str], params: dict) -> Path:
    """The job's folder as Hydra leaves it."""
    run = folder / "0_rrl_s3"
    (run / ".hydra").mkdir(parents=True)
    hydra = {"runtime": {"choices": choices}, "overrides": {"task": overrides}, "sweeper": {"params": params}}
    (folder / "multirun.yaml").write_text(json.dumps({"hydra": hydra}))
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps(job))
    return run


@pytest.mark.parametrize(("choices", "group"), [({"sweeps": "menu"}, "menu"), ({}, "multirun/12-00-00")])
def test_a_job_of_a_sweep_stands_in_the_sweeps_group_as_its_arm(wandb_tracker, tmp_path, choices, group):
    fixed = ["run.token_budget=900", "tracker=[wandb]"]
    run = a_sweep(
        tmp_path / "multirun" / "12-00-00", choices, [*fixed, "+sweeps=menu", "seed=0,3"],
        [*fixed, "+sweeps=menu", "experiment=rrl", "replay/schedule=window", "run.starts_per_step=32", "seed=3"],
        {"replay/schedule": "window,none", "run.starts_per_step": 32},
    )  # fmt: skip
    tracker = wandb_tracker(run)
    tracker.log(progress(1), {"learn/loss": 1.0})
    tracker.close("finished")
    record = the_log(run).run
    assert (record.run_group, record.job_type) == (group, "rrl replay/schedule=window")


def test_an_arm_with_a_long_name_keeps_to_what_the_server_takes_and_apart_from_others():
    # job_type may have 64 characters, and an offline run would find out when it is synced
    one, two = (shortened("rrl " + "replay.selection.x=1 " * 4 + end, 64) for end in "ab")
    assert len(one) == len(two) == 64 and one != two and one.startswith("rrl replay.selection.x=1 replay")
    assert shortened("x" * 64, 64) == "x" * 64


@pytest.mark.parametrize(("key", "value"), [("job_type", "x" * 65), ("group", "x" * 129), ("tags", ["ok", "x" * 65])])
def test_a_text_that_the_server_refuses_is_refused_before_the_run(wandb_tracker, tmp_path, key, value):
    with pytest.raises(ValueError, match=rf"tracker.wandb.{key} has \d+ characters .*; W&B takes at most"):
        wandb_tracker(tmp_path, **{key: value})


def test_a_group_and_a_job_type_that_are_named_count(wandb_tracker, tmp_path):
    run = a_sweep(tmp_path / "sweep", {}, [], [], {})
    tracker = wandb_tracker(run, group="mine", job_type="ablation")
    tracker.log(progress(1), {"learn/loss": 1.0})
    tracker.close("finished")
    record = the_log(run).run
    assert (record.run_group, record.job_type) == ("mine", "ablation")


def table_of(run: Path, row: dict, name: str) -> tuple[list[str], list[list]]:
    (place,) = run.glob("wandb/offline-run-*/files/" + row[f"tables/{name}"]["path"])
    content = json.loads(place.read_text())
    return content["columns"], content["data"]


def test_rollouts_are_a_table_of_the_next_row_half_of_them_replayed(wandb_tracker, tmp_path):
    fresh = [an_attempt((), (20, i), i == 7) for i in range(1, 8)]
    replayed = [an_attempt((5, 6), (21, i), False) for i in range(1, 8)]
    trackers = Trackers({"wandb": wandb_tracker(tmp_path, rollouts_every_steps=2, max_rollouts=4)})
    for step in (1, 2, 3):
        trackers.rollouts(progress(step), fresh + replayed)
        trackers.log(progress(step + 1), {"learn/loss": 1.0})
    trackers.close("finished")
    history = the_log(tmp_path).history
    assert [("tables/rollouts" in row, row[STEP]) for row in history] == [(False, 2), (True, 3), (False, 4)]
    columns, data = table_of(tmp_path, history[1], "rollouts")
    shown = [dict(zip(columns, row, strict=True)) for row in data]
    assert [(r["step"], r["origin"], r["prefix"], r["response"], r["solved"]) for r in shown] == [
        (2, "fresh", "", "ta", False), (2, "fresh", "", "tg", True),
        (2, "replayed", "ef", "ua", False), (2, "replayed", "ef", "ug", False),
    ]  # fmt: skip
    assert (shown[0]["prompt"], shown[0]["value"], shown[0]["score"], shown[1]["tokens"]) == (PROMPT, 0.25, 0.0, 2)


@pytest.mark.parametrize(("bounds", "kept"), [
    ({"max_table_rows": 3}, ["x" * 10] * 3),
    ({"max_table_bytes": 45}, ["x" * 10] * 4),            # a row is its text and one digit: 11 bytes
    ({"max_cell_chars": 4}, ["xxxx ... and 6 characters more"] * 6),
])  # fmt: skip
def test_a_table_is_bounded_in_rows_bytes_and_letters(wandb_tracker, tmp_path, caplog, bounds, kept):
    tracker = wandb_tracker(tmp_path, **bounds)
    tracker.log(progress(1), {"learn/loss": 1.0})
    rows = [{"n": n, "text": "x" * 10} for n in range(6)]
    tracker.table("prefixes", rows)
    tracker.table("prefixes", rows)
    tracker.close("finished")
    _, data = table_of(tmp_path, the_log(tmp_path).history[1], "prefixes")
    assert data == [[n, text] for n, text in enumerate(kept)]
    assert len([r for r in caplog.records if "table prefixes has 6 rows" in r.getMessage()]) == (len(kept) < 6)


def test_a_table_that_is_not_in_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="table 'prefixs' is not in rrl.metrics.TABLES; expected one of: prefixes"):
        Trackers({}).table("prefixs", [])


def a_folder(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").write_text(text)
    return folder


def test_the_best_checkpoint_and_the_last_store_are_artifacts(wandb_tracker, tmp_path):
    tracker = wandb_tracker(tmp_path, checkpoint_artifacts="best", store_artifacts="last")
    assert tracker.wants("checkpoint") and tracker.wants("store")
    values = {1: 0.25, 2: None, 3: 0.125, 4: 0.5}   # an old evaluation makes no new best, nor does a worse one
    for step, value in values.items():
        tracker.log(progress(step), {"learn/loss": 1.0} | ({"eval/hard_success": value} if value else {}))
        tracker.artifact(a_folder(tmp_path / "checkpoints" / f"step_{step}", f"{step}"), "checkpoint")
        tracker.artifact(a_folder(tmp_path / "store", f"{step}"), "store")
    tracker.close("finished")
    written = the_log(tmp_path)
    name = written.run.run_id
    assert [a for a in written.artifacts if a[1] in ("checkpoint", "store")] == [
        (f"checkpoint-{name}", "checkpoint", ["best", "latest"], ["state.json"]),
        (f"checkpoint-{name}", "checkpoint", ["best", "latest"], ["state.json"]),
        (f"store-{name}", "store", ["last", "latest"], ["state.json"]),
    ]
    assert json.loads((tmp_path / FILE).read_text())["best"] == {"checkpoint": 0.5}


def test_without_being_asked_no_artifact_is_wanted_or_written(wandb_tracker, tmp_path):
    tracker = wandb_tracker(tmp_path)
    assert not tracker.wants("checkpoint") and not tracker.wants("store")
    tracker.log(progress(1), {"eval/hard_success": 0.5})
    tracker.artifact(a_folder(tmp_path / "checkpoints" / "step_1", "1"), "checkpoint")
    tracker.close("finished")
    assert the_log(tmp_path).artifacts == []


@pytest.mark.parametrize("metric", ["eval/hard_sucess", "rollout/tokens_fresh"])
def test_the_best_is_told_by_a_metric_with_a_direction(wandb_tracker, tmp_path, metric):
    with pytest.raises(ValueError, match=f"tracker.wandb.best_metric is '{metric}'"):
        wandb_tracker(tmp_path, best_metric=metric)


def test_a_resumed_run_goes_on_under_its_id_and_tells_no_step_twice(wandb_tracker, tmp_path, caplog):
    first = wandb_tracker(tmp_path)
    for step in range(-1, 5):
        first.log(progress(step), {"learn/loss": float(step)})
    first.close("interrupted")
    second = wandb_tracker(tmp_path, rollouts_every_steps=1, max_rollouts=1)
    second.resume_at(2)   # the checkpoint is older than what W&B was told
    with caplog.at_level(logging.INFO):
        for step in range(3, 7):
            second.rollouts(progress(step - 1), [an_attempt((), (20,), False)])
            second.log(progress(step), {"learn/loss": float(step)})
        second.close("finished")
    one, two = map(read_back, logs_of(tmp_path))
    assert one.run.run_id == two.run.run_id
    assert rows_of(one) + rows_of(two) == list(range(-1, 7))
    assert [row["_step"] for row in one.history + two.history] == list(range(8))
    assert all("tables/rollouts" in row for row in two.history)
    said = caplog.records[-1].getMessage()
    assert said.startswith("wandb is offline; to upload this run: wandb sync ")
    assert said.split()[-2:] == [str(path.parent) for path in logs_of(tmp_path)]


def killed_while_w_and_b_wrote(folder: Path, last: int) -> Path:
    """Cut the only transaction file in the middle of the row behind step ``last``: the rest was never written."""
    (path,) = logs_of(folder)
    read_back(path)   # until its process has written everything: what it wrote later would mend the cut
    data = path.read_bytes()
    for end in range(len(data), 0, -1):
        if [row[STEP] for row in history_in(data[:end])][-1:] == [last]:
            path.write_bytes(data[:end])
            return path
    raise AssertionError(f"no row of step {last}")


@pytest.mark.parametrize(("in_the_file", "checkpoint"), [(1, 3), (4, 3), (-1, 0)])
def test_what_a_kill_took_from_w_and_b_is_told_again_from_the_records(
    wandb_tracker, tmp_path, in_the_file, checkpoint, caplog
):
    first = wandb_tracker(tmp_path)
    for step in range(-1, 6):
        first.log(progress(step), {"learn/loss": float(step)})
    first.close("interrupted")
    cut = killed_while_w_and_b_wrote(tmp_path, in_the_file)
    records = [{STEP: s, TOKENS: 10 * s, "learn/loss": float(s)} for s in range(-1, checkpoint + 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    second = wandb_tracker(tmp_path)
    second.resume_at(checkpoint)
    with caplog.at_level(logging.INFO):
        for step in range(checkpoint + 1, 7):
            second.log(progress(step), {"learn/loss": float(step)})
        second.close("finished")
    (later,) = (path for path in logs_of(tmp_path) if path != cut)
    rows = [*history_in(cut.read_bytes()), *read_back(later).history]
    assert [row[STEP] for row in rows] == list(range(-1, 7))
    assert [row["learn/loss"] for row in rows] == [float(s) for s in range(-1, 7)]
    numbers = [row["_step"] for row in rows]
    assert numbers == sorted(set(numbers))   # a number that W&B has had would be dropped
    again = checkpoint - in_the_file
    assert any(f"{again} records are told again" in r.getMessage() for r in caplog.records) == (again > 0)


def test_where_no_record_is_left_the_gap_is_said(wandb_tracker, tmp_path, caplog):
    first = wandb_tracker(tmp_path)
    for step in range(3):
        first.log(progress(step), {"learn/loss": float(step)})
    first.close("interrupted")
    killed_while_w_and_b_wrote(tmp_path, 0)
    second = wandb_tracker(tmp_path)
    second.resume_at(2)
    second.log(progress(3), {"learn/loss": 3.0})
    second.close("finished")
    assert "wandb lacks steps up to 2 behind 0, and metrics.jsonl does not have them" in caplog.text


def test_the_server_knows_better_than_what_was_handed_over(tmp_path):
    def told(server: object) -> int | None:
        return last_step(tmp_path, "abc", STEP, own=tmp_path / "own", server=server, handed_over=9)

    assert told(7) == 7 and told(None) == 9   # files that were synced and deleted: nobody tells
    (tmp_path / "wandb" / "offline-run-1-abc").mkdir(parents=True)
    (tmp_path / "wandb" / "offline-run-1-abc" / "run-abc.wandb").write_bytes(b"")
    assert told(7) == 7 and told(None) is None   # killed before its first row was written


def test_a_new_run_in_an_old_folder_is_another_run(wandb_tracker, tmp_path):
    for _ in range(2):
        tracker = wandb_tracker(tmp_path)
        tracker.log(progress(1), {"learn/loss": 1.0})
        tracker.close("finished")
    one, two = map(read_back, logs_of(tmp_path))
    assert one.run.run_id != two.run.run_id and rows_of(one) == rows_of(two) == [1]


def test_an_offline_run_is_silent(wandb_tracker, tmp_path, capfd):
    tracker = wandb_tracker(tmp_path)
    tracker.log(progress(1), {"eval/hard_success": 0.5})
    tracker.table("prefixes", [{"text": "K1", "tokens": [1, 2]}])
    tracker.close("finished")
    out, err = capfd.readouterr()
    assert out == ""
    assert "wandb" not in err.lower()


def test_a_disabled_run_writes_nothing(wandb_tracker, tmp_path):
    tracker = wandb_tracker(tmp_path / "run", mode="disabled", checkpoint_artifacts="last")
    tracker.log(progress(1), {"eval/hard_success": 0.5})
    tracker.rollouts(progress(50), [])
    tracker.artifact(tmp_path, "checkpoint")
    tracker.close("finished")
    assert not (tmp_path / "run").exists() and not tracker.wants("checkpoint")
