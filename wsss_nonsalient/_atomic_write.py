"""Files that take the place of another in one step, and what killed processes leave of them."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Generator[BinaryIO, None, None]:
    """A file to write that takes the place of ``path`` in one step, once it is on the disk.

    A process that is killed meanwhile leaves the old file, and a hidden one that the next process
    to write into the folder removes (not on Windows).
    """
    path = Path(os.path.realpath(path))  # what a link points to, so that the link stays
    _remove_abandoned(path.parent)
    try:
        with _temporary_file(path.parent) as (temporary, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            temporary.replace(path)
    except OSError as error:
        if _TEMPORARY.fullmatch(Path(error.filename or "").name):
            error.filename = os.fspath(path)
        raise


@contextmanager
def _temporary_file(folder: Path) -> Generator[tuple[Path, BinaryIO], None, None]:
    """A new file that is locked for as long as a process works on it, and is gone afterwards."""
    while True:
        temporary = folder / f".{secrets.token_hex(8)}.tmp"
        file = open(temporary, "xb")  # noqa: SIM115 (closed before it is renamed)
        lock = os.dup(file.fileno())  # the lock outlives the closed file
        _lock(lock)
        if temporary.exists():  # not taken for an abandoned one before it was locked
            break
        file.close()
        os.close(lock)
    try:
        with file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def _lock(descriptor: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # on a file system without locks, where nothing is removed either
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@cache  # once a folder: it lists the folder
def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that no process holds: those of processes that were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unless_locked(folder / entry.name)


def _remove_unless_locked(path: Path) -> None:
    if sys.platform != "win32":
        with suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
