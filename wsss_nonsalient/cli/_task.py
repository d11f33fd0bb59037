"""An image to work on, and what becomes of it, whichever process works on it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ..io.cam_files import UndecidedFormatError

Value = TypeVar("Value")

_PLAIN = (
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    OSError,
    UndecidedFormatError,
    ValueError,
)


class Task(NamedTuple):
    """An image to work on."""

    image_id: str
    classes: tuple[int, ...] = ()  #: image-level labels, ascending, from 0


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What became of an image: a value, or an error in words."""

    image_id: str
    value: Value | None
    error: str | None


class WorkersLostError(RuntimeError):
    """The processes or the cluster that worked on the images are gone."""


def attempt(function: Callable[[Task], Value], task: Task) -> Outcome[Value]:
    """One image; whatever goes wrong with it must not stop the others."""
    try:
        return Outcome(task.image_id, function(task), None)
    except Exception as error:
        return Outcome(task.image_id, None, in_words(error))


def in_words(error: BaseException) -> str:
    """What went wrong, without the error's type where its text says it all."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if type(error) in _PLAIN:
        return str(error)
    return f"{type(error).__name__}: {error}"


def optional_module(name: str, option: str) -> Any:
    """An optional package, untyped; ImportError says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = "'dask[distributed]'" if name == "distributed" else "'wsss-nonsalient[cli]'"
        raise ImportError(f"{option}: {name} is not installed; pip install {extra}") from error
