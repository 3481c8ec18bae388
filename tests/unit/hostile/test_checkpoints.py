"""Checkpoints that somebody changed and sealed again: one line with the folder; nothing outside, no wait, no crash."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from rrl import checkpoint, loop, manifest
from rrl.build import House
from rrl.records import Progress
from rrl.saver import Saver, first_progress, restore
from rrl.stored import plain_config
from tests.child import Ended, in_child
from tests.small import composed, small_house

MEMORY = 1 << 30
FEW = ("run.token_budget=2500", "run.warm_up.batches=1", "warm_start.steps=1", "evaluate.every_steps=1000")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return small_house(tmp_path_factory.mktemp("hostile") / "run", *FEW)


@pytest.fixture(scope="module")
def whole(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the checkpoint of its last step, of which the store holds some states."""
    run = tmp_path_factory.mktemp("whole") / "run"
    saver = Saver(house, run, plain_config(composed(*FEW)))

    def nothing(_: Progress) -> None:
        pass

    progress = loop.train(house, loop.warm_up(house, first_progress(house.run), nothing), nothing)
    saver.save(progress)
    assert house.replay.rows()
    return checkpoint.latest(run)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return copied(whole, tmp_path)


def copied(whole: Path, tmp: Path) -> Path:
    shutil.rmtree(tmp / "run", ignore_errors=True)
    return Path(shutil.copytree(whole.parent.parent, tmp / "run")) / "checkpoints" / whole.name


def files(folder: Path) -> list[Path]:
    """Every file of a checkpoint, however it is laid out."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def use(house: House, folder: Path) -> None:
    """Restore it, and ask of the replay what a next step asks."""
    progress = restore(house, folder)
    house.replay.rows()
    house.replay.draw(progress, 8)
    checkpoint.prune(folder.parent.parent, 2, "eval/hard_success")


def outcome(house: House, folder: Path) -> Ended:
    return in_child(lambda: use(house, folder), more_bytes=MEMORY, seconds=60)


def refused(house: House, folder: Path) -> str:
    ended = outcome(house, folder)
    assert ended.kind == "ValueError" and "\n" not in ended.said and str(folder) in ended.said, ended
    assert len(ended.said) < 1200
    return ended.said


def test_the_checkpoint_itself_is_used(house: House, folder: Path) -> None:
    assert outcome(house, folder) == Ended("", "")


# ------------------------------------------------------------------------------------------ not as it was written


@settings(max_examples=40)
@given(at=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), which=st.integers(0, 99), cut=st.booleans())
def test_a_changed_or_cut_file_is_named(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, at: float, change: int, which: int, cut: bool
) -> None:
    folder = copied(whole, tmp_path_factory.mktemp("flip"))
    path = files(folder)[which % len(files(folder))]
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    data[place] ^= change
    path.write_bytes(data[:place] if cut else data)
    try:
        checkpoint.load(folder)
    except ValueError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert path.name in ("meta.json", manifest.NAME), "a change that nobody saw"   # a space in either says the same
        assert json.loads(bytes(data)) == json.loads((whole / path.name).read_bytes()) or path.name == manifest.NAME


@pytest.mark.parametrize("kind", ["link", "link inside", "pipe", "folder", "nothing", "empty"])
def test_what_stands_in_a_files_place_is_named_and_never_followed(
    house: House, whole: Path, tmp_path: Path, kind: str
) -> None:
    for path in files(whole):
        folder = copied(whole, tmp_path)
        here = folder / path.relative_to(whole)
        content = here.read_bytes()
        here.unlink()
        if kind == "link":
            (tmp_path / "secret").write_bytes(content)   # with the right contents: only that it is a link is wrong
            here.symlink_to(tmp_path / "secret")
        elif kind == "link inside":
            here.with_name("other").write_bytes(content)
            here.symlink_to("other")
        elif kind == "pipe":
            os.mkfifo(here)
        elif kind == "folder":
            here.mkdir()
        elif kind == "empty":
            here.touch()
        refused(house, folder)


# ------------------------------------------------------------------------------------------ sealed again


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    manifest.seal(folder)


def text(name: str, said: str | bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(said if isinstance(said, bytes) else said.encode())
        manifest.seal(folder)

    return change


def key(name: str, dotted: str, value: Any) -> Callable[[Path], None]:
    """Set one value of a JSON; None removes it."""

    def change(node: Any) -> Any:
        *path, last = dotted.split("/")
        inner = node
        for part in path:
            inner = inner[part]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
        return node

    return lambda folder: rewrite(folder, name, change)


def tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        save_file(change(load_file(folder / "state.safetensors")), folder / "state.safetensors")
        manifest.seal(folder)

    return run


def one(ending: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Change the tensors whose place ends so."""
    return tensors(lambda held: {
        n: np.ascontiguousarray(change(a)) if n.endswith(ending) else a for n, a in held.items()})   # fmt: skip


