"""Files that are whole or not there, also after a kill or a power cut: written beside, synced, renamed, folder synced.

A rename is atomic, but what it renames may still be in memory only; and the renamed name itself is in the folder's
own pages. So both are synced (``man 2 fsync``: "calling fsync() does not necessarily ensure that the entry in the
directory containing the file has also reached disk").
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

BESIDE = ".tmp"
"""Ending of what is not finished; whoever meets one may delete it."""

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; a reader sees the old one or the new one. Raises OSError where it cannot."""
    beside = path.with_name(path.name + BESIDE)
    try:
        with open(beside, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)  # a full disk gets its room back
        raise
    sync(path.parent)


def put_folder(beside: Path, folder: Path) -> None:
    """Rename ``beside`` to ``folder``, with everything in it synced. An older ``folder`` is replaced."""
    for path in beside.iterdir():
        if path.stat().st_nlink == 1:  # others were synced under their first name
            sync(path)
    sync(beside)
    old = _doomed(folder)
    if folder.is_dir():
        folder.rename(old)
    beside.rename(folder)
    sync(folder.parent)
    discard(old)


def remove(folder: Path) -> None:
    """Delete a folder; where that is cut short, what is left carries the ending of things unfinished."""
    old = _doomed(folder)
    folder.rename(old)
    discard(old)


def link(path: Path, target: str) -> None:
    """Replace the symbolic link ``path`` by one to ``target``. Raises OSError where there are no links."""
    beside = path.with_name(path.name + BESIDE)
    discard(beside)
    beside.symlink_to(target)
    if not path.is_symlink():
        discard(path)  # a copy of the run that followed its links
    beside.replace(path)


def share(source: Path, target: Path) -> None:
    """Make ``target`` another name of a file that nobody writes again; a copy where there are no (more) such links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def discard(path: Path) -> None:
    """Delete a link, a file or a folder, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _doomed(folder: Path) -> Path:
    old = folder.with_name(f"{folder.name}.old{BESIDE}")
    discard(old)
    return old


def sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Digest of a file's contents, read in parts."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
