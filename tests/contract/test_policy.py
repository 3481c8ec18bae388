"""Laws of ``Policy``: it scores what it samples, however rows are batched, and learns from actions alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rrl.build import House
from rrl.protocols import Policy
from rrl.types import Rollouts, Start, sequences_of
from tests.contract.bench import Bench
from tests.contract.options import every

ATOL = 2e-5  # float32 log-probs from a cache against those of one whole forward


@pytest.fixture
def house(bench: Bench, option: str) -> House:
    return bench.house("policy", option)


def mixed_starts(house: House) -> list[Start]:
    """Twelve starts of mixed prompts, prefixes, limits, stops and ends."""
    problems = house.task.train_problems()
    starts = []
    for i in range(12):
        problem = replace(
            problems[5 * i % len(problems)], id=f"mixed-{i}", max_response=3 + i % 4, exact_length=i % 2 == 0,
            stop=tuple(range(0, 30, 3)) if i % 3 else (),
        )  # fmt: skip
        starts.append(Start(problem=problem, prefix=(5 + i,) * (i % 3)))
    return starts


def rows_of(rollouts: Rollouts) -> list[tuple[int, ...]]:
    return [rollouts.sequences.tokens_of(i) for i in range(rollouts.sequences.num_rows)]


def first_token(house: House) -> tuple[Start, Any]:
    """A start, and one row for each token that may come first."""
    start = Start(problem=replace(house.task.train_problems()[0], max_response=1))
    return start, sequences_of([(start, (token,)) for token in range(house.task.vocab_size)])


@every("policy")
def test_what_was_sampled_is_scored_alike(house: House, option: str) -> None:
    rollouts = house.policy.rollout(mixed_starts(house), samples_per_start=3, step=4)
    logprob, entropy = house.policy.logprob(rollouts.sequences)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=ATOL)
    torch.testing.assert_close(entropy, rollouts.behavior_entropy, rtol=0, atol=ATOL)
    assert float(logprob.max()) <= ATOL and float(entropy.min()) >= -ATOL


@every("policy")
def test_a_rows_tokens_depend_on_its_start_and_global_row_alone(house: House, option: str) -> None:
    starts = mixed_starts(house)
    together = rows_of(house.policy.rollout(starts, samples_per_start=2, step=1, first_row=10))
    one_by_one = [
        row
        for i, start in enumerate(starts)
        for row in rows_of(house.policy.rollout([start], samples_per_start=2, step=1, first_row=10 + 2 * i))
    ]
    assert together == one_by_one
    halves = [
        row
        for first in (0, 6)
        for row in rows_of(
            house.policy.rollout(starts[first : first + 6], samples_per_start=2, step=1, first_row=10 + 2 * first)
        )
    ]
    assert together == halves
    # Other company in another order: the rows that stand where they stood say what they said.
    turned = rows_of(house.policy.rollout([*starts[6:], *starts[6:]], samples_per_start=2, step=1, first_row=10))
    assert turned[12:] == together[12:] and turned[:12] != together[:12]


@every("policy")
def test_noise_is_named_by_step_stream_and_row(house: House, option: str) -> None:
    starts = mixed_starts(house)
    base = rows_of(house.policy.rollout(starts, samples_per_start=1, step=1))
    assert base == rows_of(house.policy.rollout(starts, samples_per_start=1, step=1))
    for other in ({"step": 2}, {"step": 1, "stream": "other"}, {"step": 1, "first_row": 100}):
        assert base != rows_of(house.policy.rollout(starts, samples_per_start=1, **other))


@every("policy")
def test_greedy_takes_the_likeliest_token_whatever_the_noise(house: House, option: str) -> None:
    starts = mixed_starts(house)
    first, second = (
        house.policy.rollout(starts, samples_per_start=1, step=s, first_row=s, greedy=True) for s in (0, 7)
    )
    assert rows_of(first) == rows_of(second)
    start, each = first_token(house)
    chosen = rows_of(house.policy.rollout([start], samples_per_start=1, step=0, greedy=True))[0][0]
    logprob = house.policy.logprob(each)[0]
    assert float(logprob[chosen] if chosen < len(logprob) else logprob.max()) >= float(logprob.max()) - ATOL


@every("policy")
def test_the_temperature_divides_the_logits_of_samples_and_scores(bench: Bench, house: House, option: str) -> None:
    cold = bench.make("policy", option, "policy.temperature=0.5")
    cold.load_state_dict(house.policy.state_dict())
    vocab_size = cold.backbone.vocab_size
    start = first_token(house)[0]
    each = sequences_of([(start, (token,)) for token in range(vocab_size)])
    expected = torch.log_softmax(house.policy.logprob(each)[0] / 0.5, 0)
    torch.testing.assert_close(cold.logprob(each)[0], expected, rtol=0, atol=5 * ATOL)
    drawn = cold.rollout([start], samples_per_start=1000, step=0).sequences.actions
    share = torch.bincount(drawn, minlength=vocab_size) / 1000
    assert float((share - expected.exp()).abs().max()) < 0.065  # 4 standard deviations at p = .5
    assert cold.fingerprint != house.policy.fingerprint


@every("policy")
def test_rows_end_at_a_stop_token_at_the_exact_length_or_are_cut(house: House, option: str) -> None:
    rollouts = house.policy.rollout(mixed_starts(house), samples_per_start=4, step=0)
    kinds = set()
    for i, tokens in enumerate(rows_of(rollouts)):
        start = rollouts.sequences.start_of(i)
        limit = start.problem.max_response - len(start.prefix)
        hits = [u for u, token in enumerate(tokens) if token in start.problem.stop]
        assert hits in ([], [len(tokens) - 1])  # nothing comes after a stop
        assert hits or len(tokens) == limit
        assert bool(rollouts.ended[i]) == (bool(hits) or start.problem.exact_length)
        kinds.add((bool(hits), bool(rollouts.ended[i])))
    assert kinds == {(True, True), (False, True), (False, False)}


def weighted(weight: torch.Tensor) -> Any:
    """loss = - sum w log pi - .1 sum w H."""

    def token_loss(logprob: torch.Tensor, entropy: torch.Tensor, index: torch.Tensor) -> Any:
        w = weight[index].to(logprob)
        return -(w * logprob).sum() - 0.1 * (w * entropy).sum(), -w, -0.1 * w

    return token_loss


def gradient(policy: Policy, sequences: Any, weight: torch.Tensor) -> list[torch.Tensor]:
    for p in policy.parameters():
        p.grad = None
    policy.loss(sequences, weighted(weight))[0].backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in policy.parameters()]
    for p in policy.parameters():
        p.grad = None
    return found


@every("policy")
def test_a_replayed_row_continues_the_uncut_one_and_its_prefix_gets_no_gradient(house: House, option: str) -> None:
    problem = replace(house.task.train_problems()[0], max_response=8)
    response = (7, 9, 11, 6, 8)
    uncut = sequences_of([(Start(problem=problem), response)])
    replayed = sequences_of([(Start(problem=problem, prefix=response[:2]), response[2:])])
    # A prefix is only a longer prompt.
    longer = sequences_of([(Start(problem=replace(problem, prompt=problem.prompt + response[:2])), response[2:])])
    for one, other in zip(house.policy.logprob(uncut), house.policy.logprob(replayed), strict=True):
        torch.testing.assert_close(one[2:], other, rtol=0, atol=ATOL)

    weight = torch.tensor([1.0, -2.0, 0.5])
    expected = gradient(house.policy, uncut, torch.cat([torch.zeros(2), weight]))
    assert any(bool(g.any()) for g in expected)
    for sequences in (replayed, longer):
        for one, other in zip(gradient(house.policy, sequences, weight), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every("policy")
def test_the_loss_is_asked_of_actions_only_and_its_value_is_the_token_losses(house: House, option: str) -> None:
    rollouts = house.policy.rollout(mixed_starts(house), samples_per_start=1, step=0)
    asked = []

    def token_loss(logprob: torch.Tensor, entropy: torch.Tensor, index: torch.Tensor) -> Any:
        asked.append((logprob, index))
        return logprob.sum(), torch.ones_like(logprob), torch.zeros_like(entropy)

    loss, metrics = house.policy.loss(rollouts.sequences, token_loss)
    assert torch.cat([index for _, index in asked]).tolist() == list(range(len(rollouts.sequences.actions)))
    seen = torch.cat([logprob for logprob, _ in asked]).float()
    torch.testing.assert_close(seen, rollouts.behavior_logprob, rtol=0, atol=ATOL)
    assert float(loss.detach()) == pytest.approx(float(seen.sum()), rel=1e-5)
    assert metrics["learn/entropy_nats"] == pytest.approx(float(rollouts.behavior_entropy.mean()), abs=1e-4)


def move_what_learns(policy: Policy) -> None:
    """Change every weight that may be trained; the others never change, so copies may share them."""
    with torch.no_grad():
        for p in policy.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.sin(torch.arange(p.numel(), dtype=p.dtype)).view_as(p))


@every("policy")
def test_a_frozen_copy_does_not_follow_what_is_learned(bench: Bench, option: str) -> None:
    policy = bench.make("policy", option)
    frozen = policy.frozen()
    rows = policy.rollout(mixed_starts(bench.house("policy", option)), samples_per_start=1, step=0).sequences
    before = frozen.logprob(rows)[0]
    assert torch.equal(before, policy.logprob(rows)[0])
    assert not any(p.requires_grad for p in frozen.parameters()) and any(p.requires_grad for p in policy.parameters())
    move_what_learns(policy)
    assert torch.equal(before, frozen.logprob(rows)[0])
    assert not torch.allclose(before, policy.logprob(rows)[0])


@every("policy")
def test_a_saved_policy_loaded_elsewhere_says_the_same(bench: Bench, option: str) -> None:
    policy, other = bench.make("policy", option), bench.make("policy", option)
    starts = mixed_starts(bench.house("policy", option))
    move_what_learns(policy)
    fingerprint = policy.fingerprint
    other.load_state_dict(bench.through_disk(policy.state_dict()))
    one, two = (p.rollout(starts, samples_per_start=2, step=0) for p in (policy, other))
    assert rows_of(one) == rows_of(two) and torch.equal(one.behavior_logprob, two.behavior_logprob)
    assert fingerprint == other.fingerprint == policy.fingerprint  # of the architecture, not of the weights


@every("policy")
def test_trunks_read_the_state_before_each_action(house: House, option: str) -> None:
    starts = mixed_starts(house)
    sequences = house.policy.rollout(starts, samples_per_start=1, step=0).sequences
    trunks = [house.policy.shared_trunk(detach=True), house.policy.shared_trunk(detach=False)]
    trunks += [house.policy.trunk(init=init, num_layers=n, seed=1) for init, n in (("scratch", 1), ("policy", 0))]
    for trunk in trunks:
        hidden = trunk.hidden(sequences)
        assert hidden.shape == (len(sequences.actions), trunk.width)
        torch.testing.assert_close(hidden[sequences.offsets[:-1]], trunk.start_hidden(starts), rtol=1e-4, atol=1e-4)
    assert not trunks[0].hidden(sequences).requires_grad and trunks[1].hidden(sequences).requires_grad


@every("policy")
def test_text_is_spelled_back(house: House, option: str) -> None:
    tokens = (3, 7, 5, 9)
    assert house.policy.encode(house.policy.decode(tokens)) == tokens
