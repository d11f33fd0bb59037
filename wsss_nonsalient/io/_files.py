"""Files as a whole: reading them, names made from image ids, errors."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath

AnyPath = str | PathLike[str]


class RefusedError(ValueError):
    """What is wrong with a file's content, without its path, which :func:`content_of` adds."""


def read_file(path: AnyPath) -> bytes:
    """All bytes of a regular file; anything else, a pipe say, could block or never end."""
    if stat.S_ISDIR(mode := Path(path).stat().st_mode):
        raise IsADirectoryError(f"{os.fspath(path)}: expected a file, got a folder")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{os.fspath(path)}: expected a regular file")
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def content_of(path: AnyPath, expected: str) -> Generator[None, None, None]:
    """Make whatever goes wrong with a file's content a ValueError that starts with its path."""
    try:
        yield
    except RefusedError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    except Exception as error:  # whatever a damaged or foreign file makes a parser raise
        reason = shown(str(error), 200)
        raise ValueError(
            f"{os.fspath(path)}: expected {expected}, got something else or a damaged file "
            f"({type(error).__name__}: {reason})"
        ) from error


def check_id(image_id: str, name: str = "image_id") -> str:
    """Check that an image id is a plain file name, so that it cannot lead out of a folder."""
    if not isinstance(image_id, str):
        raise TypeError(f"{name}: expected a string, got {type(image_id).__name__}")
    if not is_id(image_id):
        raise ValueError(
            f"{name}: expected a file name without a folder, got {shown(repr(image_id))}"
        )
    return image_id


def is_id(text: str) -> bool:
    """Whether a string is one visible file name on every system."""
    return (
        text != ""
        and text.isprintable()
        and text == text.strip()
        and not text.startswith(".")
        and PurePosixPath(text).name == text == PureWindowsPath(text).name
    )


def image_file(folder: AnyPath, image_id: str, ending: str) -> Path:
    """The file of an image in a folder."""
    return Path(folder) / f"{check_id(image_id)}{ending}"


def shown(text: str, length: int = 60) -> str:
    """Text from a file for an error: short, and nothing that a terminal would obey."""
    text = text if len(text) <= length else f"{text[: length - 3]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
