"""``make`` fits every value to its annotation, hands in runtime objects by name, and complains by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from rrl import build
from rrl.build import make, validate
from rrl.ranks import Ranks
from tests.small import composed


class Inner:
    def __init__(self, *, size: int) -> None:
        self.size = size


class Outer:
    def __init__(
        self,
        *,
        seed: int,
        rate: float,
        name: str,
        flag: bool,
        sizes: tuple[int, ...],
        names: list[str],
        mode: Literal["a", "b"],
        limit: int | None,
        path: Path,
        inner: Inner,
        many: dict[str, Inner],
    ) -> None:
        self.everything = locals()


HERE = f"{__name__}"
GOOD: dict[str, Any] = {
    "_target_": f"{HERE}.Outer", "rate": 1, "name": "x", "flag": True, "sizes": [1, 2], "names": ["p"], "mode": "b",
    "limit": None, "path": "a/b", "inner": {"_target_": f"{HERE}.Inner", "size": 3},
    "many": {"left": {"_target_": f"{HERE}.Inner", "size": 4}},
}  # fmt: skip


def test_values_become_what_the_annotations_say_and_nested_nodes_are_built_first() -> None:
    made = make(OmegaConf.create(GOOD), "outer", seed=7, unused="nobody asks for it").everything
    assert made["seed"] == 7
    assert (made["rate"], type(made["rate"])) == (1.0, float)
    assert made["sizes"] == (1, 2) and made["names"] == ["p"]
    assert made["limit"] is None and made["path"] == Path("a/b")
    assert made["inner"].size == 3 and made["many"]["left"].size == 4


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("rate", "1e-5", 1e-5), ("rate", 0.5, 0.5), ("limit", 4, 4), ("sizes", [], ()),
        ("many", {}, {}), ("mode", "a", "a"),
    ],
)  # fmt: skip
def test_values_that_fit(name: str, value: Any, fits: Any) -> None:
    assert make(GOOD | {name: value}, "outer", seed=0).everything[name] == fits


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rate", "abc", "outer.rate is 'abc'; expected a number"),
        ("rate", True, "outer.rate is True; expected a number"),
        ("rate", None, "outer.rate is None; expected a number"),
        ("name", 3, "outer.name is 3; expected text"),
        ("flag", 1, "outer.flag is 1; expected true or false"),
        ("flag", "yes", "outer.flag is 'yes'; expected true or false"),
        ("sizes", 3, r"outer.sizes is 3; expected tuple\[int, ...\]"),
        ("sizes", [1, 2.5], r"outer.sizes\[1\] is 2.5; expected an integer"),
        ("names", [1], r"outer.names\[0\] is 1; expected text"),
        ("mode", "c", "outer.mode is 'c'; expected one of: 'a', 'b'"),
        ("limit", 1.5, r"outer.limit is 1.5; expected int \| None"),
        ("inner", 3, "outer.inner is 3; expected Inner"),
        ("inner", {"_target_": f"{HERE}.Inner", "size": "x"}, "outer.inner.size is 'x'; expected an integer"),
        ("many", {"left": 3}, "outer.many.left is 3; expected Inner"),
    ],
)
def test_values_that_do_not_fit_are_named_with_their_key_and_what_was_expected(
    name: str, value: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make(GOOD | {name: value}, "outer", seed=0)


def test_unknown_and_missing_arguments_are_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"outer.typo is not an argument of Outer; expected one of: rate, name, flag,"):
        make(GOOD | {"typo": 1}, "outer", seed=0)
    with pytest.raises(ValueError, match="outer.rate is missing; Outer needs: seed, rate,"):
        make({k: v for k, v in GOOD.items() if k != "rate"}, "outer", seed=0)
    with pytest.raises(ValueError, match="outer.seed is missing"):
        make(GOOD, "outer")


def test_a_config_value_beats_a_runtime_object_of_the_same_name() -> None:
    assert make(GOOD | {"seed": 3}, "outer", seed=0).everything["seed"] == 3


def test_a_node_without_a_target_or_with_one_that_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(ValueError, match="outer has no _target_; expected an option of that group"):
        make({"rate": 1}, "outer")
    with pytest.raises(ValueError, match="outer._target_ is 'rrl.nowhere.Thing', which cannot be loaded"):
        make({"_target_": "rrl.nowhere.Thing"}, "outer")


def test_check_finds_a_wrong_value_anywhere_in_a_config_without_building_anything() -> None:
    build.check({"deep": {"er": GOOD}})
    with pytest.raises(ValueError, match="deep.er.inner.size is 'x'"):
        build.check({"deep": {"er": GOOD | {"inner": {"_target_": f"{HERE}.Inner", "size": "x"}}}})


class ManyRanks(Ranks):
    def __init__(self) -> None:
        self.size, self.rank, self._opened = 64, 0, False


def test_a_batch_smaller_than_the_number_of_ranks_is_refused() -> None:
    said = r"run.starts_per_step is 32; expected an integer >= 64 \(the number of ranks is 64\)"
    with pytest.raises(ValueError, match=said):
        validate(composed(), ManyRanks())
    with pytest.raises(ValueError, match=r"run.warm_up.starts is 32; .* \(the number of ranks is 64\)"):
        validate(composed("run.starts_per_step=64"), ManyRanks())
    validate(composed("run.starts_per_step=64", "run.warm_up.starts=64"), ManyRanks())


def test_cheap_rooms_complain_before_the_warm_start_runs(tmp_path: Path) -> None:
    cfg = composed("replay.store.capacity=0", f"warm_start.cache_dir={tmp_path / 'cache'}")
    with pytest.raises(ValueError, match="replay.store.capacity is 0"):
        build.build(cfg, tmp_path, Ranks())
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["a/b", "../../up", "5", "null", "''", "n" * 101, "'a\tb'", "[a,b]"])
def test_a_name_that_would_be_another_folder_or_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="^name is .*; expected a text of 1 to 100 characters"):
        validate(composed(f"name={name}"), Ranks())


@pytest.mark.parametrize("name", ["rrl", "'[red] x'", "'a b%{}'", "'\u6f22'", "\"'5'\""])
def test_other_names_are_the_users(name: str) -> None:
    validate(composed(f"name={name}"), Ranks())
