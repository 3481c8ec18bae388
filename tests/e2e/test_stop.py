"""How a run ends early: Ctrl-C, SIGTERM, two Ctrl-Cs, and numbers that are not numbers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from rrl.saver import Saver, StopCleanly
from tests.e2e.commands import SMALL, environment, many, records, script

LONG = [*SMALL, "run.token_budget=5000", "replay/schedule=constant", "hydra.run.dir=run"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [script("rrl-train"), *arguments], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_steps(job: subprocess.Popen[str], run: Path, num: int) -> None:
    log, patience = run / "metrics.jsonl", time.monotonic() + 90
    while not (log.is_file() and log.read_text().count("\n") >= num):
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < patience
        time.sleep(0.005)


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("time/")}


def test_ctrl_c_saves_and_closes_and_the_resumed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (whole,) = many(tmp_path / "whole", "rrl-train", [[*LONG, "tracker=[jsonl]"]])
    assert whole.code == 0, whole.err

    job = start(tmp_path, *LONG, "tracker=[jsonl,wandb]")
    wait_for_steps(job, tmp_path / "run", 8)
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert "stopping after this step" in out and "rrl-train resume=" in out and "Traceback" not in out + err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["sampled_tokens"] < 5000
    assert json.loads((tmp_path / "run" / "done.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "run" / "checkpoints" / f"step_{summary['steps']:06d}" / "meta.json").is_file()
    assert records(tmp_path / "run")[-1]["progress/step"] == summary["steps"]
    (offline,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b'"interrupted"' in offline.read_bytes()  # closing the W&B run writes its status

    (resumed,) = many(tmp_path, "rrl-train", [["resume=run", "tracker=[jsonl]"]])
    assert resumed.code == 0, resumed.err
    ends = [
        json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "run", tmp_path / "whole" / "run")
    ]
    assert ends[0]["status"] == "finished"
    assert timeless(ends[0]["final"]) == timeless(ends[1]["final"])
    mine, theirs = ([timeless(r) for r in records(folder)] for folder in (tmp_path / "run", tmp_path / "whole" / "run"))
    assert mine == theirs  # every step of both parts, replay included
    assert any(r.get("replay/fraction", 0.0) > 0.0 for r in theirs)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGUSR1]])
def test_sigterm_stops_as_ctrl_c_does_and_a_second_one_stops_at_once(tmp_path: Path, signals: list[int]) -> None:
    job = start(tmp_path, *LONG, "run.token_budget=500000", "tracker=[jsonl]")
    wait_for_steps(job, tmp_path / "run", 8)
    for number in signals:
        job.send_signal(number)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert "Traceback" not in out + err
    assert json.loads((tmp_path / "run" / "done.json").read_text())["status"] == "interrupted"


def test_sigterms_at_once_are_one_request_and_ctrl_c_behind_one_is_another() -> None:
    saver = object.__new__(Saver)   # what a signal is noted in; nothing is saved here
    saver.stop = False
    with StopCleanly(saver):
        os.kill(os.getpid(), signal.SIGTERM)   # Slurm sends it to every process of a job,
        os.kill(os.getpid(), signal.SIGTERM)   # and a launcher passes its own on
        assert saver.stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_lost_connection_and_a_schedulers_warning_are_requests_where_nobody_hears_them(number: int) -> None:
    saver = object.__new__(Saver)
    saver.stop, heard = False, list[int]()
    old = signal.signal(number, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        with StopCleanly(saver):
            os.kill(os.getpid(), number)
            assert saver.stop
        saver.stop = False
        signal.signal(number, signal.SIG_IGN)
        with StopCleanly(saver):
            os.kill(os.getpid(), number)  # nohup
            signal.signal(number, lambda got, _: heard.append(got))
        with StopCleanly(saver):
            os.kill(os.getpid(), number)  # a launcher's own
    finally:
        signal.signal(number, old)
    assert heard == [number] and not saver.stop


def test_a_run_whose_reader_has_gone_trains_to_its_end(tmp_path: Path) -> None:
    typed = shlex.join([script("rrl-train"), *LONG, "run.token_budget=1500", "run.warm_up.batches=1"])
    job = subprocess.run(["bash", "-c", f"set -o pipefail; {typed} | head -n 1"], cwd=tmp_path, env=environment(),
                         capture_output=True, text=True, timeout=120)  # fmt: skip
    assert job.returncode == 0 and "Traceback" not in job.stderr and "Logging error" not in job.stderr
    assert json.loads((tmp_path / "run" / "done.json").read_text())["status"] == "finished"
    said = (tmp_path / "run" / "train.log").read_text()
    assert "tracker console: " in said and "nobody reads standard output any more" in said
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_sigterm_with_the_last_step_of_a_job_starts_no_other_one(tmp_path: Path) -> None:
    stop = "+tracker.stop._target_=tests.e2e.poison.TermAtTheEnd"
    arguments = ["-m", "seed=0,1", *SMALL, "run.token_budget=300", "tracker=[jsonl]", stop, "hydra.sweep.dir=sweep"]
    (answer,) = many(tmp_path, "rrl-train", [arguments])
    assert answer.code == 130 and "Traceback" not in answer.err + answer.out
    assert json.loads((tmp_path / "sweep" / "0_rrl_s0" / "done.json").read_text())["status"] == "finished"
    assert not (tmp_path / "sweep" / "1_rrl_s1").exists()


def test_a_reward_that_is_no_number_stops_the_run_and_names_step_row_and_last_good_checkpoint(tmp_path: Path) -> None:
    poisoned = [
        "reward._target_=tests.e2e.poison.PoisonedReward",
        "+reward.base._target_=rrl.reward.task.TaskReward",
        "+reward.base.timeout_s=60.0",
        "~reward.timeout_s",
        "+reward.call=8",
        "+reward.row=3",
    ]  # calls 0 and 1 are warm-up, so call 8 is step 6
    (answer,) = many(tmp_path, "rrl-train", [[*LONG, "tracker=[jsonl]", "run.checkpoint_every=4", *poisoned]])
    assert answer.code == 1 and "Traceback" not in answer.out + answer.err
    (line,) = answer.err.splitlines()
    assert "the reward is not finite at step 6: row 3 of problem '" in line
    assert "the last good checkpoint is " in line and line.endswith("run/checkpoints/step_000004")
    done = json.loads((tmp_path / "run" / "done.json").read_text())
    assert done["status"] == "failed" and f"rrl-train: {done['error']}" == line
    assert "NonFiniteReward" in done["traceback"]
    assert records(tmp_path / "run")[-1]["progress/step"] == 6  # six updates were made, the seventh was not


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_in_one_job_of_a_multirun_stops_no_other(tmp_path: Path) -> None:
    poisoned = [
        "reward._target_=tests.e2e.poison.PoisonedReward",
        "+reward.base._target_=rrl.reward.task.TaskReward",
        "+reward.base.timeout_s=60.0",
        "~reward.timeout_s",
        "+reward.call=3,100000",
        "+reward.row=0",
    ]
    arguments = ["-m", *SMALL, "run.token_budget=900", "tracker=[jsonl]", *poisoned, "hydra.sweep.dir=sweep"]
    (answer,) = many(tmp_path, "rrl-train", [arguments])
    assert answer.code == 1 and "1 of the jobs failed" in answer.err
    states = [json.loads((tmp_path / "sweep" / f"{i}_rrl_s0" / "done.json").read_text()) for i in (0, 1)]
    assert [s["status"] for s in states] == ["failed", "finished"]
    assert "not finite at step 1" in states[0]["error"]


def test_a_run_that_is_running_is_not_resumed_beside_itself(tmp_path: Path) -> None:
    job = start(tmp_path, *LONG, "run.token_budget=500000", "tracker=[jsonl]")
    wait_for_steps(job, tmp_path / "run", 4)
    job.send_signal(signal.SIGSTOP)  # it stands still, and still holds its folder
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    (taken,) = many(tmp_path, "rrl-train", [["resume=run"]])
    after = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    job.kill()
    job.communicate(timeout=60)
    assert taken.code == 1 and "rrl-train: run is being run by another process" in taken.err
    assert after == before
