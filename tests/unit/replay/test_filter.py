from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rrl.build import make
from rrl.protocols import Outcome
from rrl.replay.filter.answer_leak import AnswerLeak
from tests.unit.replay.builders import a_prefix, a_problem, a_replay, an_attempt, fill, option, progress_at, stored
from tests.unit.task.text import question, text_task

P = a_problem(answer="Twelve apples")
TEXT = {3: "so ", 4: "TWELVE ", 5: " apples", 6: "twelve applesauce"}


class Task:
    """Solved where the response ends with 9; text as in TEXT."""

    name, vocab_size = "text", 10

    def score(self, problem: Any, response: tuple[int, ...]) -> Outcome:
        return Outcome(1.0, True) if response[-1] == 9 else Outcome(0.0, False)

    def decode(self, tokens: Any) -> str:
        return "".join(TEXT.get(t, "?") for t in tokens)


def verdict(
    name: str, tokens: tuple[int, ...], *, origin: str = "rollout", depth_frac: float = 0.5, **changed: Any
) -> Any:
    one = make(option("filter", name) | changed, name, task=Task())
    return one.check(a_prefix(P, tokens, origin=origin, depth_frac=depth_frac), an_attempt(P, (8,)))


def test_length_keeps_prefixes_inside_its_bounds_with_enough_behind_the_cut() -> None:
    bounds = {"min_tokens": 2, "max_tokens": 3, "min_tail": 2}
    assert verdict("length", (3,), depth_frac=1 / 8, **bounds) == ("drop", "1 tokens, outside [2, 3]")
    assert verdict("length", (3, 4), depth_frac=2 / 4, **bounds).action == "keep"          # two behind it
    assert verdict("length", (3, 4, 5), depth_frac=3 / 4, **bounds) == ("drop", "1 tokens behind the cut, fewer than 2")
    assert verdict("length", (3, 4, 5, 6), depth_frac=4 / 8, **bounds).action == "drop"


def test_length_judges_a_stored_state_by_the_response_it_was_cut_from() -> None:
    replay = a_replay()
    replay._filters["length"] = make(option("filter", "length") | {"min_tail": 3}, "replay.filter.length")
    fill(replay, [P], [(3, 7, 7, 7)])
    replay.observe([an_attempt(P, (8,), prefix=(3,), solved=True)], progress_at(0))   # one token sufficed this time
    assert replay.rows()[0]["status"] == "open"


def test_answer_leak_drops_a_prefix_that_the_scorer_accepts() -> None:
    assert verdict("answer_leak", (3, 9)) == ("drop", "the prefix alone is scored as solved")
    assert verdict("answer_leak", (9, 3)).action == "keep"


def test_answer_leak_drops_a_prefix_that_only_a_stop_token_keeps_from_being_an_answer(tmp_path: Path) -> None:
    task = text_task(tmp_path, [question("2+2?", 4)], [question("1+1?", 2)])
    asked = task.train_problems()[0]

    def action(text: str) -> str:
        prefix = a_prefix(asked, task.encode(text), origin="rollout", depth_frac=0.5)
        return str(AnswerLeak(task=task).check(prefix, an_attempt(asked, task.encode(text))).action)

    assert action("so\n#### 4") == "drop" and action("so\n#### 5") == "keep" and action("so it is 4") == "keep"


def test_answer_leak_drops_a_prefix_on_which_its_scorer_fails_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Strict(Task):
        def score(self, problem: Any, response: tuple[int, ...]) -> Outcome:
            raise KeyError("answer")

    leak, attempt = AnswerLeak(task=Strict()), an_attempt(P, (8,))  # type: ignore[arg-type]
    for _ in range(2):
        said = leak.check(a_prefix(P, (9, 3), origin="rollout", depth_frac=0.5), attempt)
        assert said == ("drop", "scoring the prefix alone fails: KeyError")
    (line,) = caplog.messages
    assert "failed (KeyError: 'answer'); it is dropped" in line


def test_answer_leak_drops_a_canonical_prefix_that_states_the_answer_as_whole_words() -> None:
    assert verdict("answer_leak", (3, 4, 5), origin="canonical") == ("drop", "the canonical prefix states the answer")
    assert verdict("answer_leak", (3, 4, 5)).action == "keep"                       # a model's own words
    assert verdict("answer_leak", (6,), origin="canonical").action == "keep"         # applesauce is no apples


def test_no_admitted_prefix_scores_as_a_response() -> None:
    replay = a_replay(filters=("length", "answer_leak"), store={"dedup": "exact"}, task=Task())
    metrics = replay.observe([an_attempt(P, (9, 3)), an_attempt(P, (3, 9)), an_attempt(P, (4, 9))], progress_at(0))
    assert stored(replay.store) == [[3], [4]] and metrics["replay/refused_filter"] == 1.0
    assert not any(Task().score(P, tuple(tokens)).solved for tokens in stored(replay.store))


def test_impossible_bounds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="replay.filter.length has min_tokens 5, max_tokens 3"):
        verdict("length", (3,), min_tokens=5, max_tokens=3)
