"""Further filters, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rrl.build import make
from tests.unit.replay.builders import a_prefix, a_problem, an_attempt, option

P = a_problem(max_response=40)


class Task:
    def decode(self, tokens: Any) -> str:
        return "".join({1: "As an AI", 2: " model", 3: "has an air"}.get(t, "?") for t in tokens)


def check(name: str, tokens: tuple[int, ...], **changed: Any) -> Any:
    run = changed.pop("run", Path("no run"))
    one = make(option("filter", name) | changed, f"replay.filter.{name}", task=Task(), output_dir=run)
    return one.check(a_prefix(P, tokens), an_attempt(P, (8,)))


def test_degenerate_loop_drops_what_repeats_more_than_its_share() -> None:
    bigrams = {"ngram": 2, "min_tokens": 2}   # 56 65 56 65: two of four are new
    assert check("degenerate_loop", (5, 6, 5, 6, 5), **bigrams, max_repeat_frac=0.5).action == "keep"
    assert check("degenerate_loop", (5, 6, 5, 6, 5), **bigrams, max_repeat_frac=0.49) == (
        "drop", "0.50 of its 2-grams repeat",
    )
    assert check("degenerate_loop", (5,) * 16).action == "drop"      # 1 - 1 / 13
    assert check("degenerate_loop", (5,) * 15).action == "keep"      # too short to say
    assert check("degenerate_loop", tuple(range(16))).action == "keep"


def test_deny_list_takes_its_action_where_a_pattern_is_found() -> None:
    assert check("deny_list", (1, 2)) == ("drop", r"the text matches '(?i)\\bas an ai\\b'")
    assert check("deny_list", (3, 2)).action == "keep"
    assert check("deny_list", (3, 2), patterns=["air.*model"], action="quarantine").action == "quarantine"


def test_review_keeps_drops_or_waits_by_the_last_decision(tmp_path: Path) -> None:
    rows = [((1,), "rejected"), ((2,), "rejected"), ((2,), "approved"), ((4,), "flagged")]
    lines = [json.dumps({"key": a_prefix(P, tokens).key, "decision": decision}) for tokens, decision in rows]
    path = tmp_path / "decisions.jsonl"
    path.write_text("\n".join([*lines, ""]))
    for undecided in ("keep", "quarantine"):
        said = [check("review", t, decisions=str(path), undecided=undecided).action for t in ((1,), (2,), (3,))]
        assert said == ["drop", "keep", undecided]
        waiting = check("review", (4,), decisions=str(path), undecided=undecided)
        assert waiting == ("quarantine", "flagged in review")
    assert check("review", (1,)) == ("keep", "")   # no file: nothing is decided
    path.rename(tmp_path / "review.jsonl")
    assert check("review", (1,), run=tmp_path).action == "drop"   # in the run's own folder it needs no name


def test_review_refuses_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with pytest.raises(ValueError, match=r"replay.filter.review.decisions is .*; expected a file"):
        check("review", (1,), decisions=str(path))
    path.write_text('{"key": "00"}\n')
    with pytest.raises(ValueError, match="line 1: expected JSON with key and decision"):
        check("review", (1,), decisions=str(path))
    path.write_text('{"key": "00", "decision": "approved"}\n')
    with pytest.raises(ValueError, match="key is '00'; expected 16 hex digits"):
        check("review", (1,), decisions=str(path))
    path.write_text('{"key": "00112233445566ff", "decision": "maybe"}\n')
    with pytest.raises(ValueError, match="decision is 'maybe'; expected approved, flagged, rejected"):
        check("review", (1,), decisions=str(path))


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("degenerate_loop", {"ngram": 0}, "replay.filter.degenerate_loop has ngram 0"),
    ("degenerate_loop", {"max_repeat_frac": 1.0}, "max_repeat_frac 1.0"),
    ("deny_list", {"patterns": []}, "replay.filter.deny_list.patterns is empty"),
    ("deny_list", {"patterns": ["("]}, r"replay.filter.deny_list.patterns holds '\('"),
    ("deny_list", {"action": "keep"}, "replay.filter.deny_list.action is 'keep'"),
    ("review", {"undecided": "drop"}, "replay.filter.review.undecided is 'drop'"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check(name, (1,), **changed)
