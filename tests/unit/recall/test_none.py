"""No recall."""

from rrl.recall.none import NoRecall
from tests.unit.learner.tabular import progress, random_rows, rollouts_of


def test_the_very_same_rollouts_come_back():
    rollouts = rollouts_of(random_rows(2))
    assert NoRecall().recall(rollouts, progress()) is rollouts
