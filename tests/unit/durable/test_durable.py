"""Files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from rrl import durable


def test_a_text_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    durable.write_text(tmp_path / "a.json", "old")
    durable.write_text(tmp_path / "a.json", "n\u00e9w")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "n\u00e9w"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_says_no_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    durable.write_text(tmp_path / "a.json", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        durable.write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_contents_and_names_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, folder, trail = tmp_path / "a.tmp", tmp_path / "a", list[str]()
    beside.mkdir()
    (beside / "x").write_text("1")
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda h: (trail.append(os.readlink(f"/proc/self/fd/{h}")), fsync(h))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (trail.append("rename"), rename(self, to))[1])
    durable.put_folder(beside, folder)
    assert trail == [str(beside / "x"), str(beside), "rename", str(tmp_path)]
    assert (folder / "x").read_text() == "1" and os.listdir(tmp_path) == ["a"]


def test_a_file_of_two_names_is_not_synced_again_but_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, trail, fsync = tmp_path / "a.tmp", list[str](), os.fsync
    beside.mkdir()
    (tmp_path / "x").write_text("1")
    durable.share(tmp_path / "x", beside / "x")
    (beside / "y").write_text("2")
    monkeypatch.setattr(os, "fsync", lambda h: (trail.append(os.readlink(f"/proc/self/fd/{h}")), fsync(h))[1])
    durable.put_folder(beside, tmp_path / "a")
    assert trail == [str(beside / "y"), str(beside), str(tmp_path)]
    assert (tmp_path / "a" / "x").samefile(tmp_path / "x")


def test_an_older_folder_is_replaced(tmp_path: Path) -> None:
    for text in ("1", "2"):
        (tmp_path / "a.tmp").mkdir()
        (tmp_path / "a.tmp" / "x").write_text(text)
        durable.put_folder(tmp_path / "a.tmp", tmp_path / "a")
    assert (tmp_path / "a" / "x").read_text() == "2" and os.listdir(tmp_path) == ["a"]


def test_a_deletion_that_is_cut_short_leaves_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        durable.remove(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a.old.tmp"]


def test_a_link_takes_the_place_of_a_link_and_of_a_copied_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "best"):
        (tmp_path / name).mkdir()
    (tmp_path / "best" / "x").write_text("1")
    durable.link(tmp_path / "best", "a")
    durable.link(tmp_path / "best", "b")
    assert os.readlink(tmp_path / "best") == "b" and sorted(os.listdir(tmp_path)) == ["a", "b", "best"]


def test_a_digest_is_that_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert durable.sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
