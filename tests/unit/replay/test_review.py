"""People decide late: what was stored is judged again when their decisions change."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.protocols import Verdict
from rrl.replay.replay import Replay
from rrl.types import Start, Tokens
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, fill, option, progress_at, same

P = a_problem(max_response=20)
STAMP = iter(range(10**18, 2 * 10**18, 10**9))   # a file written twice within a clock tick is still another file


def decide(folder: Path, **decisions: str) -> None:
    """Decisions on the one-token prefixes t3, t4, ..."""
    lines = [json.dumps({"key": Start(problem=P, prefix=(int(name[1:]),)).key, "decision": decision})
             for name, decision in decisions.items()]
    path = folder / "review.jsonl"
    path.write_text("\n".join(lines) + "\n")
    stamp = next(STAMP)
    os.utime(path, ns=(stamp, stamp))


def success(starts: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(starts), 0.5), np.zeros(len(starts))


def statuses(replay: Replay) -> dict[Tokens, str]:
    return {tuple(row["tokens"]): row["status"] for row in replay.rows()}


def reviewed(folder: Path, undecided: str = "keep", **rest: Any) -> Replay:
    replay = a_replay(filters=("review",), output_dir=folder, rescore_every=1, **rest)
    node = option("filter", "review") | {"undecided": undecided}
    replay._filters["review"] = make(node, "replay.filter.review", output_dir=folder)
    return replay


def test_what_waits_is_kept_once_it_is_approved_and_what_was_kept_is_put_away_once_it_is_rejected(
    tmp_path: Path,
) -> None:
    replay = reviewed(tmp_path, "quarantine")
    decide(tmp_path, t5="approved")
    replay.observe([], progress_at(-1))
    fill(replay, [P], [(3, 9), (4, 9), (5, 9)])
    assert statuses(replay) == {(3,): "quarantine", (4,): "quarantine", (5,): "open"}
    decide(tmp_path, t3="approved", t4="rejected", t5="rejected")
    assert statuses(replay)[(3,)] == "quarantine"                       # nobody has looked yet
    replay.observe([], progress_at(0))
    assert statuses(replay) == {(3,): "open", (4,): "quarantine", (5,): "quarantine"}
    assert {s.prefix for s in replay.draw(progress_at(1), 32)} == {(3,)}
    decide(tmp_path, t3="approved", t4="rejected", t5="approved")       # a mind was changed
    replay.observe([], progress_at(1))
    assert statuses(replay)[(5,)] == "open"


def test_an_approval_ends_what_another_filter_asked_for_and_a_drop_stays_a_drop(tmp_path: Path) -> None:
    replay = reviewed(tmp_path)
    decide(tmp_path, t3="approved", t4="approved")
    replay.observe([], progress_at(-1))

    class Doubts:
        def check(self, prefix: Any, attempt: Any) -> Any:
            return Verdict({3: "quarantine", 4: "drop", 5: "quarantine"}[prefix.tokens[0]], "?")

    replay._filters = {"doubts": Doubts(), **replay._filters}
    fill(replay, [P], [(3, 9), (4, 9), (5, 9)])
    assert statuses(replay) == {(3,): "open", (5,): "quarantine"}


def test_an_old_approval_does_not_bring_back_what_a_filter_has_refused_since_also_after_a_reload(
    tmp_path: Path,
) -> None:
    class Converted:
        def check(self, prefix: Any, attempt: Any) -> Verdict:
            return Verdict("drop", "false") if attempt.solved else Verdict("keep", "")

    replay, loaded = reviewed(tmp_path), reviewed(tmp_path)
    decide(tmp_path, t3="approved")
    replay.observe([], progress_at(-1))
    fill(replay, [P], [(3, 9)])
    replay._filters["converted"] = Converted()
    replay.observe([an_attempt(P, (4, 5), prefix=(3,), solved=True)], progress_at(0))
    assert statuses(replay) == {(3,): "quarantine"}
    loaded.load_state_dict(replay.state_dict())
    for one in (replay, loaded):
        one.observe([], progress_at(1))
        assert statuses(one) == {(3,): "quarantine"}
    assert same(replay.state_dict(), loaded.state_dict())


def test_a_file_that_breaks_while_the_run_goes_on_is_said_and_what_was_known_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replay = reviewed(tmp_path)
    fill(replay, [P], [(3, 9), (4, 9)])
    decide(tmp_path, t3="rejected")
    replay.observe([], progress_at(0))
    (tmp_path / "review.jsonl").write_text("half a li")
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            replay.observe([], progress_at(step))
    assert len(caplog.records) == 1 and "line 1: expected JSON" in caplog.text
    assert statuses(replay) == {(3,): "quarantine", (4,): "open"}
    assert replay.observe([an_attempt(P, (3, 8))], progress_at(3))["replay/refused_duplicate"] == 1.0


def test_lines_that_are_no_decision_are_named_in_one_warning_and_all_others_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replay = reviewed(tmp_path)
    fill(replay, [P], [(3, 9), (4, 9), (5, 9)])
    decide(tmp_path, t3="rejected")
    replay.observe([], progress_at(0))
    decide(tmp_path, t4="flagged", t5="perhaps")     # t3's line is gone, as in a file that is half written
    with (tmp_path / "review.jsonl").open("a") as file:
        file.write('{"key": "00112233')
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            replay.observe([], progress_at(step))
    (warning,) = caplog.messages
    assert "line 2: decision is 'perhaps'; expected approved, flagged, rejected" in warning
    assert """line 3: expected JSON with key and decision, got '{"key": "00112233'""" in warning
    assert warning.endswith("Passed over; 2 decisions hold")
    assert statuses(replay) == {(3,): "quarantine", (4,): "quarantine", (5,): "open"}
    decide(tmp_path, t4="approved")                  # mended: what it says now is all there is
    replay.observe([], progress_at(4))
    assert statuses(replay) == {(3,): "quarantine", (4,): "open", (5,): "open"} and len(caplog.messages) == 1


def test_a_run_that_is_resumed_has_heard_what_was_decided_meanwhile_before_its_first_draw(tmp_path: Path) -> None:
    replay = reviewed(tmp_path)
    fill(replay, [P], [(3, 9), (4, 9)])
    state = replay.state_dict()
    decide(tmp_path, t3="rejected")
    resumed = reviewed(tmp_path)
    resumed.load_state_dict(state)
    assert {s.prefix for s in resumed.draw(progress_at(1), 32)} == {(4,)}
    assert {s.prefix for s in replay.draw(progress_at(1), 32)} == {(3,), (4,)}   # has not read it: draws are pure
    replay.observe([], progress_at(1))
    assert {s.prefix for s in replay.draw(progress_at(2), 32)} == {(4,)}


def test_of_two_filters_that_ask_people_the_stricter_decision_counts(tmp_path: Path) -> None:
    replay, (one, other) = reviewed(tmp_path / "a"), (tmp_path / "a", tmp_path / "b")
    for folder in (one, other):
        folder.mkdir()
    node = option("filter", "review") | {"undecided": "keep"}
    replay._filters["other"] = make(node, "replay.filter.other", output_dir=other)
    fill(replay, [P], [(3, 9), (4, 9), (5, 9)])
    decide(one, t3="approved", t4="flagged", t5="approved")
    decide(other, t3="rejected", t4="approved")
    replay.observe([], progress_at(0))
    assert statuses(replay) == {(3,): "quarantine", (4,): "quarantine", (5,): "open"}
