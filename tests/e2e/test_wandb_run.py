"""A job of a sweep and its resumption, as W&B's offline files tell them: nothing more or less than metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rrl.metrics import CATALOGUE
from tests.e2e.commands import SMALL, Answer, many, records
from tests.wandb_log import Written, read_back

AXES = ("progress/step", "progress/sampled_tokens")
W_AND_B = [
    "tracker=[jsonl,wandb]", "tracker.wandb.mode=offline", "tracker.wandb.checkpoint_artifacts=best",
    "tracker.wandb.store_artifacts=last", "tracker.wandb.rollouts_every_steps=1", "tracker.wandb.max_rollouts=4",
]  # fmt: skip


class Told(tuple[Path, list[Answer], list[Written]]):
    """The job's folder, what its two commands said, and what W&B has of the two processes."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("wandb")
    monkey = pytest.MonkeyPatch()
    monkey.setenv("WANDB_DATA_DIR", str(folder / "staged"))
    small = [*SMALL, *W_AND_B, "replay/schedule=constant", "run.token_budget=400"]
    swept = ["-m", *small, "hydra.sweep.dir=swept/nightly"]
    run = folder / "swept" / "nightly" / "0_rrl_s0"
    resumed = [f"resume={run}", "run.token_budget=550"]
    answers = many(folder, "rrl-train", [swept, resumed])
    monkey.undo()
    for answer in answers:
        assert answer.code == 0, answer.err
    files = sorted(run.glob("wandb/offline-run-*/run-*.wandb"), key=lambda p: p.stat().st_mtime)
    return Told((run, answers, [read_back(path) for path in files]))


def metrics_of(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name in CATALOGUE}


def test_both_processes_are_one_run_that_tells_each_step_once_with_every_metric(told: Told) -> None:
    run, _, written = told
    assert len(written) == 2 and len({w.run.run_id for w in written}) == 1
    history = [metrics_of(row) for w in written for row in w.history if metrics_of(row).keys() - set(AXES)]
    assert history == records(run)   # names, values and order
    assert {"rollout/score_fresh", "replay/conversion", "eval/hard_success", "learn/loss", "value/brier_fresh",
            "time/step_s"} <= {name for row in history for name in row}
    assert [w.history[0]["_step"] for w in written] == [0, len(written[0].history)]


def test_every_metric_that_was_logged_has_its_axis(told: Told) -> None:
    _, _, written = told
    for w in written:
        logged = {name for row in w.history for name in metrics_of(row)} - set(AXES)
        assert {w.axes[name] for name in logged} == {"progress/sampled_tokens"}
        assert w.axes["progress/sampled_tokens"] == "progress/step"
        assert all(set(AXES) <= row.keys() for row in w.history)


def test_group_job_type_config_and_code_version_stand_with_the_run(told: Told) -> None:
    run, _, written = told
    for w in written:
        assert (w.run.run_group, w.run.job_type) == ("swept/nightly", "rrl")   # all its jobs have that schedule
        assert w.run.display_name == "rrl-seed0" and w.config["seed"] == 0
        assert w.config["replay"]["schedule"]["_target_"].startswith("rrl.replay.schedule.")
        assert w.config["code"].keys() == {"command", "commit", "dirty", "versions", "device"}
        assert w.summary["status"] == "finished"


def test_tables_and_artifacts_are_there(told: Told) -> None:
    run, _, written = told
    for w in written:
        assert any("tables/rollouts" in row for row in w.history) and "tables/prefixes" in w.history[-1]
        kinds = {kind: contents for _, kind, _, contents in w.artifacts if kind in ("checkpoint", "store")}
        assert sorted(kinds["store"]) == ["manifest.json", "meta.json", "state.json", "state.safetensors"]
    assert [a[1] for a in written[0].artifacts].count("checkpoint") >= 1   # a second one only where it got better
    assert (run / "store" / "meta.json").is_file()


def test_the_command_that_uploads_all_of_it_is_said_at_the_end(told: Told) -> None:
    run, answers, _ = told
    folders = sorted(str(p) for p in run.glob("wandb/offline-run-*"))
    (line,) = [line for line in answers[1].out.splitlines() if "wandb sync" in line]
    assert line.split("wandb sync ")[1].split() == folders