def names(*more: str) -> Callable[[Path], None]:
    """A manifest that names other places, with a digest of its own."""

    def change(folder: Path) -> None:
        said = json.loads((folder / manifest.NAME).read_text())
        said["files"] |= {name: {"bytes": 1, "sha256": ""} for name in more}
        said["sha256"] = manifest._digest(said["files"])
        (folder / manifest.NAME).write_text(json.dumps(said))

    return change


DEEP = "[" * 10_000 + "]" * 10_000
HOSTILE: dict[str, Callable[[Path], None]] = {
    **{f"{what} in {name}": text(name, said) for name in ("meta.json", "state.json") for what, said in {
        "nothing": "", "a list": "[]", "a number": "7", "deep nesting": DEEP, "deep objects": '{"a":' * 10_000,
        "a key twice": '{"format": 2, "format": 2, "policy": {}, "policy": {}}', "bytes": b"\xff\xfe\x00",
        "a number of 5,000 digits": '{"format": ' + "1" * 5000 + "}", "infinity": '{"format": Infinity}',
    }.items()},
    "another format": key("meta.json", "format", 99),
    "a format that is a list": key("meta.json", "format", [2]),
    "a step as text": key("meta.json", "step", "7"),
    "a step of 2^70": key("meta.json", "step", 2**70),
    "seconds that are not a number": key("meta.json", "seconds", float("nan")),
    "tokens that are a truth": key("meta.json", "sampled_tokens", True),
    "a config that is a list": key("meta.json", "config", []),
    "measured numbers that are a list": key("meta.json", "measured", [1]),
    "no policy": key("state.json", "policy", None),
    "a policy that is a list": key("state.json", "policy", [1, 2]),
    "a replay that is a text": key("state.json", "replay", "x"),
    "no progress": key("state.json", "progress", None),
    "progress that is a number": key("state.json", "progress", 1),
    "a step of progress as text": key("state.json", "progress/step", "1"),
    "tokens of progress that are infinite": key("state.json", "progress/sampled_tokens", float("inf")),
    "a field that progress has not": key("state.json", "progress/evil", 1),
    "a history of numbers": key("state.json", "progress/history", [1, 2]),
    "a history that is an object": key("state.json", "progress/history", {"a": 1}),
    "a peak that is a list": key("state.json", "progress/peak", [1]),
    "a tensor that is not there": key("state.json", "policy", {"__tensor__": "/nowhere"}),
    "a tensor named by a list": key("state.json", "policy", {"__tensor__": [1]}),
    "an array of objects": key("state.json", "policy", {"__array__": "/policy", "dtype": "O"}),
    "tensors without a name that is asked for": tensors(lambda t: dict(list(t.items())[1:])),
    "tensors of another shape": tensors(lambda t: {n: np.zeros((2, *a.shape), a.dtype) for n, a in t.items()}),
    "tensors without rows": tensors(lambda t: {n: np.zeros(0, a.dtype) for n, a in t.items()}),
    "tensors of another type": tensors(lambda t: {n: a.astype(np.int8) for n, a in t.items()}),
    "a column of one row too many dimensions": one("shelf/columns/conversions", lambda a: a[None]),
    "a column that is short": one("shelf/columns/value", lambda a: a[:-1]),
    "a column of not-a-numbers": one("problems/columns/root_success", lambda a: np.full_like(a, np.nan)),
    "a column of infinities": one("shelf/columns/value", lambda a: np.full_like(a, np.inf)),
    "tokens cut short": one("shelf/tokens", lambda a: a[:-1]),
    "lengths below zero": one("shelf/columns/length", lambda a: np.full_like(a, -1)),
    "states of no status": one("shelf/columns/status", lambda a: np.full_like(a, 9)),
    "states of no problem": one("shelf/columns/problem", lambda a: np.full_like(a, 10**6)),
    "problems that ask nothing": one("problems/owners", lambda a: a[:0]),
    "prompts below zero": one("problems/prompt/tokens", lambda a: np.full_like(a, -1)),
    "moments of another shape": one("learner/exp_avg_sq/0", lambda a: a.ravel()[:1]),
    "moments that are integers": one("learner/exp_avg/0", lambda a: a.astype(np.int16)),
    "a parameter of one number": one("value/parameters/1", lambda a: a.ravel()[:1]),
    "no tensors": tensors(lambda _: {"x": np.zeros(1, np.float32)}),
    "tensors that are no tensors": text("state.safetensors", b"\xff" * 8 + b"{}"),
    "a name that climbs": names("../../../secret"),
    "a name from the root": names("/etc/passwd"),
    "a file that is not there": names("more.json"),
}   # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_that_was_sealed_again_is_one_line(house: House, folder: Path, name: str) -> None:
    HOSTILE[name](folder)
    refused(house, folder)


