"""GAE, V-trace, group advantages and whitening: by hand, against a float64 loop, and at the edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl_kernels import dispatch, segments
from rrl_kernels.scan import reference


def packed(lengths, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    reward, value = torch.randn(2, int(offsets[-1]), generator=generator, dtype=torch.float64).to(dtype)
    return reward, value, offsets, torch.randn(len(lengths), generator=generator, dtype=torch.float64).to(dtype)


def test_gae_by_hand():
    advantage, target = segments.segment_gae(
        torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0, 2, 3]), gamma=1.0, lam=1.0,
        bootstrap_value=torch.zeros(2),
    )
    assert (advantage.tolist(), target.tolist()) == ([0.5, 0.5, 1.0], [1.0, 1.0, 2.0])


def test_the_bootstrap_enters_the_last_delta_once():
    # delta = 1 + .5 * 4 - 2 = 1; seeding the carry with V as well would give 1 + .5 * .5 * 4 = 2.
    common = {"gamma": 0.5, "lam": 0.5, "bootstrap_value": torch.tensor([4.0])}
    advantage, _ = segments.segment_gae(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0, 1]), **common)
    assert advantage.tolist() == [1.0]
    ended, _ = segments.segment_gae(
        torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0, 1]), ended=torch.tensor([True]), **common
    )
    assert ended.tolist() == [-1.0]


def test_the_target_may_have_its_own_lambda():
    reward, value, offsets, final = packed([3, 5])
    common = {"gamma": 0.9, "bootstrap_value": final}
    advantage, target = segments.segment_gae(reward, value, offsets, lam=0.5, target_lam=1.0, **common)
    assert torch.equal(advantage, segments.segment_gae(reward, value, offsets, lam=0.5, **common)[0])
    assert torch.equal(target, segments.segment_gae(reward, value, offsets, lam=1.0, **common)[1])


@pytest.mark.parametrize("chosen", ["torch", "reference"])
@pytest.mark.parametrize("lengths", [[1], [7, 1, 300, 0, 129, 128], [0], [0, 0, 2], [], [700, 0, 1500, 1]])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.0, 0.5), (1.0, 0.0)])
def test_gae_equals_the_loop_of_the_paper(monkeypatch, chosen, lengths, gamma, lam):
    monkeypatch.setattr(dispatch, "_chosen", chosen)
    reward, value, offsets, final = packed(lengths)
    expected = reference.gae(
        reward.double(), value.double(), offsets, final.double(), gamma, torch.full((len(lengths),), lam).double()
    )
    for given_lam in (lam, torch.full((len(lengths),), lam)):
        advantage, target = segments.segment_gae(
            reward, value, offsets, gamma=gamma, lam=given_lam, target_lam=lam, bootstrap_value=final
        )
        torch.testing.assert_close(advantage.double(), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(target.double(), expected + value, rtol=1e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=6), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_rows_do_not_touch_each_other(lengths, gamma, lam, seed):
    reward, value, offsets, final = packed(lengths, seed, torch.float64)
    together, _ = segments.segment_gae(reward, value, offsets, gamma=gamma, lam=lam, bootstrap_value=final)
    for i, (a, b) in enumerate(zip(offsets.tolist(), offsets.tolist()[1:], strict=False)):
        alone, _ = segments.segment_gae(
            reward[a:b], value[a:b], torch.tensor([0, b - a]), gamma=gamma, lam=lam, bootstrap_value=final[i : i + 1]
        )
        torch.testing.assert_close(together[a:b], alone, rtol=1e-12, atol=1e-12)


def test_strided_and_expanded_inputs_are_read_as_they_look():
    reward, value, offsets, final = packed([4, 3])
    plain, _ = segments.segment_gae(reward, value, offsets, gamma=0.9, lam=0.9, bootstrap_value=final)
    strided = torch.stack([reward, value], 1)
    again, _ = segments.segment_gae(
        strided[:, 0], strided[:, 1], offsets, gamma=0.9, lam=0.9, bootstrap_value=final
    )
    assert torch.equal(plain, again)
    zero = torch.zeros(1).expand(7)
    expanded, _ = segments.segment_gae(zero, value, offsets, gamma=0.9, lam=0.9, bootstrap_value=final)
    copied, _ = segments.segment_gae(zero.clone(), value, offsets, gamma=0.9, lam=0.9, bootstrap_value=final)
    assert torch.equal(expanded, copied)


def test_vtrace_by_hand_and_at_its_clip_edges():
    # One row of two: w = (e^log 2, e^0) = (2, 1); rho = (1, 1), c = (1, 1): on-policy form, gamma = lam = 1.
    common = {"gamma": 1.0, "lam": 1.0, "bootstrap_value": torch.zeros(1)}
    reward, value, offsets = torch.tensor([0.0, 1.0]), torch.tensor([0.25, 0.5]), torch.tensor([0, 2])
    new, old = torch.tensor([2.0, 1.0]).log(), torch.zeros(2)
    got = segments.segment_vtrace(reward, value, new, old, offsets, rho_bar=1.0, c_bar=1.0, **common)
    torch.testing.assert_close(got.value_target, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(got.advantage, torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(got.rho, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(got.ess, torch.tensor([9.0 / 5.0]))  # (2 + 1)^2 / (4 + 1)
    wide = segments.segment_vtrace(reward, value, new, old, offsets, rho_bar=2.0, c_bar=1.0, **common)
    # delta = (2 (0 + .5 - .25), 1 (1 + 0 - .5)) = (.5, .5); v_0 = .25 + .5 + 1 * .5 = 1.25
    torch.testing.assert_close(wide.value_target, torch.tensor([1.25, 1.0]))


def test_vtrace_of_the_sampling_policy_is_gae():
    reward, value, offsets, final = packed([5, 1, 140])
    same = torch.randn(len(value))
    got = segments.segment_vtrace(
        reward, value, same, same, offsets, gamma=0.9, lam=0.8, rho_bar=1.0, c_bar=1.0, bootstrap_value=final
    )
    _, target = segments.segment_gae(reward, value, offsets, gamma=0.9, lam=0.8, bootstrap_value=final)
    torch.testing.assert_close(got.value_target, target, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got.ess, torch.tensor([5.0, 1.0, 140.0]))


def test_vtrace_equals_the_loop_of_the_paper(monkeypatch):
    reward, value, offsets, final = packed([5, 0, 1, 140])
    new, old = torch.randn(2, len(value), generator=torch.Generator().manual_seed(1)) * 2
    common = {"gamma": 0.95, "lam": 0.9, "rho_bar": 1.5, "c_bar": 1.0, "bootstrap_value": final}
    ours = segments.segment_vtrace(reward, value, new, old, offsets, **common)
    monkeypatch.setattr(dispatch, "_chosen", "reference")
    truth = segments.segment_vtrace(reward, value, new, old, offsets, **common)
    torch.testing.assert_close(ours.value_target, truth.value_target, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.advantage, truth.advantage, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chosen", ["torch", "reference"])
@pytest.mark.parametrize("num_rows", [0, 1, 3])
def test_rows_without_actions_have_no_numbers_and_no_sample_size(monkeypatch, chosen, num_rows):
    monkeypatch.setattr(dispatch, "_chosen", chosen)
    none, final = torch.zeros(0), torch.ones(num_rows)
    offsets = torch.zeros(num_rows + 1, dtype=torch.int64)
    common = {"gamma": 0.9, "lam": 0.9, "bootstrap_value": final}
    assert [len(x) for x in segments.segment_gae(none, none, offsets, **common)] == [0, 0]
    got = segments.segment_vtrace(none, none, none, none, offsets, rho_bar=1.0, c_bar=1.0, **common)
    assert [len(got.value_target), len(got.advantage), len(got.rho)] == [0, 0, 0]
    assert got.ess.tolist() == [0.0] * num_rows


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dr_grpo", [0.5, -0.5, 0.0, 0.0, 0.0, 0.0]),
        ("rloo", [1.0, -1.0, 0.0, 0.0, 0.0, 0.0]),
        ("grpo", [0.5**0.5, -(0.5**0.5), 0.0, 0.0, 0.0, 0.0]),   # std of (1, 0) with n - 1 is sqrt(1/2)
    ],
)
@pytest.mark.parametrize("chosen", ["torch", "reference"])
def test_group_advantages_by_hand(monkeypatch, chosen, kind, expected):
    monkeypatch.setattr(dispatch, "_chosen", chosen)
    # Group 0: rewards 1, 0.  Group 1: one row.  Group 2: three equal rewards whose mean is not exact.  Group 3: none.
    reward = torch.tensor([1.0, 0.0, 5.0, 0.1, 0.1, 0.1])
    group = torch.tensor([0, 0, 1, 2, 2, 2])
    got = segments.group_advantage(reward, group, 4, kind=kind, eps=1e-9)
    torch.testing.assert_close(got.advantage, torch.tensor(expected), rtol=1e-6, atol=0)
    torch.testing.assert_close(got.mean, torch.tensor([0.5, 5.0, 0.1, 0.0]))
    assert got.zero.tolist() == [False, False, True, True, True, True]


def test_group_rows_may_stand_in_any_order():
    reward = torch.randn(12, generator=torch.Generator().manual_seed(0))
    group, order = torch.arange(12) // 4, torch.randperm(12, generator=torch.Generator().manual_seed(1))
    one = segments.group_advantage(reward, group, 3, kind="grpo").advantage
    other = segments.group_advantage(reward[order], group[order], 3, kind="grpo").advantage
    torch.testing.assert_close(one[order], other)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(-100, 100), st.floats(0.1, 10), st.integers(0, 99))
def test_a_shift_changes_nothing_and_grpo_forgets_the_scale(num_groups, size, shift, scale, seed):
    reward = torch.randn(num_groups * size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    group = torch.arange(num_groups).repeat_interleave(size)
    for kind in ("grpo", "dr_grpo", "rloo"):
        plain, moved, grown = (
            segments.group_advantage(x, group, num_groups, kind=kind, eps=0.0 if size > 1 else 1.0).advantage
            for x in (reward, reward + shift, reward * scale)
        )
        assert plain.isfinite().all()
        torch.testing.assert_close(plain, moved, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(plain if kind == "grpo" else plain * scale, grown, rtol=1e-6, atol=1e-9)


def test_whitening_by_hand_and_apart():
    got = segments.whiten(torch.tensor([1.0, 3.0, 10.0, 10.0, 7.0]), torch.tensor([0, 0, 1, 1, 2]), 3)
    torch.testing.assert_close(got, torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.0]))
    assert segments.whiten(torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0).tolist() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reward": torch.tensor([0.0, float("nan"), 1.0])}, "reward holds NaN or an infinity"),
        ({"reward": torch.zeros(2)}, r"reward has shape \[2\]; expected one for each action = \[3\]"),
        ({"offsets": torch.tensor([0, 2, 1, 3])}, "offsets does not rise from 0 to 3"),
        ({"offsets": torch.tensor([0, 2])}, "offsets does not rise from 0 to 3"),
        ({"offsets": torch.tensor([0, 3], dtype=torch.int32)}, "dtype torch.int32; expected int64"),
        ({"gamma": 1.5}, r"gamma is 1.5; expected a number in \[0, 1\]"),
        ({"lam": torch.tensor([0.5, 2.0])}, r"lam holds a number outside \[0, 1\]"),
        ({"bootstrap_value": torch.zeros(3)}, "bootstrap_value has shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, said):
    good = {
        "reward": torch.zeros(3), "value": torch.zeros(3), "offsets": torch.tensor([0, 1, 3]), "gamma": 1.0, "lam": 1.0,
        "bootstrap_value": torch.zeros(2),
    }
    with pytest.raises(ValueError, match=said):
        segments.segment_gae(**(good | change))


def test_groups_out_of_range_and_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"group_id holds a number outside \[0, 2\)"):
        segments.group_advantage(torch.zeros(2), torch.tensor([0, 2]), 2, kind="grpo")
    with pytest.raises(ValueError, match="kind is 'ppo'; expected one of: grpo, dr_grpo, rloo"):
        segments.group_advantage(torch.zeros(2), torch.tensor([0, 1]), 2, kind="ppo")


def test_gae_and_vtrace_equal_torchrl():
    peer = pytest.importorskip("torchrl.objectives.value.functional", reason="needs torchrl: pip install -e .[bench]")
    reward, value, offsets, final = packed([9, 9, 9])
    log_ratio = torch.randn(27, generator=torch.Generator().manual_seed(3))
    done = torch.zeros(3, 9, 1, dtype=torch.bool)
    done[:, -1] = True
    grid = {n: x.view(3, 9, 1) for n, x in {"r": reward, "v": value, "w": log_ratio}.items()}
    after = torch.cat([grid["v"][:, 1:], final.view(3, 1, 1)], 1)
    ended = torch.zeros_like(done)  # all rows bootstrap
    advantage, _ = segments.segment_gae(reward, value, offsets, gamma=0.97, lam=0.9, bootstrap_value=final)
    theirs, _ = peer.generalized_advantage_estimate(0.97, 0.9, grid["v"], after, grid["r"], done, ended)
    torch.testing.assert_close(advantage.view(3, 9, 1), theirs, atol=1e-5, rtol=1e-5)
    ours = segments.segment_vtrace(
        reward, value, log_ratio, torch.zeros(27), offsets, gamma=0.97, lam=1.0, rho_bar=1.0, c_bar=1.0,
        bootstrap_value=final,
    )
    _, target = peer.vtrace_advantage_estimate(
        0.97, grid["w"], torch.zeros(3, 9, 1), grid["v"], after, grid["r"], done, ended
    )
    torch.testing.assert_close(ours.value_target.view(3, 9, 1), target, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("choice", ["torch", "reference"])
def test_an_operator_leaves_its_inputs_alone_and_keeps_its_promises_to_torch(choice: str, dtype: torch.dtype) -> None:
    offsets, numbers = torch.tensor([0, 3, 3, 8]), torch.randn(3, 8, dtype=dtype)
    reward, value, log_ratio, final = *numbers, torch.randn(3, dtype=dtype)
    dispatch.use(choice)
    try:
        before = [x.clone() for x in (reward, value, log_ratio, final)]
        torch.library.opcheck(torch.ops.rrl_kernels.gae.default, (reward, value, offsets, final, 0.9, 0.8, None, -1.0))
        torch.library.opcheck(
            torch.ops.rrl_kernels.vtrace.default, (reward, value, log_ratio, offsets, final, 0.9, 0.8, 1.0, 1.0)
        )
    finally:
        dispatch.use("auto")
    assert all(torch.equal(x, y) for x, y in zip((reward, value, log_ratio, final), before, strict=True))


def test_the_reference_of_vtrace_is_the_same_in_float64_as_in_float32() -> None:
    offsets, numbers = torch.tensor([0, 4, 9]), torch.randn(4, 9)
    how = {"gamma": 0.9, "lam": 0.8, "rho_bar": 1.0, "c_bar": 1.0}
    dispatch.use("reference")
    try:
        narrow = segments.segment_vtrace(*numbers, offsets, bootstrap_value=torch.ones(2), **how)
        wide = segments.segment_vtrace(
            *numbers.double(), offsets, bootstrap_value=torch.ones(2, dtype=torch.float64), **how
        )
    finally:
        dispatch.use("auto")
    torch.testing.assert_close(narrow.advantage.double(), wide.advantage, rtol=1e-5, atol=1e-5)
