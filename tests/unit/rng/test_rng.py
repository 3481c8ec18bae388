"""Noise is a function of what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rrl import rng

ROWS = np.arange(1000)


def test_a_uniform_depends_on_its_row_and_not_on_the_company() -> None:
    all_rows = rng.uniforms(3, "rollout", 7, ROWS, 2)
    shuffled = np.random.default_rng(0).permutation(ROWS)
    assert np.array_equal(rng.uniforms(3, "rollout", 7, shuffled, 2), all_rows[shuffled])
    assert rng.uniforms(3, "rollout", 7, ROWS[17:18], 2) == all_rows[17]


def test_uniforms_are_uniform_and_without_correlation() -> None:
    u = np.concatenate([rng.uniforms(0, "rollout", step, ROWS, token) for step in range(20) for token in range(5)])
    assert len(u) == 100_000 and u.min() >= 0.0 and u.max() < 1.0
    assert abs(u.mean() - 0.5) < 4 * (1 / 12 / len(u)) ** 0.5
    assert abs(u.var() - 1 / 12) < 0.001
    assert np.bincount((u * 10).astype(int)).std() < 4 * (10_000 * 0.9) ** 0.5
    grid = np.stack([rng.uniforms(0, "rollout", 0, ROWS, token) for token in range(20)])  # [token, row]
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.03  # neighbouring rows
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.03  # neighbouring tokens


@pytest.mark.parametrize("other", [(1, "rollout", 7, 2), (0, "eval", 7, 2), (0, "rollout", 8, 2), (0, "rollout", 7, 3)])
def test_another_seed_stream_step_or_token_has_other_noise(other: tuple[int, str, int, int]) -> None:
    base = rng.uniforms(0, "rollout", 7, ROWS, 2)
    seed, stream, step, token = other
    changed = rng.uniforms(seed, stream, step, ROWS, token)
    assert not (base == changed).any() and abs(np.corrcoef(base, changed)[0, 1]) < 0.15


def test_negative_steps_of_the_warm_up_have_noise_of_their_own() -> None:
    drawn = [rng.uniforms(0, "rollout", step, ROWS[:1], 0)[0] for step in range(-30, 30)]
    assert len(set(drawn)) == 60


def test_a_generator_is_pure_in_its_name_and_numbers() -> None:
    first = rng.generator(0, "problems", 5)
    taken = first.random(3)
    first.random(1000)  # what one user takes does not move the next one's
    assert np.array_equal(rng.generator(0, "problems", 5).random(3), taken)
    for other in (
        rng.generator(0, "problems", 6),
        rng.generator(1, "problems", 5),
        rng.generator(0, "replay", 5),
        rng.generator(0, "problems", -5),
        rng.generator(0, "problems", 5, 1),
    ):
        assert not np.isin(other.random(3), taken).any()


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state().clone())  # noqa: NPY002
    one = (
        rng.uniforms(0, "a", 0, ROWS[:3], 0),
        rng.generator(0, "a").random(),
        rng.torch_generator(0, "a").initial_seed(),
    )
    assert np.array_equal(before[0], np.random.get_state()[1]) and torch.equal(before[1], torch.get_rng_state())  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    two = (
        rng.uniforms(0, "a", 0, ROWS[:3], 0),
        rng.generator(0, "a").random(),
        rng.torch_generator(0, "a").initial_seed(),
    )
    assert np.array_equal(one[0], two[0]) and one[1:] == two[1:]


def test_noise_is_the_same_on_every_machine() -> None:
    # Recorded once; a change here changes every sampled token of every run.
    assert rng.uniforms(0, "rollout", 0, np.arange(3), 0).tolist() == [
        0.5457522934796925,
        0.9627118847395787,
        0.8769252753542045,
    ]
    assert rng.generator(0, "problems", 0).integers(0, 1000, 4).tolist() == [963, 749, 43, 324]
