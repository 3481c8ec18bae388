"""Every experiment trains a few steps and replays where it says so; published algorithms with replay and without."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from rrl import build
from rrl.metrics import CATALOGUE
from rrl.ranks import Ranks
from rrl.saver import first_progress
from rrl.tracker.all import Trackers
from tests.contract.options import CONF, SMALL, composed, node_of, of_a_pretrained_model, options
from tests.contract.test_every_option_trains import train_until, weights
from tests.sameness import Records

WITH_REPLAY = sorted(path.stem for path in (CONF / "experiment").glob("*_rrl.yaml"))
ALGORITHMS = ["dapo", "dr_grpo", "gspo", "grpo", "reinforce_pp", "rloo", "vapo", "vineppo"]


def test_every_published_algorithm_stands_beside_itself_with_replay() -> None:
    assert sorted(f"{name}_rrl" for name in ALGORITHMS) == WITH_REPLAY
    for name in ALGORITHMS:  # nothing but replay tells the two apart
        on = [{"override /replay/schedule": "window"}, {"override /replay/admission": "near_peak"}]
        content = node_of(CONF / "experiment" / f"{name}_rrl.yaml")
        assert content == {"defaults": [name, *on], "name": f"{name}_rrl"}


# Those of pretrained models are built and roll out in tests/config; training them here would be no quick test.
@pytest.mark.parametrize("name", [e for e in options("experiment") if not of_a_pretrained_model(e)])
def test_a_few_steps_train_and_replay_happens_exactly_where_it_is_on(name: str, tmp_path: Path) -> None:
    small = [f"{key}={value}" for key, value in SMALL.items()]
    cfg = composed(f"experiment={name}", *small, f"warm_start.cache_dir={tmp_path}", "run.token_budget=20000")
    replaying = not cfg.replay.schedule._target_.endswith("NoReplay")
    if "first" in cfg.replay.schedule:
        cfg.replay.schedule.first = 0.0  # awake from the first step on
    build.validate(cfg, Ranks())
    house = build.build(cfg, tmp_path, Ranks())
    records, before = Records(Trackers({})), weights(house)
    object.__setattr__(house, "tracker", records)  # frozen for everybody but a test
    train_until(house, 3, first_progress(house.run))

    assert any(not torch.equal(a, b) for a, b in zip(before, weights(house), strict=True))
    for metrics in records.metrics:
        assert not set(metrics) - CATALOGUE.keys()
        assert not [key for key, value in metrics.items() if not math.isfinite(value)]
    assert any(metrics.get("replay/fraction", 0.0) > 0.0 for metrics in records.metrics) == replaying
    assert ("rollout/rounds" in records.metrics[-1]) == (cfg.run.resample_rounds > 0)
