"""A search goes on where it stopped: no trial is lost, none is asked twice, and its draws do not depend on the stop."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rrl.search.results import print_results, ranked, short_names, write_results
from rrl.search.space import Axis, Space
from rrl.search.trials import Trials, measured, open_study
from rrl.sweep import record
from rrl.sweep.jobs import Job
from rrl.sweep.run import drive
from tests.unit.sweep.fakes import view_of

SPACE = Space("quick", "eval/hard_success", "maximize", 4, 0, "-", ("experiment=rrl", "tracker=[jsonl]"), (
    Axis("learner.lr", "log_uniform", (1e-4, 1e-2)), Axis("replay/selection", "choice", ("thompson", "gap")),
))  # fmt: skip


class Ended:
    """A run that has ended."""

    place = ""

    def poll(self) -> int | None:
        return 0

    def stop(self, number: signal.Signals) -> None:
        return None


class Told:
    """A pool whose jobs end at once: hard success is 100 x lr, which is best at the upper end. statuses: by trial."""

    size = 1

    def __init__(self, **statuses: str) -> None:
        self.statuses, self.run = statuses, list[Job]()

    def has_room(self) -> bool:
        return True

    def start(self, job: Job) -> Ended:
        self.run.append(job)
        status, value = self.statuses.get(job.folder.name, "finished"), 100.0 * float(job.cfg.learner.lr)
        job.folder.mkdir(parents=True, exist_ok=True)
        record.begin(job.folder, record.fingerprint(job.cfg), None)
        record.end(job.folder, {"status": status, "value": value, "error": "planned", "traceback": None})
        summary = {"status": status, "final": {"eval/hard_success": value}}
        (job.folder / "summary.json").write_text(json.dumps(summary))
        return Ended()


def searched(folder: Path, num_trials: int, pool: Told) -> Any:
    study = open_study(SPACE, folder, [])
    trials = Trials(SPACE, study, folder, [], num_trials)
    drive(trials, pool, view_of([])[0])
    return study


def overrides(study: Any) -> list[list[str]]:
    return [trial.user_attrs["overrides"] for trial in study.trials]


def test_two_trials_and_two_more_are_the_four_of_an_unbroken_search(tmp_path: Path) -> None:
    searched(tmp_path / "a", 2, Told())
    more = Told()
    resumed = searched(tmp_path / "a", 4, more)
    whole = searched(tmp_path / "b", 4, Told())
    assert [job.folder.name for job in more.run] == ["trial_0002", "trial_0003"]
    assert overrides(resumed) == overrides(whole) and len(overrides(whole)) == 4
    assert len({tuple(given) for given in overrides(whole)}) == 4
    for trial in whole.trials:
        lr = float(trial.user_attrs["overrides"][0].removeprefix("learner.lr="))
        assert trial.value == pytest.approx(100 * lr) and 1e-4 <= lr <= 1e-2
    none = Told()
    searched(tmp_path / "a", 4, none)
    assert none.run == []


def test_a_stopped_trial_goes_on_in_its_folder_and_a_failed_one_is_not_tried_again(tmp_path: Path) -> None:
    study = searched(tmp_path, 3, Told(trial_0000="failed", trial_0001="interrupted"))
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "COMPLETE"]
    again = Told()
    study = searched(tmp_path, 3, again)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    (job,) = again.run
    assert job.folder.name == "trial_0001" and job.overrides[-2:] == tuple(study.trials[1].user_attrs["overrides"])


def test_a_study_of_another_search_is_refused_by_what_differs(tmp_path: Path) -> None:
    open_study(SPACE, tmp_path, [])
    open_study(SPACE, tmp_path, [])
    with pytest.raises(ValueError, match=r"holds a search with overrides = .*, now .*seed=3.*--folder <a new folder>"):
        open_study(SPACE, tmp_path, ["seed=3"])
    with pytest.raises(ValueError, match="holds a search with space = "):
        open_study(SPACE._replace(axes=SPACE.axes[:1]), tmp_path, [])


def test_only_a_finished_run_with_a_number_has_a_value(tmp_path: Path) -> None:
    assert measured(tmp_path, "a") is None
    for summary, value in (
        ({"status": "finished", "final": {"a": 0.5}}, 0.5), ({"status": "interrupted", "final": {"a": 0.5}}, None),
        ({"status": "finished", "final": {}}, None), ({"status": "finished", "final": {"a": float("nan")}}, None),
    ):  # fmt: skip
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        assert measured(tmp_path, "a") == value


def test_the_results_are_best_first_with_the_command_of_the_best(tmp_path: Path) -> None:
    study = searched(tmp_path, 3, Told(trial_0002="failed"))
    first, second = ranked(study)
    assert first.value > second.value
    out = io.StringIO()
    print_results(study, SPACE, ["seed=3"], Console(file=out, width=120))
    text = out.getvalue()
    assert "quick: 2 finished, 1 failed" in text and "lr" in text and "selection" in text
    assert text.splitlines()[-1] == "best: rrl-train experiment=rrl tracker=[jsonl] seed=3 " + " ".join(
        first.user_attrs["overrides"]
    )
    write_results(study, tmp_path / "trials.csv")
    rows = (tmp_path / "trials.csv").read_text().splitlines()
    assert rows[0] == "trial,state,value,overrides" and rows[3].startswith("2,failed,,learner.lr=")


def test_short_names_are_last_parts_unless_two_are_alike() -> None:
    assert short_names(["a.lr", "b.eta", "c.eta", "replay/selection"]) == ["lr", "b.eta", "c.eta", "selection"]
