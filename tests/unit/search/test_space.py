"""A search's YAML: what it may say, what it asks of Optuna, and that the W&B file beside it is the same search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FixedTrial

from rrl import build
from rrl.metrics import CATALOGUE
from rrl.ranks import Ranks
from rrl.search.cli import main, wandb_text
from rrl.search.space import Axis, first_point, read_space, suggest, wandb_sweep
from rrl.search.trials import composed

ROOT = Path(__file__).parents[3]
SEARCHES = sorted((ROOT / "sweeps" / "search").glob("*.yaml"))
GOOD = {"metric": "eval/hard_success", "goal": "maximize", "num_trials": 2, "seed": 0, "folder": "x", "overrides": [],
        "space": {"learner.lr": {"log_uniform": [1e-4, 1e-2]}}}  # fmt: skip


@pytest.mark.parametrize("path", SEARCHES, ids=lambda p: p.stem)
def test_a_search_varies_keys_that_exist_between_values_that_are_allowed(path: Path) -> None:
    space = read_space(path)
    assert space.metric in CATALOGUE and space.num_trials >= 2
    last = [f"{axis.key}={axis.values[-1]}" for axis in space.axes]
    for point in (first_point(space.axes), last):
        build.validate(composed([*space.overrides, *point]), Ranks())


@pytest.mark.parametrize("path", SEARCHES, ids=lambda p: p.stem)
def test_the_wandb_file_is_the_same_search(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space, beside = read_space(path), ROOT / "sweeps" / "wandb" / path.name
    assert beside.read_text() == wandb_text(space), f"rrl-search {path.stem} --wandb > sweeps/wandb/{path.name}"
    written = yaml.safe_load(beside.read_text())
    assert written == wandb_sweep(space) and set(written["parameters"]) == {axis.key for axis in space.axes}
    assert main([path.stem, "--wandb", "--searches", str(path.parent)]) == 0
    assert capsys.readouterr().out == beside.read_text()


def test_each_kind_of_axis_has_its_wandb_distribution() -> None:
    space = read_space(SEARCHES[0])._replace(overrides=("experiment=rrl", "tracker=[jsonl]"), axes=(
        Axis("a", "uniform", (0, 1)), Axis("b", "log_uniform", (0.1, 1)), Axis("c", "int", (1, 4)),
        Axis("d", "log_int", (1, 64)), Axis("e", "choice", ("x", "y")),
    ))  # fmt: skip
    sweep = wandb_sweep(space)
    assert sweep["parameters"] == {
        "a": {"distribution": "uniform", "min": 0, "max": 1},
        "b": {"distribution": "log_uniform_values", "min": 0.1, "max": 1},
        "c": {"distribution": "int_uniform", "min": 1, "max": 4},
        "d": {"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 1},
        "e": {"values": ["x", "y"]},
    }
    assert sweep["command"] == ["${env}", "rrl-train", "experiment=rrl", "tracker=[jsonl,wandb]", "${args_no_hyphens}"]


def test_a_trials_overrides_are_what_the_sampler_says_with_four_digits() -> None:
    axes = (Axis("lr", "log_uniform", (1e-4, 1.0)), Axis("n", "int", (1, 9)),
            Axis("replay/selection", "choice", ("gap", "plr")))  # fmt: skip
    trial = FixedTrial({"lr": 0.00123456, "n": 3, "replay/selection": "plr"})
    assert suggest(trial, axes) == ["lr=0.001235", "n=3", "replay/selection=plr"]
    assert first_point(axes) == ["lr=0.0001", "n=1", "replay/selection=gap"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"goal": "max"}, "goal is 'max'; expected maximize or minimize"),
    ({"trials": 3}, "expected exactly: metric, goal, num_trials, seed, folder, overrides, space"),
    ({"space": {"a": [1, 2]}}, "space.a is [1, 2]; expected one of uniform, log_uniform, int, log_int, choice"),
    ({"space": {"a": {"normal": [1, 2]}}}, "space.a is {'normal': [1, 2]}; expected one of uniform"),
    ({"space": {"a": {"uniform": [2, 1]}}}, "space.a.uniform is [2, 1]; expected [low, high] with low < high"),
    ({"space": {"a": {"log_uniform": [0, 1]}}}, "expected [low, high] with low < high, low > 0"),
    ({"space": {"a": {"int": [1, 2.5]}}}, "space.a.int is [1, 2.5]"),
    ({"space": {"a": {"choice": "x,y"}}}, "space.a.choice is x,y; expected a list"),
])  # fmt: skip
def test_a_wrong_search_is_refused_by_file_and_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    with pytest.raises(ValueError) as error:
        read_space(path)
    assert str(error.value).startswith(str(path)) and words in str(error.value)
