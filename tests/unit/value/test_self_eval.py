"""The policy asked whether it is right: log-odds by hand, and where the question goes."""

import numpy as np
import pytest
import torch

from rrl.types import Start, given
from rrl.value.self_eval import SelfEval
from tests.unit.learner.tabular import SoloRanks, TabularPolicy, problem, progress, scored_of
from tests.unit.value.test_steps import After

BARE = Start(problem=problem("a"))


class Words:
    """Five letters."""

    name, score_range, pad = "letters", (0.0, 1.0), 0

    class codec:
        fingerprint = "letters"

    def encode(self, text):
        return tuple("abcde".index(letter) for letter in text)


class Watched(TabularPolicy):
    """Log-probs by (last token of the context, place) as its table says; remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def logprob(self, sequences):
        self.asked.append(sequences)
        return super().logprob(sequences)


def self_eval(policy=None, task=None, question="ab", affirm="c", deny="d", **changed):
    given_ = {"lam": 0.0, "window": 10, "cut": After(0)} | changed
    return SelfEval(policy=policy or Watched(), task=task or Words(), ranks=SoloRanks(), question=question,
                    affirm=affirm, deny=deny, **given_)


def test_the_score_is_how_much_rather_the_policy_says_yes_behind_state_and_question():
    policy = Watched()
    value = self_eval(policy)
    mean, std = value.success([BARE, Start(problem=problem("a"), prefix=(3, 0))])
    # The context ends with "b" = 1; the tabular policy counts places from the prefix's length: 2 and 4.
    table = torch.log_softmax(policy.logits.detach(), -1)
    odds = [float(table[1, place, 2] - table[1, place, 3]) for place in (2, 4)]
    assert mean == pytest.approx(1 / (1 + np.exp(-np.array(odds))), rel=1e-6) and std.tolist() == [0.0, 0.0]


def test_answers_of_several_tokens_are_summed():
    policy = Watched()
    mean = self_eval(policy, affirm="ce", deny="d").success([BARE])[0]
    table = torch.log_softmax(policy.logits.detach(), -1)
    odds = float(table[1, 2, 2] + table[2, 3, 4] - table[1, 2, 3])
    assert mean == pytest.approx([1 / (1 + np.exp(-odds))], rel=1e-6)


def test_the_question_is_given_not_said_and_only_in_these_look_ups():
    policy = Watched()
    value = self_eval(policy)
    full = Start(problem=problem("a", max_response=3), prefix=(3, 4))  # room for one token: the question needs none
    scored = scored_of([(BARE, (3, 0, 1)), (full, (1,))], [1.0, 0.0])
    estimated = value.estimate(scored)
    assert estimated.scored is scored and estimated.sequences.starts == (BARE, full)
    (asked,) = policy.asked
    assert [s.prefix for s in asked.starts[::2]] == [given((0, 1)), (3, 0) + given((0, 1)), (3, 4) + given((0, 1))]
    assert asked.actions.tolist() == [2, 3] * 3
    value.fit(estimated, progress())
    assert len(policy.asked) == 1  # what was said at the time counts, not what the policy has learned since
    assert value.spent_tokens == 0
    assert all(p.grad is None for p in policy.parameters())


def test_a_task_without_words_is_refused_by_name():
    class Symbols:
        name, score_range = "keychain", (0.0, 1.0)

    with pytest.raises(ValueError, match=r"value=self_eval asks in words, and task 'keychain' has none"):
        self_eval(task=Symbols())


@pytest.mark.parametrize(("changed", "said"), [
    ({"question": ""}, "value.question is ''; expected a text"),
    ({"deny": "c"}, "value.affirm and value.deny are both 'c'"),
    ({"lam": -1.0}, "value.lam is -1.0"),
    ({"window": 0}, "value.window is 0"),
])  # fmt: skip
def test_impossible_arguments_are_refused_by_their_key(changed, said):
    with pytest.raises(ValueError, match=said):
        self_eval(**changed)
