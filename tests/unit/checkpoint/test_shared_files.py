"""Checkpoints of a large store share files, and each is whole by itself whatever becomes of the others."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from rrl import checkpoint, durable, manifest
from rrl.replay import number_files, segments, token_files
from rrl.replay.replay import Replay
from rrl.replay.segments import Turns
from rrl.replay.store import Store
from rrl.saver import remembered
from tests.unit.checkpoint.test_checkpoint import DAMAGE
from tests.unit.replay.builders import a_prefix, a_problem, a_replay, a_store, add, fill, same

PROBLEMS = [a_problem(f"p{i}", solution=(3, 4), answer=f"a{i}", max_response=50) for i in range(5)]


@pytest.fixture(autouse=True)
def all_stores_are_large() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "WHOLE_UP_TO", 0)
        patch.setattr(token_files, "_TOKENS", 40)
        patch.setattr(number_files, "PIECE", 20_000)
        patch.setattr(durable, "sync", lambda path: None)
        yield


def grow(store: Store, generator: np.random.Generator, num: int) -> None:
    for _ in range(num):
        tokens = tuple(generator.integers(1, 60, int(generator.integers(1, 12))).tolist())
        problem = PROBLEMS[int(generator.integers(len(PROBLEMS)))]
        add(store, a_prefix(problem, tokens, value=float(generator.random())), done=float(generator.random()))
    store.problems.converted[0] = (5, int(generator.integers(60)))
    rows, store.step = store.shelf.all_rows(), max(store.step + 1, 0)
    store.write_scores(rows[:3], generator.random(3)[: len(rows)], generator.random(3)[: len(rows)], store.step)


def write(folder: Path, store: Store, turns: Turns, kept: int = 2) -> Path:
    return checkpoint.save(folder, {"store": turns.state(store, threading.RLock(), kept)}, {"step": 1})


def read(folder: Path) -> Any:
    return checkpoint.load(folder)[0]["store"]


def fails(code: int, at: int) -> Callable[..., None]:
    """A system call that fails the ``at``-th time and later."""
    calls = iter(range(10**6))

    def fail(source: Path, target: Path) -> None:
        if next(calls) >= at:
            raise OSError(code, os.strerror(code))
        link(source, target)

    link = os.link
    return fail


STEPS = st.tuples(st.sampled_from(["save", "save", "prune", "copy", "fail", "copies", "resume", "set aside"]),
                  st.integers(0, 12))  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(STEPS, min_size=2, max_size=14), kept=st.integers(1, 3))
def test_every_folder_gives_what_was_saved_whatever_becomes_of_the_others(
    steps: list[tuple[str, int]], kept: int
) -> None:
    def new() -> Store:
        return a_store(slots_per_problem=6, capacity=20, dedup="exact")

    store, turns, generator, expected = new(), Turns(), np.random.default_rng(0), dict[Path, Any]()
    with tempfile.TemporaryDirectory() as scratch:
        grow(store, generator, 8)
        for number, (step, size) in enumerate(steps):
            folder = Path(scratch) / f"step_{number:06d}"
            folders = sorted(expected)
            if step in ("save", "fail", "copies"):
                grow(store, generator, size)
                with pytest.MonkeyPatch.context() as patch:
                    if step != "save":
                        patch.setattr(os, "link", fails(errno.EIO if step == "fail" else errno.EXDEV, size // 3))
                    try:
                        write(folder, store, turns, kept)
                    except OSError:
                        assert step == "fail" and not list(Path(scratch).glob(f"*{durable.BESIDE}"))
                    else:
                        expected[folder] = store.state_dict()
            elif folders and step == "prune":
                durable.remove(folder := folders[size % len(folders)])
                del expected[folder]
            elif folders and step == "copy":
                shutil.copytree(of := folders[size % len(folders)], folder)
                expected[folder] = expected[of]
            elif folders and step == "set aside":
                (of := folders[size % len(folders)]).rename(folder)
                expected[folder] = expected.pop(of)
            elif folders and step == "resume":
                store, turns = new(), Turns()
                store.load_state_dict(read(of := folders[size % len(folders)]))
                assert same(store.state_dict(), expected[of])
            for folder, state in expected.items():
                assert same(read(folder), state)


def test_two_runs_that_go_on_from_one_checkpoint_do_not_disturb_each_other(tmp_path: Path) -> None:
    store, turns = a_store(), Turns()
    grow(store, np.random.default_rng(0), 20)
    begun, state = write(tmp_path / "step_0", store, turns), store.state_dict()
    for name in ("a", "b"):
        one, its = a_store(), Turns()
        one.load_state_dict(read(begun))
        for step in range(4):
            grow(one, np.random.default_rng(step), 3)
            write(tmp_path / name / f"step_{step}", one, its)
        durable.remove(tmp_path / name / "step_2")
        assert same(read(tmp_path / name / "step_3"), one.state_dict())
    assert same(read(begun), state)
    assert same(read(tmp_path / "a" / "step_3"), read(tmp_path / "b" / "step_3"))   # though no file's name is the same


@pytest.mark.parametrize("call", ["link", "sync", "rename"])
def test_a_save_that_fails_leaves_the_earlier_ones_whole_and_the_next_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store, turns = a_store(), Turns()
    grow(store, np.random.default_rng(0), 20)
    before = [write(tmp_path / f"step_{step}", store, turns, kept=1) for step in (0, 1)]
    state = store.state_dict()
    grow(store, np.random.default_rng(1), 3)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="step_2' cannot be written .*No space left"):
        owner = {"link": os, "sync": durable, "rename": Path}[call]
        patch.setattr(owner, call, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        write(tmp_path / "step_2", store, turns, kept=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_0", "step_1"]
    assert all(same(read(folder), state) for folder in before)
    after = write(tmp_path / "step_3", store, turns, kept=1)
    assert same(read(after), store.state_dict())


@pytest.mark.parametrize("how", DAMAGE)
def test_each_file_of_a_large_store_that_is_damaged_is_named_and_the_checkpoint_before_is_used(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, turns, generator = a_store(slots_per_problem=40), Turns(), np.random.default_rng(0)
    grow(store, generator, 30)
    run = tmp_path / "run" / "checkpoints"
    states = list[Any]()
    for step in range(6):
        write(run / f"step_{step:06d}", store, turns)
        states.append(store.state_dict())
        grow(store, generator, 4)
    files = sorted(p.name for p in (run / "step_000005").iterdir())
    assert len([f for f in files if f.startswith("store_")]) >= 10
    assert any((run / "step_000005" / f).stat().st_nlink == 3 for f in files)
    for file in files:
        place = tmp_path / file
        copied_with_links(tmp_path / "run", place)
        DAMAGE[how](place / "checkpoints" / "step_000005" / file)
        caplog.clear()
        found = checkpoint.latest(place)
        assert found.name == "step_000004" and same(read(found), states[4])
        (line,) = [r.getMessage() for r in caplog.records]
        assert line.startswith("checkpoint step_000005 is damaged: ") and file in line
        if file.startswith("store_") and how != "gone":   # in place: so is every one that shares it, by name
            for step in (1, 3):
                folder = place / "checkpoints" / f"step_{step:06d}"
                if (folder / file).exists():
                    with pytest.raises(ValueError, match=f"{folder.name}' is damaged: {file} "):
                        read(folder)
    assert same(read(run / "step_000005"), states[5])


def copied_with_links(source: Path, target: Path) -> None:
    """A copy of a tree in which what was one file is one file again (cp -a)."""
    seen = dict[int, Path]()
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.is_dir():
            there.mkdir(parents=True)
        elif (first := seen.setdefault(path.stat().st_ino, there)) != there:
            os.link(first, there)
        else:
            shutil.copyfile(path, there)


def test_where_there_are_no_links_a_checkpoint_is_the_same_of_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, turns = a_store(), Turns()
    grow(store, np.random.default_rng(0), 20)
    monkeypatch.setattr(os, "link", fails(errno.EPERM, 0))
    for step in range(4):
        folder = write(tmp_path / f"step_{step}", store, turns)
        assert same(read(folder), store.state_dict())
        assert {path.stat().st_nlink for path in folder.iterdir()} == {1}
        grow(store, np.random.default_rng(step), 2)


def test_a_link_that_fails_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    monkeypatch.setattr(os, "link", fails(errno.EIO, 0))
    with pytest.raises(OSError, match="Input/output error"):
        durable.share(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def in_format_2(folder: Path, state: dict[str, Any], meta: dict[str, Any]) -> Path:
    """A checkpoint as it was written before a store had files of its own: leaves by their paths, and no others."""
    tensors = dict[str, torch.Tensor]()

    def split(node: Any, path: str) -> Any:
        if isinstance(node, dict):
            return {name: split(value, f"{path}/{name}") for name, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [split(value, f"{path}/{i}") for i, value in enumerate(node)]
        if isinstance(node, np.ndarray):
            tensors[path] = torch.from_numpy(node.copy())
            return {"__array__": path, "dtype": str(node.dtype)}
        return node

    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(split(state, "")))
    save_file(tensors, folder / "state.safetensors")
    (folder / "meta.json").write_text(json.dumps({"format": 2} | meta, indent=2))
    files = {p.name: {"bytes": p.stat().st_size, "sha256": durable.sha256(p)} for p in sorted(folder.iterdir())}
    (folder / "manifest.json").write_text(json.dumps({"files": files, "sha256": manifest._digest(files)}, indent=2))
    return folder


def a_large_replay() -> Replay:
    replay = a_replay()
    fill(replay, PROBLEMS, [(3, 4, 5, 0), (6, 7, 8, 0)])
    return replay


def test_a_checkpoint_of_format_2_is_read_and_the_run_goes_on_in_format_3(tmp_path: Path) -> None:
    replay, again = a_large_replay(), a_replay()
    old = in_format_2(tmp_path / "checkpoints" / "step_000001", {"replay": replay.state_dict()}, {"step": 1})
    assert checkpoint.latest(tmp_path) == old
    state, meta = checkpoint.load(old)
    assert same(state["replay"], replay.state_dict()) and meta == {"format": 2, "step": 1}
    again.load_state_dict(state["replay"])
    new = checkpoint.save(old.with_name("step_000002"), {"replay": remembered(again, 2)}, {"step": 2})
    assert list(new.glob("store_*")) and not list(old.glob("store_*"))
    assert same(checkpoint.load(new)[0]["replay"], replay.state_dict())
    assert checkpoint.meta_of(new)["format"] == 3


def test_what_grows_is_what_stands_in_a_state_dict(tmp_path: Path) -> None:
    replay = a_large_replay()
    for step in range(5):
        folder = checkpoint.save(tmp_path / f"step_{step}", {"replay": remembered(replay, 2)}, {})
        assert same(checkpoint.load(folder)[0]["replay"], replay.state_dict())
        fill(replay, PROBLEMS, [(20 + step, 4, 5, 0)], step=step)

    class Elsewhere:
        """A replay that knows of no files, such as one behind Ray."""

        state_dict = replay.state_dict

    assert same(remembered(Elsewhere(), 2), replay.state_dict())  # type: ignore[arg-type]
