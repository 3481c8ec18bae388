"""Two ways to the same run: repeated, stopped and resumed, with and without replay before its first draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rrl import checkpoint, loop
from rrl.build import House
from rrl.records import Progress
from rrl.saver import Saver, StopRequested, first_progress, restore
from tests.small import small_house


def weights(house: House) -> dict[str, torch.Tensor]:
    return {str(i): p.detach().clone() for i, p in enumerate(house.policy.parameters())}


def train(
    house: House, progress: Progress | None = None, after: Callable[[Progress], None] = lambda p: None
) -> Progress:
    progress = first_progress(house.run) if progress is None else progress
    return loop.train(house, loop.warm_up(house, progress, after), after)


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_same_seed_gives_the_same_run_and_another_seed_does_not(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        house = small_house(tmp_path / name, f"seed={seed}", "replay/schedule=constant")
        train(house)
        runs.append(weights(house))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize("stop_after", [-1, 4])
def test_a_run_stopped_and_resumed_equals_an_unbroken_one(tmp_path: Path, stop_after: int) -> None:
    whole = small_house(tmp_path / "whole", "replay/schedule=constant")
    end = train(whole)

    first = small_house(tmp_path / "first", "replay/schedule=constant")
    saver = Saver(first, tmp_path / "first", {})

    def stop_there(progress: Progress) -> None:
        saver.stop = progress.step == stop_after
        saver.after_step(progress)

    with pytest.raises(StopRequested):
        train(first, after=stop_there)

    second = small_house(tmp_path / "second", "replay/schedule=constant")
    progress = restore(second, checkpoint.latest(tmp_path / "first"))
    assert progress.step == stop_after
    resumed_end = train(second, progress)

    assert resumed_end == end
    assert equal(weights(whole), weights(second))
    assert whole.replay.rows() == second.replay.rows()


def test_ppo_and_rrl_are_equal_bit_for_bit_until_the_first_replay(tmp_path: Path) -> None:
    seen: dict[str, list[tuple[Progress, dict[str, torch.Tensor]]]] = {"none": [], "window": []}
    for schedule, trail in seen.items():
        house = small_house(tmp_path / schedule, f"replay/schedule={schedule}", "run.token_budget=4000")
        train(house, after=lambda p, h=house, t=trail: t.append((p, weights(h))))
    for (ppo, w_ppo), (rrl, w_rrl) in zip(seen["none"], seen["window"], strict=False):
        if rrl.done_frac > 0.3:
            break
        assert ppo == rrl and equal(w_ppo, w_rrl)
    assert rrl.step > 3  # so the loop above compared real updates
    assert not equal(seen["none"][-1][1], seen["window"][-1][1])


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    house = small_house(tmp_path / "run")
    Saver(house, tmp_path / "run", {"policy": "tiny"}).save(first_progress(house.run))
    other = small_house(tmp_path / "other", "policy.backbone.width=16")
    with pytest.raises(ValueError, match="does not fit this run's policy"):
        restore(other, checkpoint.latest(tmp_path / "run"))
