"""Filters against false positives, harm and contamination; how filters stand together, and what is logged of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.metrics import check_names
from rrl.protocols import Outcome, Verdict
from rrl.replay.filter.gold_answer import says
from rrl.replay.judge import judge, refusal_metrics
from rrl.types import Problem, Start, Tokens, given
from tests.contract.options import random_classifier
from tests.unit.replay.builders import a_prefix, a_problem, a_replay, an_attempt, fill, option, progress_at

P = a_problem(answer="Twelve apples", max_response=20)
WORDS = ["so", "it", "is", "twelve", "apples", "seven", "pears", "kill", "them", "all", "."]


class Speech:
    """Token i is word i of WORDS, or of ``more``."""

    name, vocab_size, pad = "speech", 40, 0

    def __init__(self, *evaluation: Problem) -> None:
        self._evaluation = list(evaluation)

    def decode(self, tokens: Any) -> str:
        return " ".join(WORDS[t] if t < len(WORDS) else f"w{t}" for t in tokens)

    def train_problems(self) -> list[Problem]:
        return [P]

    def eval_problems(self) -> list[Problem]:
        return self._evaluation


def checked(name: str, tokens: Tokens, attempt: Any = None, task: Any = None, **changed: Any) -> Verdict:
    one = make(option("filter", name) | changed, name, task=task or Speech())
    verdict: Verdict = one.check(a_prefix(P, tokens), attempt or an_attempt(P, (9,)))
    return verdict


# ------------------------------------------------------------------------------------------ second verifier


def test_an_answer_is_said_as_whole_words_whatever_their_case_and_spacing() -> None:
    assert says("It is TWELVE \n apples.", "twelve apples") and says("7", "7")
    assert not says("twelve applesauce", "Twelve apples") and not says("17 or 70", "7")


def test_a_conversion_needs_the_second_verifier_too() -> None:
    right, wrong = (3, 4), (5, 6)
    solved = [an_attempt(P, tokens, prefix=(0, 1), solved=True) for tokens in (right, wrong)]
    assert checked("second_verifier", (0, 1), solved[0]) == ("keep", "")
    assert checked("second_verifier", (0, 1), solved[1]).action == "drop"
    heard = an_attempt(P, (2, *given((3, 4)), 2), prefix=(0, 1), solved=True)
    assert checked("second_verifier", (0, 1), heard).action == "keep"          # what was given is part of the text
    failed = an_attempt(P, wrong, prefix=(0, 1))
    assert checked("second_verifier", (0, 1), failed).action == "keep"         # nothing to doubt
    assert checked("second_verifier", (7, 8), solved[1]).action == "keep"      # not of this attempt


def test_a_conversion_that_only_the_first_scorer_believes_in_is_a_failed_try() -> None:
    replay = a_replay(filters=("second_verifier",), task=Speech())
    fill(replay, [P], [(0, 9)])
    batch = [an_attempt(P, (5, 6), prefix=(0,), solved=True)]
    assert replay.lessons(batch) == []
    metrics = replay.observe(batch, progress_at(0))
    check_names(list(metrics))
    assert metrics["replay/filter_second_verifier"] == 1.0 and metrics["replay/quarantined"] == 1.0
    (row,) = replay.rows()
    assert (row["uses"], row["wins"], row["status"]) == (1, 0, "quarantine") and replay.converted(P) is None
    assert replay.draw(progress_at(1), 8) == []


def test_a_task_without_answers_in_words_needs_another_verifier() -> None:
    class Mute(Speech):
        def train_problems(self) -> list[Problem]:
            return [a_problem("quiet")]

    with pytest.raises(ValueError, match="problem 'quiet' has no answer in words"):
        checked("second_verifier", (0,), task=Mute())


# ------------------------------------------------------------------------------------------ harm


def test_a_prefix_with_enough_listed_words_is_refused() -> None:
    words = {"scorer": {"_target_": "rrl.replay.filter.lexicon.Lexicon", "words": ["kill them", "pears"]}}
    assert checked("harm", (0, 7, 8), **words) == ("drop", "harm 1, at or above 1")
    assert checked("harm", (7, 0, 8), **words).action == "keep"                # the phrase is not said
    assert checked("harm", (7, 8, 6), threshold=2.0, **words).action == "drop"
    assert checked("harm", (6,), threshold=2.0, **words).action == "keep"
    assert checked("harm", (0, *given((7, 8)), 1), action="quarantine", **words).action == "quarantine"


def test_the_prompt_counts_only_where_it_is_read() -> None:
    asked = {"scorer": {"_target_": "rrl.replay.filter.lexicon.Lexicon", "words": ["it is"]}}   # the prompt: 1 2
    assert checked("harm", (0,), **asked).action == "keep"
    assert checked("harm", (0,), reads="state", **asked).action == "drop"


def test_a_state_is_scored_once_however_often_it_is_judged() -> None:
    calls = []

    def scorer(states: Any) -> np.ndarray:
        calls.append(states)
        return np.array([float(len(states[0].context))])

    one = make(option("filter", "harm") | {"threshold": 3.0}, "harm", task=Speech())
    one._scorer = scorer
    said = [one.check(a_prefix(P, tokens), an_attempt(P, (9,))).action for tokens in ((1, 2), (1, 2), (1, 2, 3))]
    assert said == ["keep", "keep", "drop"] and len(calls) == 2
    one._scorer, one._scores = lambda states: np.array([np.nan]), {}
    with pytest.raises(ValueError, match="scorer gave nan"):
        one.check(a_prefix(P, (1,)), an_attempt(P, (9,)))


def test_a_classifier_scores_harm_by_the_log_odds_of_its_label(tmp_path: Path) -> None:
    scorer = option("filter", "harm_classifier")["scorer"] | {
        "model": str(random_classifier(tmp_path / "classifier")), "reads": "ids", "dtype": "float32",
        "good_label": 0, "device": "cpu",
    }
    one = make({"_target_": "rrl.value.classifier.Classifier"} | scorer, "scorer", task=Speech())
    states = [a_prefix(P, (5, 6, 7)), a_prefix(P, (9, 8))]
    alone = [float(one([Start(problem=a_problem(), prefix=())])[0])]
    logits = []
    for prefix in states:
        problem = Problem(id="x", prompt=prefix.tokens, answer="", solution=(), task="", difficulty="", max_response=2,
                          stop=(), exact_length=False)
        logits.append(float(one([Start(problem=problem)])[0]))
    assert len({*alone, *logits}) == 3
    low, high = sorted(logits)
    middle = (low + high) / 2
    said = [checked("harm_classifier", p.tokens, scorer=scorer, threshold=middle).action for p in states]
    assert said == ["quarantine" if logit >= middle else "keep" for logit in logits] and len(set(said)) == 2


# ------------------------------------------------------------------------------------------ contamination


def an_eval(prompt: Tokens, *, answer: str = "", solution: Tokens = ()) -> Problem:
    return Problem(id="held", prompt=prompt, answer=answer, solution=solution, task="", difficulty="", max_response=9,
                   stop=(), exact_length=False)


def test_words_of_an_evaluation_problem_are_refused_wherever_they_stand_in_it() -> None:
    task = Speech(an_eval((20, 21, 22), answer="seven pears .", solution=(30, 31, 32)))
    refused = {"ngram": 3, "task": task}
    assert checked("contamination", (0, 20, 21, 22), **refused) == (
        "drop", "0.50 of its 3-grams stand in an evaluation problem")
    assert checked("contamination", (30, 31, 32), **refused).action == "drop"
    assert checked("contamination", (0, 5, 6, 10), **refused).action == "keep"    # "." is no word: seven pears alone
    assert checked("contamination", (20, 21, 0, 22), **refused).action == "keep"
    assert checked("contamination", (22, 30, 31), **refused).action == "keep"     # no n-gram across two texts
    assert checked("contamination", (20, 21), **refused).action == "keep"         # too short to say three words


def test_a_share_of_overlap_may_be_allowed_and_the_prefixs_own_prompt_is_none() -> None:
    task = Speech(an_eval((1, 2, 20)), an_eval((20, 21)))
    assert checked("contamination", (20, 21, 0, 3), ngram=2, task=task, max_overlap_frac=0.4).action == "keep"
    assert checked("contamination", (20, 21, 0, 3), ngram=2, task=task, max_overlap_frac=0.3).action == "drop"
    assert checked("contamination", (0, 1, 2), ngram=2, task=task).action == "keep"        # "it is" was asked of it


# ------------------------------------------------------------------------------------------ together


class Says:
    """A filter with one opinion, which writes down that it was asked."""

    def __init__(self, action: str, asked: list[str]) -> None:
        self._action, self._asked = action, asked

    def check(self, prefix: Any, attempt: Any) -> Verdict:
        self._asked.append(self._action)
        return Verdict(self._action, "" if self._action == "keep" else self._action)


def test_filters_are_asked_in_their_order_and_the_strictest_verdict_has_a_name() -> None:
    asked: list[str] = []
    rule = lambda *actions: judge(   # noqa: E731
        {f"{i}": Says(action, asked) for i, action in enumerate(actions)}, a_prefix(P, (3,)), an_attempt(P, (9,)))
    assert rule("keep", "quarantine", "quarantine", "drop", "keep") == ("drop", "drop", "3")
    assert asked == ["keep", "quarantine", "quarantine", "drop"]     # nobody is asked behind a drop
    assert rule("keep", "quarantine", "quarantine") == ("quarantine", "quarantine", "1")
    assert rule("keep", "keep") == ("keep", "", "") == rule()
    with pytest.raises(ValueError, match=r"replay.filter.0 said 'burn'"):
        rule("burn")


def test_what_each_filter_refused_is_logged_under_its_name() -> None:
    replay = a_replay(filters=("length", "deny_list", "degenerate_loop"), cut="fixed", task=Speech())
    replay._filters["mine"] = Says("quarantine", [])
    replay._filters["length"] = make(option("filter", "length") | {"min_tokens": 2}, "replay.filter.length")
    replay._filters["deny_list"] = make(
        option("filter", "deny_list") | {"patterns": ["kill"]}, "replay.filter.deny_list", task=Speech())
    attempts = [an_attempt(P, tokens) for tokens in ((0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6, 8), (7, 8, 0, 0, 0, 0, 0, 1))]
    metrics = replay.observe(attempts, progress_at(0))
    check_names(list(metrics))
    assert {name: value for name, value in metrics.items() if "/filter_" in name} == {
        "replay/filter_length": 1.0,           # (0,)
        "replay/filter_deny_list": 1.0,        # (kill, them)
        "replay/filter_degenerate_loop": 0.0, "replay/filter_other": 1.0,   # (0, 1) waits for somebody
    }
    assert metrics["replay/refused_filter"] == 2.0 and metrics["replay/quarantined"] == 1.0


def test_filters_of_other_names_are_counted_together() -> None:
    assert refusal_metrics(["harm", "mine", "yours"], ["yours", "mine", "harm", "mine"]) == {
        "replay/filter_harm": 1.0, "replay/filter_other": 3.0}


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("harm", {"scorer": {"_target_": "rrl.replay.filter.lexicon.Lexicon", "words": []}}, "scorer.words is"),
    ("harm", {"reads": "mind"}, "reads is 'mind'"),
    ("contamination", {"ngram": 0}, "ngram 0"),
    ("contamination", {"max_overlap_frac": 1.0}, "max_overlap_frac 1.0"),
])
def test_impossible_settings_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        checked(name, (0,), **changed)


def test_outcomes_of_a_second_task_serve_as_a_verifier() -> None:
    class Strict:
        def score(self, problem: Problem, response: Tokens) -> Outcome:
            return Outcome(0.0, response[-1] == 4)

    one = make(option("filter", "second_verifier"), "replay.filter", task=Speech())
    one._verifier = Strict()
    said = [one.check(a_prefix(P, (0,)), an_attempt(P, (end,), prefix=(0,), solved=True)).action for end in (4, 6)]
    assert said == ["keep", "drop"]
