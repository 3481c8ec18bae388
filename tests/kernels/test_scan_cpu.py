"""GAE on a CPU over many actions: running sums, pieces, blocks with a row's end; each against the loop of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rrl_kernels import segments
from rrl_kernels.scan import cpu, reference, torch_impl


def rows(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    reward, value = torch.randn(2, int(offsets[-1]), generator=generator, dtype=torch.float64)
    return reward, value, offsets, torch.randn(len(lengths), generator=generator, dtype=torch.float64)


# One row and a half block; ends on, before and after a block's last slot; several ends in one block; empty rows.
LENGTHS = [[96], [64, 64, 128], [63, 1, 64, 65, 0, 0], [1, 2, 3, 250, 0, 300], [0, 5] * 20, [256, 1], [257]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("piece", [64, 128, 1 << 17])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.1, 0.02)])
def test_running_sums_in_pieces_equal_the_loop(monkeypatch, lengths, piece, gamma, lam):
    monkeypatch.setattr(cpu, "PIECE", piece)
    packed = rows(lengths)
    found = cpu.gae_of_long_rows(*packed, gamma, gamma * lam)
    expected = reference.gae(*packed, gamma, torch.full((len(lengths),), lam, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_huge_row_leaves_no_trace_in_its_neighbours():
    reward, value, offsets, final = rows([40, 40, 40])
    alone = cpu.gae_of_long_rows(reward, value, offsets, final, 0.99, 0.9)
    reward[40:80] *= 1e300
    beside = cpu.gae_of_long_rows(reward, value, offsets, final, 0.99, 0.9)
    assert torch.equal(alone[80:], beside[80:])
    assert torch.equal(alone[:40], beside[:40])


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_solve_and_the_doubling_of_other_devices_agree(lengths):
    x, _, offsets, _ = rows(lengths)
    decay = torch.rand(len(x), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    solved = torch_impl.scan(x, decay, offsets)  # puts a 0 at each row's end
    doubled = torch_impl.scan_by_doubling(x, decay, offsets[1:] - offsets[:-1])
    torch.testing.assert_close(solved, doubled, rtol=1e-12, atol=1e-12)


def test_the_solve_by_hand():
    # y_2 = 4, y_1 = 2 + 0 * 4 = 2 (a row ends there), y_0 = 1 + .5 * 2 = 2; the last decay is never read.
    solved = cpu.solve(np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.0, np.nan]))
    assert solved.tolist() == [2.0, 2.0, 4.0]


@pytest.mark.parametrize("piece", [64, 1 << 17])
def test_vtrace_in_groups_of_rows_equals_the_loop(monkeypatch, piece):
    monkeypatch.setattr(cpu, "PIECE", piece)
    reward, value, offsets, final = rows([30, 0, 34, 100, 1])
    new, old = rows([165], seed=2)[:2]
    how = {"gamma": 0.95, "lam": 0.9, "rho_bar": 1.5, "c_bar": 1.0}
    got = segments.segment_vtrace(reward, value, new, old, offsets, bootstrap_value=final, **how)
    target, advantage = reference.vtrace(reward, value, new - old, offsets, final, *how.values())
    torch.testing.assert_close(got.value_target, target, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.advantage, advantage, rtol=1e-12, atol=1e-12)


def test_many_actions_take_the_running_sums_and_few_the_solve(monkeypatch):
    taken = []
    real = cpu.gae_of_long_rows
    monkeypatch.setattr(cpu, "gae_of_long_rows", lambda *given: taken.append(len(given[1])) or real(*given))
    for lengths in ([100] * 164, [100] * 163, [10] * 2000):  # 16400; 16300, too few; rows shorter than a block
        reward, value, offsets, final = rows(lengths)
        segments.segment_gae(reward, value, offsets, gamma=0.9, lam=0.9, bootstrap_value=final)
    assert taken == [16400]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["reward", "value", "bootstrap_value"])
def test_what_is_not_finite_is_refused_by_name_wherever_it_stands(name, bad):
    reward, value, offsets, final = rows([100] * 200)
    numbers = {"reward": reward, "value": value, "bootstrap_value": final}
    numbers[name][57] = bad
    with pytest.raises(ValueError, match=f"{name} holds NaN or an infinity"):
        segments.segment_gae(offsets=offsets, gamma=1.0, lam=1.0, **numbers)
