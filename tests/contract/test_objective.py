"""Laws of ``Objective``: it raises what was good, its derivatives are right, and chunks add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rrl.protocols import Objective
from rrl.types import Estimated, Problem, Rollouts, Scored, Start, sequences_of
from tests.contract.bench import Bench
from tests.contract.options import options

# Settings whose branches the defaults do not reach.
VARIANTS = {
    "ppo_clip": [
        ("objective.entropy_coef=0.1",), ("objective.aggregation=sequence_mean",), ("objective.dual_clip=3.0",),
    ],
}  # fmt: skip
CASES = [(option, changes) for option in options("objective") for changes in [(), *VARIANTS.get(option, [])]]
every_case = pytest.mark.parametrize(("option", "changes"), CASES, ids=[" ".join([o, *c]) for o, c in CASES])


def estimated_rows(lengths: list[int], advantage: torch.Tensor, behavior_logprob: torch.Tensor) -> Estimated:
    problem = Problem(
        id="p", prompt=(1,), answer="", solution=(), task="toy", difficulty="hard", max_response=9, stop=(),
        exact_length=False,
    )  # fmt: skip
    sequences = sequences_of([(Start(problem=problem), (2,) * n) for n in lengths])
    nothing = torch.zeros(len(sequences.actions))
    rows = torch.zeros(len(lengths))
    rollouts = Rollouts(
        sequences=sequences, behavior_logprob=behavior_logprob, behavior_entropy=nothing, ended=rows == 0
    )
    scored = Scored(rollouts=rollouts, score=rows, solved=rows == 1, reward=nothing)
    return Estimated(scored=scored, value=nothing, success=nothing, advantage=advantage, target_return=nothing)


def random_case(seed: int) -> tuple[Estimated, torch.Tensor, torch.Tensor]:
    """Rows of 3, 1 and 4 tokens whose ratios lie on both sides of any clip range; (rows, log-probs, entropies)."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(8, generator=generator) * 3
    advantage = torch.randn(8, generator=generator)
    logprob = (old + torch.randn(8, generator=generator)).double()
    return estimated_rows([3, 1, 4], advantage, old), logprob, torch.rand(8, generator=generator).double()


def bound(objective: Objective, rows: Estimated, share: float = 1.0) -> Any:
    return objective.bind(rows, share, len(rows.advantage), rows.sequences.num_rows)


@every_case
def test_a_good_token_is_raised_and_a_bad_one_lowered(bench: Bench, option: str, changes: tuple[str, ...]) -> None:
    objective = bench.make("objective", option, *changes)
    old = torch.tensor([-1.0, -1.0])
    rows = estimated_rows([1, 1], torch.tensor([1.0, -1.0]), old)
    _, by_logprob, by_entropy = bound(objective, rows)(old, torch.zeros(2), torch.arange(2))
    assert float(by_logprob[0]) < 0.0 < float(by_logprob[1])  # the loss falls where the good token's log-prob rises
    assert float(by_entropy.max()) <= 0.0  # entropy is never punished
    flat = estimated_rows([1, 1], torch.zeros(2), old)
    assert not bound(objective, flat)(old, torch.zeros(2), torch.arange(2))[1].any()  # no advantage, no push


@every_case
@pytest.mark.parametrize("seed", range(5))
def test_derivatives_equal_autograd_in_float64(bench: Bench, option: str, changes: tuple[str, ...], seed: int) -> None:
    rows, logprob, entropy = random_case(seed)
    token_loss = bound(bench.make("objective", option, *changes), rows, share=0.7)
    lp, h = logprob.clone().requires_grad_(True), entropy.clone().requires_grad_(True)
    loss, by_logprob, by_entropy = token_loss(lp, h, torch.arange(8))
    expected = torch.autograd.grad(loss, [lp, h], allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(by_logprob.detach(), expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_entropy.detach(), expected[1], rtol=1e-12, atol=1e-12)
    assert loss.dtype == by_logprob.dtype == torch.float64


@every_case
def test_chunks_add_up_to_the_whole(bench: Bench, option: str, changes: tuple[str, ...]) -> None:
    rows, logprob, entropy = random_case(9)
    token_loss = bound(bench.make("objective", option, *changes), rows)
    whole = token_loss(logprob, entropy, torch.arange(8))
    by_row = [torch.tensor([4, 5, 6, 7]), torch.tensor([0, 1, 2]), torch.tensor([3])]
    by_token = [torch.tensor([6, 7, 1]), torch.tensor([0]), torch.tensor([3, 2, 5, 4])]
    for chunks in (by_row, by_token):
        try:
            parts = [token_loss(logprob[i], entropy[i], i) for i in chunks]
        except ValueError as error:  # a ratio of whole rows cannot be had in pieces, and says so
            assert chunks is by_token and "whole row" in str(error)
            continue
        torch.testing.assert_close(sum(p[0] for p in parts), whole[0], rtol=1e-12, atol=1e-12)
        for k in (1, 2):
            torch.testing.assert_close(
                torch.cat([p[k] for p in parts]), whole[k][torch.cat(chunks)], rtol=1e-12, atol=1e-12
            )


@every_case
def test_the_share_scales_and_two_ranks_halves_add_up(bench: Bench, option: str, changes: tuple[str, ...]) -> None:
    objective = bench.make("objective", option, *changes)
    rows, logprob, entropy = random_case(4)
    whole, third = (bound(objective, rows, share)(logprob, entropy, torch.arange(8))[0] for share in (1.0, 1 / 3))
    assert float(third) == pytest.approx(float(whole) / 3)
    # Each rank divides by the counts of all: rows (0, 1) are tokens 0..3, row 2 the rest.
    halves = 0.0
    for index, tokens in ((torch.tensor([0, 1]), slice(0, 4)), (torch.tensor([2]), slice(4, 8))):
        token_loss = objective.bind(rows.rows(index), 1.0, 8, 3)
        halves += float(token_loss(logprob[tokens], entropy[tokens], torch.arange(4))[0])
    assert halves == pytest.approx(float(whole))


@every_case
def test_no_rows_are_no_loss(bench: Bench, option: str, changes: tuple[str, ...]) -> None:
    rows, _, _ = random_case(0)
    objective = bench.make("objective", option, *changes)
    none = rows.rows(torch.zeros(0, dtype=torch.int64))
    loss, by_logprob, _ = objective.bind(none, 0.5, 0, 0)(
        torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    )
    assert float(loss) == 0.0 and len(by_logprob) == 0
    low, high = objective.clip_range
    assert 0.0 <= low < 1.0 < high
