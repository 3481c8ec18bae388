"""GAE and whitening: numbers by hand, and a float64 loop as the oracle."""

import pytest
import torch

from rrl.ops.advantage import gae, whiten
from tests.unit.learner.tabular import ThreadRanks


def f32(*numbers):
    return torch.tensor(numbers, dtype=torch.float32)


def i64(*numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def loop_oracle(reward, value, final, offsets, gamma, lam):
    out = torch.zeros_like(value)
    for i in range(len(offsets) - 1):
        carry = 0.0
        for u in reversed(range(int(offsets[i]), int(offsets[i + 1]))):
            v_next = value[u + 1] if u + 1 < offsets[i + 1] else final[i]
            carry = reward[u] + gamma * v_next - value[u] + gamma * lam[i] * carry
            out[u] = carry
    return out


def test_two_tokens_by_hand():
    # delta_1 = 1 - .2 = .8; delta_0 = 0 + .9 * .2 - .5 = -.32; A_0 = -.32 + .9 * .5 * .8 = .04
    got = gae(f32(0, 1), f32(0.5, 0.2), f32(0), i64(0, 2), gamma=0.9, lam=0.5)
    torch.testing.assert_close(got, f32(0.04, 0.8))


def test_a_replayed_row_has_the_boundary_state_as_its_first_baseline():
    # Trap: V(s_u) = u, cut at t0 = 2, T = 5, R = 1. lambda 1: A_u = 1 - u, from u = 2, not 1 - V(s_0).
    got = gae(f32(0, 0, 1), f32(2, 3, 4), f32(0), i64(0, 3), gamma=1.0, lam=1.0)
    assert got.tolist() == [-1.0, -2.0, -3.0]
    # lambda 0: the deltas, +1 at every step but the last, where it is 1 - 4.
    assert gae(f32(0, 0, 1), f32(2, 3, 4), f32(0), i64(0, 3), gamma=1.0, lam=0.0).tolist() == [1.0, 1.0, -3.0]


def test_nothing_leaks_from_one_row_into_another():
    alone = gae(f32(0, 1), f32(0.5, 0.5), f32(0), i64(0, 2), gamma=1.0, lam=0.9)
    reward, value = f32(0, 0, 9, 0, 1, 7), f32(4, 4, 4, 0.5, 0.5, 3)
    among = gae(reward, value, f32(5, 0, 2), i64(0, 3, 5, 6), gamma=1.0, lam=0.9)
    assert among[3:5].tolist() == alone.tolist()


def test_single_token_rows_are_reward_plus_bootstrap_minus_value():
    got = gae(f32(1, 0), f32(0.25, 0.5), f32(0, 0.75), i64(0, 1, 2), gamma=0.5, lam=0.3)
    torch.testing.assert_close(got, f32(0.75, 0.375 - 0.5))


def test_no_rows_give_no_advantages():
    assert gae(f32(), f32(), f32(), i64(0), gamma=1.0, lam=1.0).tolist() == []


@pytest.mark.parametrize("gamma", [1.0, 0.97])
def test_ragged_rows_with_a_lambda_each_equal_a_loop(gamma):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 1, 7, 2, 1])
    offsets = torch.cat([i64(0), lengths.cumsum(0)])
    reward, value = torch.randn(2, 14, generator=generator, dtype=torch.float64)
    final, lam = torch.randn(5, generator=generator, dtype=torch.float64), torch.tensor([1.0, 0.5, 0.95, 0.0, 0.3])
    got = gae(reward, value, final, offsets, gamma=gamma, lam=lam.float())
    want = loop_oracle(reward, value, final, offsets, gamma, lam.float().double())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_with_lambda_one_the_target_is_the_return_exactly():
    value = f32(0.1, 0.3, 0.7)
    target = gae(f32(0, 0, 1), value, f32(0), i64(0, 3), gamma=1.0, lam=1.0) + value
    torch.testing.assert_close(target, f32(1, 1, 1), rtol=0, atol=1e-7)


def test_whitening_is_per_segment():
    got = whiten(f32(1, 10, 3, 20), i64(0, 1, 0, 1), num_segments=2, total=list)
    torch.testing.assert_close(got, f32(-1, -1, 1, 1))


def test_easy_replayed_rows_leave_fresh_numbers_alone():
    fresh = f32(0, 0, 0.5)
    alone = whiten(fresh, i64(0, 0, 0), num_segments=2, total=list)
    mixed = whiten(torch.cat([fresh, f32(1, 1, 1)]), i64(0, 0, 0, 1, 1, 1), num_segments=2, total=list)
    assert mixed[:3].tolist() == alone.tolist()
    assert mixed[3:].tolist() == [0.0, 0.0, 0.0]  # equal numbers: zeros, not noise


def test_one_number_whitens_to_zero():
    assert whiten(f32(3), i64(0), num_segments=1, total=list).tolist() == [0.0]


def test_two_ranks_whiten_as_one():
    x, segment = torch.arange(6, dtype=torch.float32), i64(0, 1, 0, 0, 1, 1)
    whole = whiten(x, segment, num_segments=2, total=list)
    halves = ThreadRanks.together([
        lambda ranks, cut=cut: whiten(x[cut], segment[cut], num_segments=2, total=ranks.sum)
        for cut in (slice(0, 2), slice(2, 6))
    ])
    torch.testing.assert_close(torch.cat(halves), whole)
