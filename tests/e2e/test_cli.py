"""The commands as the README types them, and what they answer to mistakes."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rrl import manifest
from tests.e2e.commands import ROOT, SMALL, environment, many, records, script, typed

JSONL = "tracker=[jsonl]"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rrl-train -m experiment=ppo,rrl`, small."""
    folder = tmp_path_factory.mktemp("sweep")
    done = typed(folder, "rrl-train", "-m", "experiment=ppo,rrl", *SMALL, JSONL, "hydra.sweep.dir=sweep")
    assert done.code == 0, done.err
    assert "Means over seeds" in done.out and "next command: rrl-eval checkpoint=" in done.out
    return folder / "sweep"


def test_a_multirun_leaves_every_artefact_of_each_run_and_their_comparison(sweep: Path) -> None:
    for job, arm in (("0_ppo_s0", "ppo"), ("1_rrl_s0", "rrl")):
        run = sweep / job
        assert f"name: {arm}" in (run / "config.yaml").read_text()
        summary = json.loads((run / "summary.json").read_text())
        assert (summary["name"], summary["seed"], summary["status"]) == (arm, 0, "finished")
        assert summary["sampled_tokens"] >= 1500 and set(summary["versions"]) == {"rrl", "torch", "python"}
        done = json.loads((run / "done.json").read_text())
        assert (done["status"], done["error"]) == ("finished", None)
        assert done["value"] == summary["final"]["eval/hard_success"] == records(run)[-1]["eval/hard_success"]
        saved = sorted(p.name for p in (run / "checkpoints").iterdir())
        assert saved == ["best", "step_000000", f"step_{summary['steps']:06d}"]
        assert (run / "report.html").stat().st_size > 10_000
        assert {"headline.png", "entropy.png", "replay_fraction.png"} <= {p.name for p in (run / "plots").iterdir()}
    assert (sweep / "comparison" / "comparison.html").stat().st_size > 10_000
    assert (sweep / "comparison" / "headline.png").is_file()
    with open(sweep / "comparison" / "comparison.csv") as table:
        assert len(list(csv.reader(table))) == 3
    replayed = {
        arm: sum(r.get("replay/fraction", 0) for r in records(sweep / job))
        for job, arm in (("0_ppo_s0", "ppo"), ("1_rrl_s0", "rrl"))
    }
    assert replayed["ppo"] == 0.0 < replayed["rrl"]


def test_rrl_eval_repeats_the_runs_last_figures_exactly(sweep: Path) -> None:
    run = sweep / "1_rrl_s0"
    done = typed(sweep, "rrl-eval", f"checkpoint={run}", "hydra.run.dir=evaluated")
    assert done.code == 0, done.err
    assert "eval/hard_success" in done.out and "rrl, seed 0, step" in done.out
    record = json.loads((sweep / "evaluated" / "eval.json").read_text())
    final = json.loads((run / "summary.json").read_text())["final"]
    assert record["metrics"] == final and len(final) >= 8


def test_a_killed_run_resumes_in_its_folder_and_tells_no_step_twice(tmp_path: Path) -> None:
    arguments = [*SMALL, JSONL, "run.token_budget=6000", "run.checkpoint_every=3", "hydra.run.dir=run"]
    job = subprocess.Popen(
        [script("rrl-train"), *arguments], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL
    )
    log, patience = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 60
    while not (log.is_file() and log.read_text().count("\n") >= 10):  # 2 lines of warm-up, 8 steps
        assert job.poll() is None and time.monotonic() < patience
        time.sleep(0.005)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    told = records(tmp_path / "run")[-1]["progress/step"] if log.read_text().endswith("\n") else None
    saved = max(int(p.name[5:]) for p in (tmp_path / "run" / "checkpoints").glob("step_??????"))
    assert told is None or saved <= told

    (done,) = many(tmp_path, "rrl-train", [["resume=run"]])
    assert done.code == 0, done.err
    steps = [r["progress/step"] for r in records(tmp_path / "run")]
    assert steps == list(range(-1, steps[-1] + 1)) and steps[-1] > saved
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", steps[-1])
    assert json.loads((tmp_path / "run" / "done.json").read_text())["status"] == "finished"


