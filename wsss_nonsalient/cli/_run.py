"""A function over many images: in parallel, with a progress bar, going on after failures."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch

_EXTRA = "pip install 'wsss-nonsalient[cli]'"
_MOST_LISTED = 50

Value = TypeVar("Value")


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


def check_run(args: argparse.Namespace) -> None:
    """Check, before anything is done, that what the options ask for is installed."""
    if args.jobs != 1 or args.dask is not None:
        _module("joblib", "--jobs and --dask")
    if args.dask is not None:
        _module("distributed", "--dask")


def _module(name: str, option: str) -> Any:
    """An optional package, untyped; ImportError says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = "pip install 'dask[distributed]'" if name == "distributed" else _EXTRA
        raise ImportError(f"{option}: {name} is not installed; {extra}") from error


def outcomes(
    function: Callable[[Task], Value], tasks: Sequence[Task], args: argparse.Namespace
) -> Iterator[Outcome[Value]]:
    """What ``function`` gives for each task, as they come, whichever process works on them."""
    if args.dask is None and args.jobs == 1:
        with _one_thread():
            results: Iterable[Outcome[Value]] = (_attempt(function, task) for task in tasks)
            yield from _progress(results, len(tasks), args)
    else:
        with _parallel(args) as parallel:
            yield from _progress(parallel(function, tasks), len(tasks), args)


def _attempt(function: Callable[[Task], Value], task: Task) -> Outcome[Value]:
    """One image; whatever goes wrong with it must not stop the others."""
    try:
        return Outcome(task.image_id, function(task), None)
    except Exception as error:
        return Outcome(task.image_id, None, in_words(error))


def in_words(error: Exception) -> str:
    """What went wrong, without the error's type where its text says it all."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if type(error) in (FileNotFoundError, IsADirectoryError, OSError, ValueError, ImportError):
        return str(error)
    return f"{type(error).__name__}: {error}"


@contextmanager
def _one_thread() -> Generator[None, None, None]:
    """Images are too small for threads within an operation; processes are what scales."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _parallel(args: argparse.Namespace) -> Generator[Callable[..., Any], None, None]:
    """Joblib over local processes or over the workers of a Dask cluster."""
    joblib = _module("joblib", "--jobs and --dask")

    def run(function: Callable[[Task], Any], tasks: Sequence[Task]) -> Any:
        calls = (joblib.delayed(_attempt)(function, task) for task in tasks)
        return joblib.Parallel(return_as="generator_unordered")(calls)

    if args.dask is None:
        with joblib.parallel_config("loky", n_jobs=args.jobs, inner_max_num_threads=1):
            yield run
    else:
        distributed = _module("distributed", "--dask")
        lost = (distributed.KilledWorker, CancelledError, distributed.comm.CommClosedError)
        with (
            distributed.Client(args.dask, set_as_default=False) as client,
            joblib.parallel_config("dask", client=client, n_jobs=-1),
        ):
            try:
                yield run
            except lost as error:
                what = f"{type(error).__name__}: {error}"
                raise BrokenExecutor(f"--dask: workers were lost: {what}") from error


def _progress(results: Iterable[Value], total: int, args: argparse.Namespace) -> Iterable[Value]:
    if args.quiet or not sys.stderr.isatty():
        return results
    try:
        tqdm = _module("tqdm", "no progress bar")
    except ImportError as error:
        print(error, file=sys.stderr)
        return results
    bar: Iterable[Value] = tqdm.tqdm(results, total=total, unit=" images")
    return bar


def report_failures(failures: dict[str, str], total: int) -> int:
    """List what failed at the end; returns the exit code."""
    if not failures:
        return 0
    print(f"\n{len(failures):,} of {total:,} images failed:", file=sys.stderr)
    for image_id in sorted(failures)[:_MOST_LISTED]:
        print(f"  {image_id}: {failures[image_id]}", file=sys.stderr)
    if len(failures) > _MOST_LISTED:
        print(f"  and {len(failures) - _MOST_LISTED:,} more", file=sys.stderr)
    return 1