VALUES: list[Any] = [None, True, -1, 0, 2**40, 2**70, 0.5, float("nan"), float("inf"), "", "x", [], [1], {}, {"a": 1}]


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(leaf for name, child in inner for leaf in leaves(child, (*path, name)))] if path else [
        leaf for name, child in inner for leaf in leaves(child, (name,))]   # fmt: skip


def mutated(folder: Path, seed: int) -> str:
    """Change one value of the state's JSON, or one tensor, in a way that ``seed`` says; what was changed."""
    draw = random.Random(seed)
    if draw.random() < 0.5:
        state = json.loads((folder / "state.json").read_text())
        *path, last = draw.choice(leaves(state))
        inner = state
        for part in path:
            inner = inner[part]
        inner[last] = draw.choice(VALUES)
        (folder / "state.json").write_text(json.dumps(state))
        manifest.seal(folder)
        return f"{path} {last} = {inner[last]}"
    held = load_file(folder / "state.safetensors")
    name = draw.choice([name for name in sorted(held) if "replay" in name or draw.random() < 0.2])
    old = held[name]
    how = draw.choice(["shape", "longer", "shorter", "high", "low", "nan", "type", "empty"])
    high, low = (np.inf, -np.inf) if old.dtype.kind == "f" else (2**62, -1)
    new = {
        "shape": old[None], "longer": np.concatenate([old.ravel(), old.ravel()[:1]]), "shorter": old.ravel()[:-1],
        "high": np.full(old.shape, high).astype(old.dtype), "low": np.full(old.shape, low).astype(old.dtype),
        "nan": np.full(old.shape, np.nan, np.float32), "type": old.astype(np.int16), "empty": old.ravel()[:0],
    }[how]   # fmt: skip
    held[name] = np.ascontiguousarray(new)
    save_file(held, folder / "state.safetensors")
    manifest.seal(folder)
    return f"{name} {how}"


def check_mutation(house: House, whole: Path, tmp: Path, seed: int) -> None:
    folder = copied(whole, tmp)
    what = mutated(folder, seed)
    ended = outcome(house, folder)
    assert ended.kind in ("", "ValueError"), (what, ended)
    assert "\n" not in ended.said and (not ended.kind or str(folder) in ended.said), (what, ended)


def test_one_changed_value_of_the_state_is_borne_or_one_line(house: House, whole: Path, tmp_path: Path) -> None:
    for seed in range(25):
        check_mutation(house, whole, tmp_path, seed)


@pytest.mark.slow
def test_many_changed_values_of_the_state_are_borne_or_one_line(house: House, whole: Path, tmp_path: Path) -> None:
    for seed in range(25, 1500):
        check_mutation(house, whole, tmp_path, seed)
