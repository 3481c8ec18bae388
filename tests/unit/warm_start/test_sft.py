import logging

import pytest
import torch

from rrl.ranks import Ranks
from rrl.types import sequences_of
from rrl.warm_start.none import NoWarmStart
from rrl.warm_start.sft import SFT, nll_loss
from tests.unit.policy.small import Digits, problem, start, tiny


class Counting(Digits):
    """Prompt (k,), response (k + 1, k + 2)."""

    def demonstrations(self, num, generator):
        first = generator.integers(1, 8, size=num)
        return [(problem(prompt=(k,), max_response=2), (k + 1, k + 2)) for k in first.tolist()]


class Never(Counting):
    def demonstrations(self, num, generator):
        raise AssertionError("trained although the weights were cached")


NUMBERS = {
    "seed": 0, "steps": 60, "batch": 16, "lr": 1e-2, "warm_up_steps": 5, "final_lr_frac": 0.1, "betas": (0.9, 0.95),
    "eps": 1e-8,
}


def sft(cache_dir, task=None, **numbers):
    return SFT(task=task or Counting(), ranks=Ranks(), cache_dir=str(cache_dir), **(NUMBERS | numbers))


def same(policy, other):
    mine, theirs = policy.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_it_learns_the_responses_and_not_the_prompts(tmp_path):
    policy = tiny()
    metrics = sft(tmp_path).prepare(policy)
    assert metrics["warm_start/nll_nats"] < 0.3
    assert policy.rollout([start(prompt=(4,), max_response=2)], samples_per_start=1, step=0, greedy=True) \
        .sequences.actions.tolist() == [5, 6]


def test_what_is_loaded_equals_what_was_trained_bit_for_bit_and_is_not_trained_again(tmp_path):
    trained, loaded = tiny(), tiny()
    first = sft(tmp_path).prepare(trained)
    second = sft(tmp_path, task=Never()).prepare(loaded)
    assert same(trained, loaded)
    assert (first["warm_start/cached"], second["warm_start/cached"]) == (0.0, 1.0)
    assert first["warm_start/nll_nats"] == second["warm_start/nll_nats"]


def test_training_twice_gives_the_same_weights(tmp_path):
    one, other = tiny(), tiny()
    sft(tmp_path / "a").prepare(one)
    sft(tmp_path / "b").prepare(other)
    assert same(one, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),  # one bit of one weight
    ],
)
def test_a_broken_file_is_reported_and_replaced(tmp_path, caplog, damage):
    trained = tiny()
    sft(tmp_path, steps=3).prepare(trained)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    again = tiny()
    with caplog.at_level(logging.WARNING):
        metrics = sft(tmp_path, steps=3).prepare(again)
    assert "training again" in caplog.text and file.name in caplog.text
    assert metrics["warm_start/cached"] == 0.0
    assert same(trained, again)
    assert sft(tmp_path, steps=3, task=Never()).prepare(tiny())["warm_start/cached"] == 1.0


def test_every_fact_that_determines_the_weights_is_in_the_files_name(tmp_path):
    class Other(Counting):
        fingerprint = "digits-2"

    def name(policy, **arguments):
        return sft(tmp_path, **arguments).cache_of(policy).path.name

    policies = [tiny(), tiny(seed=1), tiny(temperature=0.9), tiny(dtype="float32")]
    names = [*(name(policy) for policy in policies), name(tiny(), task=Other())]
    changed = {
        "seed": 1, "steps": 61, "batch": 17, "lr": 2e-2, "warm_up_steps": 6, "final_lr_frac": 0.2, "betas": (0.9, 0.99),
        "eps": 1e-5,
    }
    names += [name(tiny(), **{key: value}) for key, value in changed.items()]
    assert len(set(names)) == len(names) == 13
    assert name(tiny()) == names[0]


def test_the_learning_rate_rises_then_falls():
    shape = sft("unused", steps=4, warm_up_steps=2)
    assert [shape._lr_frac(step) for step in range(4)] == pytest.approx([0.5, 1.0, 1.0, 0.1])
    assert sft("unused", steps=1, warm_up_steps=0)._lr_frac(0) == 1.0
    assert sft("unused", steps=2, warm_up_steps=4)._lr_frac(1) == 0.5


def test_the_loss_is_the_mean_over_tokens():
    logprob = torch.tensor([-1.0, -2.0, -6.0])
    loss, d_logprob, d_entropy = nll_loss(logprob, torch.zeros(3), torch.arange(3))
    assert loss.item() == 3.0
    torch.testing.assert_close(d_logprob, torch.full((3,), -1 / 3))
    assert d_entropy.tolist() == [0.0, 0.0, 0.0]


def test_no_gradient_is_left_behind(tmp_path):
    policy = tiny()
    sft(tmp_path, steps=2).prepare(policy)
    assert all(p.grad is None for p in policy.parameters())


def test_none_leaves_the_policy_alone():
    policy = tiny()
    before = policy.logprob(sequences_of([(start(), (3, 4))]))[0]
    assert NoWarmStart().prepare(policy) == {}
    assert torch.equal(before, policy.logprob(sequences_of([(start(), (3, 4))]))[0])


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"lr": 0.0}, {"final_lr_frac": 1.5}, {"betas": (0.9,)}])
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"warm_start has .*{next(iter(wrong))}"):
        sft("unused", **wrong)
