"""What reward models and harm classifiers are trained by, on plain numbers."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """- mean log sigmoid(r_chosen - r_rejected): P(chosen beats rejected) of Bradley and Terry (1952).

    Ouyang et al., 2203.02155, eq. 1, for pairs. Equal scores cost log 2 = .693; a lead of 1 costs .313.

    Args:
      chosen, rejected: scores of the two responses to one prompt.
    """
    return -logsigmoid(chosen - rejected).mean()


def logistic_loss(score: Float[Tensor, "B"], positive: Bool[Tensor, "B"]) -> Float[Tensor, ""]:
    """- mean log P(label) with P(positive) = sigmoid(score): the score is the log-odds of being positive.

    Args:
      score: log-odds.  positive: the labels.
    """
    return -logsigmoid(score.where(positive, -score)).mean()
