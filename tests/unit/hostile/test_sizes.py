"""Sizes that no machine has: one line with what was asked, how much, and the keys with the largest numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rrl import build
from rrl.capacity import TooLarge, check_room, enough, memory_bytes
from rrl.ranks import Ranks
from rrl.train import run
from tests.child import Ended, in_child
from tests.small import composed
from tests.unit.hostile.test_overrides import leaves

REFUSALS: dict[str, Callable[[], object]] = {
    "torch has no memory": lambda: torch.empty(10**15), "torch's index ends": lambda: torch.empty(10**9, 10**12),
    "torch's numbers end": lambda: torch.zeros(10**25), "numpy has no memory": lambda: np.zeros(10**16),
    "numpy's dimensions end": lambda: np.zeros(10**30), "numpy's bytes end": lambda: np.zeros((10**9, 10**12)),
    "numpy's draws end": lambda: np.random.default_rng(0).integers(10**30), "a list": lambda: [0] * 10**18,
    "Python's index ends": lambda: range(10**30).__len__(), "text": lambda: "a" * 10**18,
}


@pytest.mark.parametrize("name", REFUSALS)
def test_every_way_of_saying_that_memory_ends_is_one_line(name: str) -> None:
    sizes = {"a.small": 3, "a.large": 10**12, "b": {"c": [1, 2], "d": 10**9}, "text": "9" * 30, "true": True}
    named = "^rooms is too large.*largest numbers are a.large=1000000000000, b.d=1000000000, a.small=3: "
    with pytest.raises(TooLarge, match=named) as caught, enough("rooms", sizes):
        REFUSALS[name]()
    assert "\n" not in str(caught.value)


def test_what_was_asked_is_said() -> None:
    asked = r"\(4000000000000000 bytes asked at once; this machine has [\d.]+ [GT]iB\)"
    with pytest.raises(TooLarge, match=asked), enough("x", {}):
        torch.empty(10**15)
    with pytest.raises(TooLarge, match=r"\(71.1 PiB asked at once"), enough("x", {}):
        np.zeros(10**16)


@pytest.mark.parametrize("error", [ValueError("a.b is too large; expected <= 1"), RuntimeError("shapes differ"),
                                   TypeError("x"), KeyError("overflow")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, enough("x", {}):
        raise error
    assert caught.value is error


def test_room_is_what_the_machine_has() -> None:
    check_room(memory_bytes(), "x", {})
    with pytest.raises(TooLarge, match=r"^x needs at least 1 EiB|^x needs at least 1.049e\+06 TiB; .* w=7$"):
        check_room(2.0**60, "x", {"w": 7})


def attempt(folder: Path, *overrides: str) -> Ended:
    """Train with them in a child that has little memory and time."""

    def work() -> None:
        run(composed("warm_start.steps=1", "run.token_budget=1", "run.warm_up.batches=1", *overrides), folder,
            list(overrides), None)

    return in_child(work, more_bytes=3 << 30, seconds=100)


@pytest.mark.parametrize(("override", "key"), [
    ("policy.backbone.width=1000000000", "policy.backbone.width=1000000000"),
    ("policy.backbone.max_positions=1000000000000", "policy.backbone.max_positions=1000000000000"),
    ("run.starts_per_step=1000000000000", "run.starts_per_step=1000000000000"),
    ("run.samples_per_start=1000000000000", "run.samples_per_start=1000000000000"),
    ("policy.backbone.width=99999999999999999999", "width is 99999999999999999999; expected an integer"),
    ("policy.backbone.num_layers=0", "policy.backbone.num_layers is 0; expected >= 1"),
    ("policy.backbone.num_heads=-2", "policy.backbone.num_heads is -2; expected >= 1"),
    ("run.token_budget=9999999999999999999", "run.token_budget is 9999999999999999999; expected an integer >= 1"),
])  # fmt: skip
def test_a_size_that_nobody_has_is_one_line_with_its_key(tmp_path: Path, override: str, key: str) -> None:
    ended = attempt(tmp_path, override)
    assert ended.kind in ("TooLarge", "ValueError"), ended
    assert key in ended.said and "\n" not in ended.said


ODD = ["0", "-1", "1", "1e308", "inf", "-inf", "1000000000000", "9223372036854775807", "-9223372036854775808", "0.5"]


def numbers() -> list[str]:
    """Every key of the default config that holds a number, Hydra's apart."""
    cfg = composed()
    return [key for key in leaves(cfg) if type(OmegaConf.select(cfg, key)) in (int, float)]


@pytest.mark.slow
@settings(max_examples=250)
@given(data=st.data())
def test_any_number_anywhere_trains_or_is_one_line(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    override = f"{data.draw(st.sampled_from(numbers()))}={data.draw(st.sampled_from(ODD))}"
    ended = attempt(tmp_path_factory.mktemp("any"), override)
    fine = ended.kind in ("", "ValueError", "TooLarge", "SIGALRM") or ended.kind.startswith("NonFinite")
    assert fine, (override, ended)   # SIGALRM: it trains, and for long
    assert "\n" not in ended.said, (override, ended)


def test_every_integer_is_one_that_64_bits_hold() -> None:
    for value in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match="expected an integer"):
            build.validate(composed(f"replay.store.slots_per_problem={value}"), Ranks())


@pytest.mark.parametrize(("key", "value", "said"), [("run", "many", "run is 'many'"), ("seed", "one", "seed is 'one'")])
def test_a_group_or_a_seed_that_is_a_text_is_one_line(tmp_path: Path, key: str, value: str, said: str) -> None:
    cfg = composed()
    cfg[key] = value
    with pytest.raises(ValueError, match=f"^{said}; expected"):
        run(cfg, tmp_path, [], None)
    if key == "seed":
        with pytest.raises(ValueError, match=f"^{said}; expected"):
            build.build_task(cfg, tmp_path, Ranks())
