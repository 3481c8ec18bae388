"""The loss of imitating solved rows: weights by hand, a gradient by hand, mini-batches and ranks."""

import pytest
import torch

from rrl.ops.imitation import solved_weights
from rrl.types import Start
from tests.unit.learner.tabular import SoloRanks, TabularPolicy, ThreadRanks, estimated_of, problem, progress
from tests.unit.learner.test_learner import gradient, learner_of, random_estimated

START = Start(problem=problem())


def term(*scores, lengths):
    return estimated_of([(START, (1,) * n) for n in lengths], None, scores=list(scores))


def test_weights_are_shared_by_the_solved_tokens_of_each_stream():
    fresh, replayed = term(1.0, 0.0, 1.0, lengths=(2, 3, 2)), term(0.0, 0.0, lengths=(1, 2))
    found = solved_weights([(fresh, 0.75), (replayed, 0.25)], 0.1, SoloRanks())
    assert found[0].tolist() == pytest.approx([0.75 * 0.1 / 4] * 2 + [0.0] * 3 + [0.75 * 0.1 / 4] * 2)
    assert found[1].tolist() == [0.0] * 3  # nothing solved there, and no division by 0


def test_one_solved_token_by_hand():
    # A = 0: the objective is silent. loss = -.1 log p(3), d/dlogits = -.1 (onehot - p).
    policy = TabularPolicy()
    rows = estimated_of([(START, (3,)), (START, (4,))], [0.0, 0.0], policy, scores=[1.0, 0.0])
    p = policy.logits.detach()[0, 0].softmax(0)
    want = -0.1 * (torch.nn.functional.one_hot(torch.tensor(3), 5) - p)
    torch.testing.assert_close(gradient(policy, [(rows, 1.0)], solved_coef=0.1)[0, 0], want)


def test_mini_batches_and_ranks_add_up_to_the_whole():
    def moved(num, ranks=None, rows=None):
        policy = TabularPolicy()
        whole = random_estimated(8, policy=policy)
        whole = whole if rows is None else whole.rows(torch.tensor(rows))
        learner = learner_of(policy, ranks, solved_coef=0.5, epochs=1, minibatches=num, grad_norm=float("inf"))
        metrics = learner.update([(whole, 1.0)], None, progress())
        return policy.logits.detach(), metrics["learn/solved_loss"]

    alone, loss = moved(1)
    for together, half_loss in ThreadRanks.together([
        lambda ranks: moved(1, ranks, [0, 1, 2, 3]), lambda ranks: moved(1, ranks, [4, 5, 6, 7]),
    ]):
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
        assert half_loss == pytest.approx(loss)
    # At weights that stand still, two mini-batches' losses average to the whole batch's.
    policy = TabularPolicy()
    whole = [(random_estimated(8, policy=policy), 1.0)]
    losses = [
        learner_of(TabularPolicy(), solved_coef=0.5, lr=0.0, epochs=1, minibatches=num)
        .update(whole, None, progress())["learn/solved_loss"] for num in (1, 2)
    ]
    assert losses[1] == pytest.approx(losses[0])


def test_off_it_leaves_no_trace():
    policy = TabularPolicy()
    metrics = learner_of(policy).update([(random_estimated(4, policy=policy), 1.0)], None, progress())
    assert "learn/solved_loss" not in metrics and "learn/truncated_frac" not in metrics


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"learner.solved_coef is -0.1; expected >= 0"):
        learner_of(TabularPolicy(), solved_coef=-0.1)