def test_a_finished_run_goes_on_with_more_tokens_but_not_as_another_run(sweep: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(sweep / "1_rrl_s0", run)
    steps = records(run)[-1]["progress/step"]
    changed, arm, more = many(tmp_path, "rrl-train", [
        ["resume=run", "learner.lr=1e-4"], ["resume=run", "experiment=ppo"],
        ["resume=run", "run.token_budget=2000", "tracker=[jsonl]"],
    ])  # fmt: skip
    assert one_line(changed) and "learner.lr = 0.001, now 0.0001" in changed.err
    assert one_line(arm) and "'experiment=ppo' cannot be given while resuming" in arm.err
    assert more.code == 0, more.err
    assert [r["progress/step"] for r in records(run)] == list(range(-1, records(run)[-1]["progress/step"] + 1))
    assert records(run)[-1]["progress/step"] > steps and records(run)[-1]["progress/sampled_tokens"] >= 2000


def test_cfg_job_answers_quickly_and_without_torch() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([script("rrl-train"), "--cfg", "job"], env=environment(), capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Seconds of CPU: those of the wall also count whatever else the machine does.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0 and "token_budget: 140000" in done.stdout
    assert statistics.median(seconds) < 1.5
    watched = (
        "import sys, rrl.train as t; sys.argv = ['rrl-train', '--cfg', 'job'];\ntry: t.main()\nfinally: "
        "sys.stderr.write(str(sorted({'torch', 'transformers', 'wandb', 'matplotlib', 'scipy'} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", watched], env=environment(), capture_output=True, text=True)
    assert done.stderr == "[]"


def test_help_lists_every_group_and_option() -> None:
    text = subprocess.run([script("rrl-train"), "--help"], env=environment(), capture_output=True, text=True).stdout
    listed = {
        k: v.split(", ")
        for k, v in (line.split(": ", 1) for line in text.splitlines() if line.count(": ") == 1)
        if not k.startswith(" ")
    }
    for path in (ROOT / "conf").rglob("*.yaml"):
        group = path.parent.relative_to(ROOT / "conf").as_posix()
        if group != "." and not group.startswith("hydra"):
            assert path.stem in listed[group], path


# ------------------------------------------------------------------------------------------ mistakes


def one_line(answer: Any) -> bool:
    """One line on stderr, exit code not zero, no traceback anywhere."""
    return answer.code != 0 and len(answer.err.splitlines()) == 1 and "Traceback" not in answer.err + answer.out


def options(group: str) -> str:
    """The group's options as a message lists them."""
    return ", ".join(sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml")))


MISTAKES = {
    "replay/selection=thomson":
        f"replay/selection=thomson is not an option; expected one of: {options('replay/selection')}",
    "experiment=rll": f"experiment=rll is not an option; expected one of: {options('experiment')}",
    "tracker=[jsonl,comet]": f"tracker=comet is not an option; expected one of: {options('tracker')}",
    "replay/selektion=gap": "'replay/selektion'",
    "learner.lrr=1": "learner.lrr=1: learner has no key 'lrr'; expected one of: lr, lr_final_frac,",
    "+learner.lrr=1": "learner.lrr is not an argument of PolicyLearner; expected one of: lr, lr_final_frac,",
    "+learning_rate=1": "learning_rate is not a key of the config; expected one of: policy, ",
    "+run.budget=3": "run.budget is not a key of run; expected one of: ",
    "learner=null": "Config group override must be a string or a list",
    "learner.lr=abc": "learner.lr is 'abc'; expected a number",
    "learner.epochs=1.5": "learner.epochs is 1.5; expected an integer",
    "learner.kl_estimator=k9": "learner.kl_estimator is 'k9'; expected one of: 'k1', 'k2', 'k3'",
    "seed=1.5": "seed is 1.5; expected an integer >= 0",
    "run.starts_per_step=0": "run.starts_per_step is 0; expected an integer >= 1",
    "run.warm_up.starts=0": "run.warm_up.starts is 0; expected an integer >= 1",
    "run.keep_checkpoints=0": "run.keep_checkpoints is 0; expected an integer >= 1",
    "run.num_threads=0": "run.num_threads is 0; expected an integer >= 1",
    "policy.backbone.max_positions=4": "policy.backbone.max_positions is 4; task 'keychain' needs 8",
    "replay.store.capacity=0": "replay.store.capacity is 0; expected >= 1; use replay/schedule=none",
    "replay.store.slots_per_problem=0": "replay.store.slots_per_problem is 0; expected >= 1; use replay/schedule=none",
    "+problems.shares.medium=1.0": "problems.shares asks for difficulty 'medium', which the task does not have; "
                                   "expected some of: easy, hard",
    "+sweeps=default_task": "key 'sweeps' was added as plain values; run a sweep as: rrl-train --config-dir=. +sweeps=",
    "resume=nowhere": "resume is 'nowhere', which is not a folder; expected a run folder, a checkpoint folder or",
    "resume=latest": "resume is 'latest', but no run under outputs/ has checkpoints",
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("mistakes")
    lines = [
        [JSONL, "hydra.run.dir=run", mistake] if not mistake.startswith("tracker") else [mistake, "hydra.run.dir=run"]
        for mistake in MISTAKES
    ]
    return folder, dict(zip(MISTAKES, many(folder, "rrl-train", lines), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_costs_one_line_that_names_key_value_and_choices(answers: Any, mistake: str) -> None:
    answer = answers[1][mistake]
    assert one_line(answer), answer
    assert answer.err.startswith("rrl-train: ") and MISTAKES[mistake] in answer.err


def test_mistakes_are_found_before_anything_is_sampled_or_warm_started(answers: Any) -> None:
    folder, _ = answers
    assert not (folder / "run" / "metrics.jsonl").exists() and not (folder / "run" / "checkpoints").exists()
    assert not (folder / ".cache").exists()
    assert json.loads((folder / "run" / "done.json").read_text())["status"] == "failed"


def test_a_sweep_named_with_the_wrong_config_dir_is_refused_with_the_right_command(tmp_path: Path) -> None:
    for answer in many(tmp_path, "rrl-train", [[f"--config-dir={ROOT / 'sweeps'}", "+sweeps=default_task"],
                                               [f"--config-dir={ROOT / 'sweeps'}", "seed=1"]]):  # fmt: skip
        assert one_line(answer) and "run a sweep as: rrl-train --config-dir=. +sweeps=<name>" in answer.err
    assert not (tmp_path / "outputs").exists()  # the second one would train the default once


def test_a_wrong_checkpoint_costs_one_line(sweep: Path, tmp_path: Path) -> None:
    run = sweep / "1_rrl_s0"
    newest = sorted((run / "checkpoints").iterdir())[-1]
    held = tmp_path / "a_run" / "checkpoints"  # outside such a folder resume refuses any: no run to go on in
    broken, other, empty = held / "broken", held / "other", tmp_path / "empty"
    empty.mkdir()
    shutil.copytree(newest, broken)
    with open(broken / "state.safetensors", "r+b") as file:
        file.truncate(5000)
    shutil.copytree(newest, other)
    meta = json.loads((other / "meta.json").read_text())
    meta["config"]["policy"]["backbone"]["width"] = 16
    (other / "meta.json").write_text(json.dumps(meta))
    manifest.seal(other)
    told = {}
    for program, key in (("rrl-eval", "checkpoint"), ("rrl-train", "resume")):
        lines = [[f"{key}={folder}", "hydra.run.dir=here"] for folder in (broken, other, empty, tmp_path / "missing")]
        for name, answer in zip(("broken", "other", "empty", "missing"), many(tmp_path, program, lines), strict=True):
            assert one_line(answer), answer
            told[program, name] = answer.err
    for program in ("rrl-eval", "rrl-train"):
        assert "broken' is damaged: state.safetensors has 5,000 bytes" in told[program, "broken"]
        assert "does not fit this run's policy" in told[program, "other"]
        assert "holds no checkpoint; expected a run folder" in told[program, "empty"]
        assert "missing'" in told[program, "missing"]


def test_a_failing_job_of_a_multirun_stops_no_other(tmp_path: Path) -> None:
    arguments = ["-m", "replay.store.capacity=0,4096", *SMALL, "run.token_budget=400", JSONL, "hydra.sweep.dir=sweep"]
    (done,) = many(tmp_path, "rrl-train", [arguments])
    assert done.code == 1 and "Traceback" not in done.err + done.out
    assert "1 of the jobs failed" in done.err and "0_rrl_s0" in done.err
    failed, finished = (json.loads((tmp_path / "sweep" / f"{i}_rrl_s0" / "done.json").read_text()) for i in (0, 1))
    assert failed["status"] == "failed" and "replay.store.capacity is 0" in failed["error"]
    assert finished["status"] == "finished"
    assert (tmp_path / "sweep" / "comparison" / "comparison.html").is_file()
