"""A checkpoint gives back what was put in, appears whole or not at all, and damage is known by the file's name."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rrl import checkpoint, manifest

STATE: dict[str, Any] = {
    "weights": [torch.arange(6, dtype=torch.float32).view(2, 3), torch.tensor([1.5], dtype=torch.float64)],
    "bits": torch.tensor([True, False]), "whole": torch.tensor(7), "half": torch.tensor([0.1], dtype=torch.bfloat16),
    "ints": np.array([-1, 2**40]), "small": np.array([1, 255], dtype=np.uint8),
    "big": np.array([2**63 + 1], dtype=np.uint64),
    "flags": np.array([True, False]), "short": np.array([0.1, -2.0], dtype=np.float32),
    "names": np.array(["a", "b\u00e4"]),
    "none": None, "yes": True, "int": 2**60, "float": 0.1, "text": "x/y", "empty": {}, "list": [],
    "no_rows": np.zeros((0, 3)),
    "deep": {"er": [{"x": torch.zeros(0)}, [1, 2.5, None]]}, "scalar": np.float64(0.25), "tuple": (1, 2),
}  # fmt: skip


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype.kind == right.dtype.kind
            and left.shape == right.shape
            and (left.dtype == right.dtype or left.dtype.kind == "U")
            and np.array_equal(left, right)
        )
    return bool(left == right) and type(right) in (type(left), float)


def test_every_kind_of_leaf_comes_back_with_its_type_and_value(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "step_000001", STATE, {"config": {"seed": 0}, "step": 1})
    state, meta = checkpoint.load(tmp_path / "step_000001")
    for key, value in STATE.items():
        assert same(value, state[key]), key
    assert meta == {"format": checkpoint.FORMAT, "config": {"seed": 0}, "step": 1}


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path / "step_000001", STATE, {})
    assert {p.name for p in folder.iterdir()} == {"state.safetensors", "state.json", "meta.json", "manifest.json"}


def test_tensors_that_share_memory_or_are_views_are_saved_as_values(tmp_path: Path) -> None:
    base = torch.arange(4.0)
    folder = checkpoint.save(
        tmp_path / "step_000001", {"a": base, "b": base, "c": base[1:3], "t": base.view(2, 2).T}, {}
    )
    state, _ = checkpoint.load(folder)
    assert torch.equal(state["a"], state["b"]) and state["c"].tolist() == [1.0, 2.0]
    assert state["t"].tolist() == [[0.0, 2.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a": {"b/c": 1}}, "state key 'b/c' at /a"),
        ({"__tensor__": 1}, "state key '__tensor__' at the top"),
        ({"a": {1: 2}}, "state key 1 at /a"),
        ({"a": {3}}, "state at /a is a set; expected tensors, arrays, text, numbers"),
        ({"a": np.array([1 + 2j])}, "state at /a is an array of complex128"),
        ({"a": np.array([object()])}, "state at /a is an array of object"),
    ],
)
def test_what_cannot_be_saved_is_named_with_its_place(tmp_path: Path, state: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checkpoint.save(tmp_path / "step_000001", state, {})
    assert not (tmp_path / "step_000001").exists()


def test_a_save_that_fails_half_way_leaves_the_old_checkpoint_as_it_was(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path / "step_000001", {"x": 1}, {})
    with pytest.raises(TypeError):
        checkpoint.save(folder, {"x": 2}, {"not json": object()})
    assert checkpoint.load(folder)[0] == {"x": 1}
    assert (tmp_path / "step_000001.tmp").is_dir()  # what a kill leaves behind ...
    assert checkpoint.save(folder, {"x": 3}, {}) == folder  # ... is in nobody's way
    assert checkpoint.load(folder)[0] == {"x": 3} and not (tmp_path / "step_000001.tmp").exists()


def save_steps(run: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save(run / "checkpoints" / f"step_{step:06d}", {"step": step}, {"step": step})


def kept(run: Path) -> list[int]:
    return sorted(int(p.name[5:]) for p in (run / "checkpoints").iterdir())


def test_the_newest_is_the_one_with_the_largest_step_negative_ones_first(tmp_path: Path) -> None:
    save_steps(tmp_path, -30, 0, 99, -5, 100)
    assert checkpoint.latest(tmp_path).name == "step_000100"
    save_steps(tmp_path, 1_000_000)
    assert checkpoint.latest(tmp_path).name == "step_1000000"
    assert checkpoint.latest(tmp_path / "checkpoints" / "step_-00005").name == "step_-00005"  # a folder names itself


def test_unfinished_checkpoints_are_not_counted(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    (tmp_path / "checkpoints" / "step_000002.tmp").mkdir()
    (tmp_path / "checkpoints" / "step_000003").mkdir()
    assert checkpoint.latest(tmp_path).name == "step_000001"


def test_prune_keeps_the_first_after_warm_up_and_the_newest(tmp_path: Path) -> None:
    save_steps(tmp_path, -30, -20)
    checkpoint.prune(tmp_path, 1)
    assert kept(tmp_path) == [-30, -20]  # before step 0 the very first one
    save_steps(tmp_path, 0, 100, 200)
    checkpoint.prune(tmp_path, 2)
    assert kept(tmp_path) == [0, 100, 200]
    checkpoint.prune(tmp_path, 5)
    assert kept(tmp_path) == [0, 100, 200]
    checkpoint.prune(tmp_path, 1)
    assert kept(tmp_path) == [0, 200]


def test_prune_keeps_the_best_too_and_links_it(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step, solved in ((0, 0.1), (10, 0.7), (20, None), (30, 0.7), (40, 0.2), (50, 0.3)):
        measured = {} if solved is None else {"eval/hard_success": solved}
        checkpoint.save(folder / f"step_{step:06d}", {"step": step}, {"step": step, "measured": measured})
        checkpoint.prune(tmp_path, 1, "eval/hard_success")
    assert sorted(p.name for p in folder.iterdir()) == ["best", "step_000000", "step_000010", "step_000050"]
    assert checkpoint.load(folder / "best")[0] == {"step": 10}  # the earliest of equals
    assert checkpoint.latest(folder / "best") == folder / "best"
    (folder / "step_000010" / "meta.json").write_text("{")
    checkpoint.prune(tmp_path, 1, "eval/hard_success")  # what cannot be read is not the best
    assert sorted(p.name for p in folder.iterdir()) == ["best", "step_000000", "step_000050"]
    assert checkpoint.load(folder / "best")[0] == {"step": 50}


def test_prune_clears_what_saves_and_deletions_left_that_were_cut_short(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    (folder / "step_000002.tmp").mkdir()
    (folder / "step_000002.tmp" / "state.json").write_text("{")
    (folder / "step_000000.old.tmp").mkdir()
    (folder / "best.tmp").symlink_to("step_000001")
    checkpoint.prune(tmp_path, 1)
    assert [p.name for p in folder.iterdir()] == ["step_000001"]


def test_checkpoints_of_another_life_are_set_aside_not_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_steps(tmp_path, 0, 100, 200)
    best = tmp_path / "checkpoints" / checkpoint.BEST
    best.symlink_to("step_000200")
    checkpoint.set_aside(tmp_path, after=100)
    assert not best.is_symlink()  # what it named is elsewhere now
    assert kept(tmp_path) == [0, 100] and checkpoint.latest(tmp_path).name == "step_000100"
    assert checkpoint.load(tmp_path / "checkpoints.old1" / "step_000200")[0] == {"step": 200}
    checkpoint.set_aside(tmp_path, after=None)
    assert kept(tmp_path) == [] and len(list((tmp_path / "checkpoints.old2").iterdir())) == 2
    checkpoint.set_aside(tmp_path, after=None)
    assert not (tmp_path / "checkpoints.old3").exists() and len(caplog.records) == 2


# ------------------------------------------------------------------------------------------ damage


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


FILES = ("state.safetensors", "state.json", "meta.json", "manifest.json")
DAMAGE: dict[str, Any] = {
    "a bit in the middle": lambda path: flip(path, path.stat().st_size // 2),
    "a bit in the last byte": lambda path: flip(path, path.stat().st_size - 1),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(
    tmp_path: Path, file: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path / "checkpoints" / f"step_{step:06d}", STATE, {"step": step})
    newest = tmp_path / "checkpoints" / "step_000002"
    DAMAGE[how](newest / file)
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        checkpoint.load(newest)
    assert checkpoint.latest(tmp_path).name == "step_000001"
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("checkpoint step_000002 is damaged: ") and line.endswith("; step_000001 is used instead")
    assert file in line


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_no_flipped_bit_of_a_manifest_goes_unnoticed(tmp_path: Path, at: int) -> None:
    folder = checkpoint.save(tmp_path / "step_000001", {"x": 1}, {})
    flip(folder / "manifest.json", at)
    same_meaning = json.loads((folder / "manifest.json").read_bytes()) if is_json(folder / "manifest.json") else None
    if same_meaning is None or manifest.damage(folder):
        with pytest.raises(ValueError, match="is damaged: manifest.json"):
            checkpoint.load(folder)
    else:  # white space
        assert checkpoint.load(folder)[0] == {"x": 1}


def is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def test_where_no_checkpoint_is_whole_each_is_named_with_its_flaw(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2)
    (tmp_path / "checkpoints" / "step_000001" / "state.json").unlink()
    with open(tmp_path / "checkpoints" / "step_000002" / "state.json", "a") as file:
        file.write(" ")
    said = "step_000002: state.json has 12 bytes; 11 were written; step_000001: state.json is missing"
    with pytest.raises(ValueError, match=f"holds no whole checkpoint: {said}"):
        checkpoint.latest(tmp_path)


def test_a_full_disk_leaves_nothing_of_the_attempt_and_the_old_ones_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", fails_with(errno.ENOSPC))
    with pytest.raises(OSError, match="step_000002' cannot be written .*No space left on device"):
        save_steps(tmp_path, 2)
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000001"]
    assert checkpoint.latest(tmp_path).name == "step_000001"


def fails_with(number: int) -> Any:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_wrong_folders_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no checkpoint; expected a run folder"):
        checkpoint.latest(tmp_path)
    with pytest.raises(ValueError, match="has no meta.json; expected a folder such as <run>/checkpoints/step_000100"):
        checkpoint.load(tmp_path)
    folder = checkpoint.save(tmp_path / "step_000001", {"x": torch.zeros(3)}, {})
    (folder / "meta.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match="has format 1; this version reads 2 and 3"):
        checkpoint.load(folder)
    (folder / "meta.json").write_text('{"format"')
    with pytest.raises(ValueError, match="meta.json cannot be read"):
        checkpoint.load(folder)
