"""Stopped at any step of any epoch and resumed, a run of every option and every arm is the unbroken one to the bit.

``test_every_option_trains`` asks the same of one step of each option in the default set. Here each run passes several
epochs of its problems, and is resumed from every step to the end: what a checkpoint forgets may show late only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from rrl import build
from rrl.build import House
from rrl.ranks import Ranks
from rrl.saver import Saver, first_progress, restore
from tests.contract.bench import Bench
from tests.contract.options import EVERY_OPTION, SMALL, composed, of_a_pretrained_model, options
from tests.contract.test_every_option_trains import REPLAYING, train_until
from tests.sameness import Records, differing, state_of, timeless

LAST = 5
# Two warm-up steps, so that a stop falls between them; 12 starts, so that an epoch of 16 problems ends inside a step.
CHANGES = ("run.warm_up.batches=2", "run.starts_per_step=12")


def recorded(house: House) -> tuple[House, Records]:
    records = Records(house.tracker)
    return dataclasses.replace(house, tracker=records), records


def resumed_everywhere(new_house: Callable[[], House], folder: Path, last: int, stops: range) -> None:
    """Run to step ``last``, saving every step; then from the checkpoint of each of ``stops`` once more to ``last``."""
    whole, told = recorded(new_house())
    whole.run.keep_checkpoints = 100
    begin = first_progress(whole.run)
    end = train_until(whole, last, begin, Saver(whole, folder, {}))
    expected, records = state_of(whole, end), [timeless(metrics) for metrics in told.metrics]
    told.inner.close("finished")
    for stop in stops:
        again, retold = recorded(new_house())
        progress = restore(again, folder / "checkpoints" / f"step_{stop:06d}")
        assert train_until(again, last, progress) == end, stop
        assert not differing(expected, state_of(again, end)), stop
        assert [timeless(m) for m in retold.metrics] == records[stop - begin.step :], stop
        retold.inner.close("finished")


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), EVERY_OPTION, ids=[f"{g}={o}" for g, o in EVERY_OPTION])
def test_an_option_resumes_from_every_step(bench: Bench, group: str, option: str) -> None:
    changes = CHANGES if group == "replay/schedule" else (*CHANGES, REPLAYING)
    if option == "vine_mc":  # its tries are sampled tokens too, and would use up the budget before the last step
        changes = (*changes, "run.token_budget=20000")
    resumed_everywhere(lambda: bench.new_house(group, option, *changes), bench.new_folder(), LAST, range(-1, LAST))


@pytest.mark.slow
@pytest.mark.parametrize("name", [e for e in options("experiment") if not of_a_pretrained_model(e)])
def test_an_arm_resumes_from_the_middle(name: str, tmp_path: Path) -> None:
    small = [f"{key}={value}" for key, value in SMALL.items()]
    cfg = composed(f"experiment={name}", *small, f"warm_start.cache_dir={tmp_path}", "run.token_budget=20000", *CHANGES)
    if "first" in cfg.replay.schedule:
        cfg.replay.schedule.first = 0.0
    build.validate(cfg, Ranks())
    resumed_everywhere(lambda: build.build(cfg, tmp_path, Ranks()), tmp_path / "run", 4, range(2, 3))


def test_a_run_of_several_epochs_resumes_in_each_of_them(bench: Bench) -> None:
    # Step t asks from position 12 t of permutations of 16 problems: steps 1, 3 and 4 begin in epochs 0, 2 and 3.
    house = bench.house("problems", "epoch")
    assert len(house.task.train_problems()) == 16
    folder = bench.new_folder()
    resumed_everywhere(
        lambda: bench.new_house("problems", "epoch", *CHANGES, REPLAYING), folder, LAST, range(1, LAST)
    )
