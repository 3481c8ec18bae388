import logging
import math
from pathlib import Path

import pytest

from rrl.metrics import CATALOGUE
from rrl.records import Progress
from rrl.tracker.all import Trackers


def progress(step: int, tokens: int = 0) -> Progress:
    return Progress(step=step, sampled_tokens=tokens, token_budget=100, history=(), first=None, peak=None)


class Memory:
    """A backend that keeps what it is given; ``broken`` raises instead."""

    def __init__(self, broken: bool = False) -> None:
        self.calls: list = []
        self.broken = broken

    def _note(self, *call) -> None:
        self.calls.append(call)
        if self.broken:
            raise OSError("disk full")

    def log(self, progress, metrics):
        self._note("log", progress.step, metrics)

    def table(self, name, rows):
        self._note("table", name, list(rows))

    def artifact(self, path, kind):
        self._note("artifact", path, kind)

    def close(self, status):
        self._note("close", status)


def test_a_name_that_is_not_in_the_catalogue_raises_before_any_backend_sees_it():
    memory = Memory()
    with pytest.raises(ValueError, match="rollout/typo"):
        Trackers({"memory": memory}).log(progress(1), {"rollout/typo": 1.0})
    assert memory.calls == []


def test_a_broken_backend_is_logged_once_with_its_cause_and_the_others_go_on(caplog, tmp_path):
    good, bad = Memory(), Memory(broken=True)
    trackers = Trackers({"bad": bad, "good": good})
    for step in range(3):
        trackers.log(progress(step), {"learn/loss": 1.0})
    trackers.table("prefixes", [{"a": 1}])
    trackers.artifact(tmp_path, "checkpoint")
    warnings = [r.getMessage() for r in caplog.records]
    assert warnings == ["tracker bad: log failed, training goes on (said once): OSError: disk full"]
    assert len(good.calls) == len(bad.calls) == 5
    trackers.close("finished")
    assert "failed 6 times" in caplog.text


def test_nan_and_infinity_are_dropped_with_one_warning_a_name(caplog):
    memory = Memory()
    trackers = Trackers({"memory": memory})
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            trackers.log(progress(step), {"learn/loss": math.nan, "learn/lr": 0.1, "learn/grad_norm": math.inf})
    assert [c[2] for c in memory.calls] == [{"learn/lr": 0.1}] * 2
    assert sorted(r.getMessage().split(" at ")[0] for r in caplog.records) == [
        "metric learn/grad_norm is inf",
        "metric learn/loss is nan",
    ]


def test_closing_twice_closes_once():
    memory = Memory()
    trackers = Trackers({"memory": memory})
    trackers.close("finished")
    trackers.close("failed")
    assert memory.calls == [("close", "finished")]


def test_a_backend_without_memory_needs_no_resume():
    Trackers({"memory": Memory()}).resume_at(progress(5))


def test_no_metric_is_renamed_or_dropped_in_passing():
    # Saved plots, reports and other people's scripts know metrics by name. A new name gets its line in the file; a
    # change of an old one is a line in the changelog besides.
    known = (Path(__file__).parent / "catalogue.txt").read_text().split()
    assert sorted(set(known) - CATALOGUE.keys()) == [], "these are gone from rrl.metrics.CATALOGUE"
    assert sorted(CATALOGUE.keys() - set(known)) == [], "these are not in tests/unit/tracker/catalogue.txt yet"


def test_rollouts_go_to_the_backends_that_show_them_and_artifacts_are_made_only_where_one_wants_them():
    class Showing(Memory):
        def rollouts(self, progress, attempts):
            self._note("rollouts", progress.step, attempts)

        def wants(self, kind):
            return kind == "store"

    showing, other = Showing(), Memory()
    trackers = Trackers({"other": other, "showing": showing})
    trackers.rollouts(progress(3), [])
    assert (showing.calls, other.calls) == ([("rollouts", 3, [])], [])
    assert (trackers.wants("store"), trackers.wants("checkpoint")) == (True, False)
    assert not Trackers({"other": other}).wants("store")
