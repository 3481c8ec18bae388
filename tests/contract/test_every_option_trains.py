"""Every option of every group trains: two steps, finite metrics of known names, and a resume that changes nothing."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from rrl import loop
from rrl.build import House
from rrl.metrics import CATALOGUE
from rrl.records import Progress
from rrl.saver import Saver, first_progress, restore
from tests.contract.bench import Bench
from tests.contract.options import EVERY_OPTION
from tests.sameness import Records, differing, state_of, timeless

# Replay from the first step on, except where the schedule is what is tried.
REPLAYING = "replay/schedule=constant"


class Enough(Exception):
    """Two steps are done."""


def weights(house: House) -> list[torch.Tensor]:
    return [p.detach().clone() for p in house.policy.parameters()]


def train_until(house: House, last: int, progress: Progress, saver: Saver | None = None) -> Progress:
    """Train up to step ``last``, saving after every step."""
    where = [progress]

    def after(progress: Progress) -> None:
        where[0] = progress
        if saver is not None:
            saver.save(progress)
        if progress.step == last:
            raise Enough

    with pytest.raises(Enough):
        loop.train(house, loop.warm_up(house, progress, after), after)
    return where[0]


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION, ids=[f"{g}={o}" for g, o in EVERY_OPTION])
def test_two_steps_train_and_the_second_is_the_same_after_a_resume(bench: Bench, group: str, option: str) -> None:
    changes = () if group == "replay/schedule" else (REPLAYING,)
    house = bench.new_house(group, option, *changes)
    records = Records(house.tracker)
    house = dataclasses.replace(house, tracker=records)
    folder, before = bench.new_folder(), weights(house)
    end = train_until(house, 2, first_progress(house.run), Saver(house, folder, {}))
    house.tracker.log(end, house.evaluate.now(end))
    house.tracker.inner.close("finished")

    assert any(not torch.equal(a, b) for a, b in zip(before, weights(house), strict=True))
    assert len(records.metrics) == 4  # one warm-up step, two steps, the last evaluation
    for metrics in records.metrics:
        assert not set(metrics) - CATALOGUE.keys()
        assert not [name for name, value in metrics.items() if not math.isfinite(value)]

    resumed = bench.new_house(group, option, *changes)
    progress = restore(resumed, folder / "checkpoints" / "step_000001")
    assert progress.step == 1
    again = Records(resumed.tracker)
    resumed = dataclasses.replace(resumed, tracker=again)
    assert train_until(resumed, 2, progress) == end
    assert not differing(state_of(house, end), state_of(resumed, end))
    assert [timeless(metrics) for metrics in again.metrics] == [timeless(records.metrics[2])]
    again.inner.close("finished")
