"""Laws of ``Evaluator``, ``Tracker`` and ``Learner``."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from rrl.build import House
from rrl.metrics import CATALOGUE
from rrl.stages import lesson_of, terms_of
from rrl.tracker.all import Trackers
from rrl.types import Estimated, Start
from tests.contract.bench import Bench, progress_at
from tests.contract.doubles import Notes, WatchedPolicy
from tests.contract.options import every

# ------------------------------------------------------------------------------------------ evaluator


@every("evaluate")
def test_evaluation_is_of_bare_prompts_in_streams_of_its_own_and_learns_nothing(bench: Bench, option: str) -> None:
    house = bench.house("evaluate", option)
    policy = WatchedPolicy(house.policy)
    evaluate = bench.make("evaluate", option, policy=policy)
    before = [p.detach().clone() for p in house.policy.parameters()]
    value_before = house.value.state_dict()["parameters"]
    metrics = evaluate.now(progress_at(4))

    assert policy.scored and all(not start.replayed for start in policy.scored)
    assert policy.sampled and all(stream.startswith("evaluate") for stream, _ in policy.sampled)
    for stream, start in policy.sampled:  # the capability alone begins behind the right prefix
        behind = house.task.right_prefix(start.problem) if "capability" in stream else ()
        assert start.prefix == behind
    assert all(torch.equal(a, b) for a, b in zip(before, house.policy.parameters(), strict=True))
    assert all(p.grad is None for p in house.policy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(value_before, house.value.state_dict()["parameters"], strict=True))

    assert metrics and all(name.startswith("eval/") and name in CATALOGUE for name in metrics)
    assert all(np.isfinite(x) for x in metrics.values())
    assert all(0.0 <= metrics[n] <= 1.0 for n in metrics if n.endswith(("success", "greedy", "capability", "auc")))
    assert metrics == evaluate.now(progress_at(4))  # repeatable


@every("evaluate")
def test_evaluation_is_due_at_the_beginning_and_never_before(bench: Bench, option: str) -> None:
    evaluate = bench.house("evaluate", option, "evaluate.every_steps=50").evaluate
    assert evaluate.when_due(progress_at(-1)) == {}
    assert evaluate.when_due(progress_at(0)) == evaluate.now(progress_at(0)) != {}
    assert evaluate.when_due(progress_at(101)) == {}
    assert evaluate.when_due(progress_at(150)) != {}


# ------------------------------------------------------------------------------------------ tracker


@pytest.fixture
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")


@every("tracker")
def test_a_backend_takes_every_record_beside_a_broken_one(
    bench: Bench, option: str, caplog: pytest.LogCaptureFixture, one_start: None
) -> None:
    folder, notes, broken = bench.new_folder(), Notes(), Notes(broken=True)
    backend = bench.make("tracker", option, output_dir=folder)
    trackers = Trackers({"broken": broken, option: backend, "notes": notes})
    with caplog.at_level(logging.WARNING):
        trackers.resume_at(progress_at(0))
        trackers.log(progress_at(1), dict.fromkeys(CATALOGUE, 0.5))
        trackers.log(progress_at(2), {"learn/loss": float("nan"), "learn/lr": 0.1})
        trackers.log(progress_at(3), {})
        trackers.table("prefixes", [{"key": "a", "tokens": [1, 2], "value": 0.5, "text": "x | y"}])
        trackers.table("prefixes", [])
        trackers.artifact(folder, "checkpoint")
        trackers.close("finished")
        trackers.close("finished")
    assert notes.calls == broken.calls == ["log"] * 3 + ["table"] * 2 + ["artifact", "close"]
    assert not [r.getMessage() for r in caplog.records if f"tracker {option}" in r.getMessage()]
    assert [r for r in caplog.records if "tracker broken: log failed" in r.getMessage()]


@every("tracker")
def test_a_name_outside_the_catalogue_raises_and_reaches_no_backend(bench: Bench, option: str) -> None:
    folder = bench.new_folder()
    trackers = Trackers({option: bench.make("tracker", option, output_dir=folder)})
    with pytest.raises(ValueError, match="rollout/typo"):
        trackers.log(progress_at(1), {"learn/loss": 1.0, "rollout/typo": 1.0})
    trackers.close("failed")
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_jsonl_holds_what_was_logged(bench: Bench) -> None:
    folder: Path = bench.new_folder()
    tracker = bench.make("tracker", "jsonl", output_dir=folder)
    tracker.log(progress_at(2, done=0.5), {"learn/loss": 0.25})
    tracker.close("finished")
    line = json.loads((folder / "metrics.jsonl").read_text())
    assert line == {"progress/step": 2, "progress/sampled_tokens": 5000, "learn/loss": 0.25}


# ------------------------------------------------------------------------------------------ learner


def estimated_rows(house: House, step: int = 0) -> Estimated:
    """Fresh and replayed rows with made-up advantages."""
    problems = house.task.train_problems()
    starts = [
        *(Start(problem=p) for p in problems[:6]),
        *(Start(problem=p, prefix=p.solution[:1]) for p in problems[:3]),
    ]
    rollouts = house.policy.rollout(starts, samples_per_start=2, step=step)
    estimated = house.value.estimate(house.reward.score(rollouts))
    noise = torch.randn(len(estimated.advantage), generator=torch.Generator().manual_seed(step))
    return dataclasses.replace(estimated, advantage=noise)


def lesson(house: House) -> object:
    problems = house.task.train_problems()
    return lesson_of([(Start(problem=p), p.solution[:1], 0.1) for p in problems[:3]])


def update(house: House, step: int = 0, *, taught: bool = True) -> dict[str, float]:
    rows = estimated_rows(house, step)
    return house.learner.update(terms_of(rows, 1 / 3), lesson(house) if taught else None, progress_at(step))


def weights(house: House) -> list[torch.Tensor]:
    return [p.detach().clone() for p in house.policy.parameters()]


@every("learner")
def test_an_update_learns_with_finite_metrics_of_known_names(bench: Bench, option: str) -> None:
    house = bench.new_house("learner", option)
    before = weights(house)
    metrics = update(house)
    assert metrics and not set(metrics) - CATALOGUE.keys() and all(np.isfinite(x) for x in metrics.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(house), strict=True))


@every("learner")
def test_a_lesson_raises_the_prefix_from_the_bare_prompt(bench: Bench, option: str) -> None:
    house = bench.new_house("learner", option)
    rows = estimated_rows(house)
    rows = dataclasses.replace(rows, advantage=torch.zeros_like(rows.advantage))
    taught = lesson(house)
    before = house.policy.logprob(taught.sequences)[0]  # type: ignore[attr-defined]
    house.learner.update(terms_of(rows, 1 / 3), taught, progress_at(0))
    assert bool((house.policy.logprob(taught.sequences)[0] > before).all())  # type: ignore[attr-defined]


@every("learner")
def test_a_stream_without_a_share_teaches_nothing(bench: Bench, option: str) -> None:
    trained = []
    for advantage in (1.0, -50.0):  # of the replayed rows, whose share is 0
        house = bench.new_house("learner", option)
        rows = estimated_rows(house)
        replayed = torch.tensor([rows.sequences.start_of(i).replayed for i in range(rows.sequences.num_rows)])
        fresh, other = (rows.rows(torch.nonzero(x).flatten()) for x in (~replayed, replayed))
        other = dataclasses.replace(other, advantage=torch.full_like(other.advantage, advantage))
        house.learner.update([(fresh, 1.0), (other, 0.0)], None, progress_at(0))
        trained.append(weights(house))
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


@every("learner")
def test_micro_batches_change_nothing_but_memory(bench: Bench, option: str) -> None:
    trained = []
    for rows in (0, 1, 5):
        house = bench.new_house("learner", option, f"learner.micro_batch_rows={rows}", "policy.backbone.dtype=float64")
        update(house)
        trained.append(weights(house))
    for other in trained[1:]:
        worst = max(float((a - b).abs().max()) for a, b in zip(trained[0], other, strict=True))
        assert worst < 1e-9


@every("learner")
def test_saved_loaded_and_continued_equals_never_stopped(bench: Bench, option: str) -> None:
    house, other = bench.new_house("learner", option), bench.new_house("learner", option)
    update(house)
    other.policy.load_state_dict(bench.through_disk(house.policy.state_dict()))
    other.learner.load_state_dict(bench.through_disk(house.learner.state_dict()))
    for one in (house, other):
        update(one, 1, taught=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(house), weights(other), strict=True))
