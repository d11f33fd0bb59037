"""A function over many images: in parallel, with a progress bar, going on after failures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

import torch

from ._cluster import check_cluster, on_cluster
from ._task import Outcome, Task, Value, WorkersLostError, attempt, optional_module

_MOST_LISTED = 50


def check_run(args: argparse.Namespace) -> None:
    """Check, before anything is done, that what the options ask for is there."""
    if args.dask is not None:
        if args.jobs != 1:
            raise ValueError("--jobs: not with --dask, whose cluster has its own workers")
        check_cluster(args.dask)
    elif args.jobs != 1:
        optional_module("joblib", "--jobs")


def outcomes(
    function: Callable[[Task], Value], tasks: Sequence[Task], args: argparse.Namespace
) -> Iterator[Outcome[Value]]:
    """What ``function`` gives for each task, as they come, whichever process works on them.

    Raises:
        WorkersLostError: The processes or the cluster were lost.
    """
    if args.dask is not None:
        results = on_cluster(function, tasks, args.dask)
    elif args.jobs != 1:
        results = _in_processes(function, tasks, args.jobs)
    else:
        results = _in_this_process(function, tasks)
    yield from _progress(results, len(tasks), args)


def _in_this_process(
    function: Callable[[Task], Value], tasks: Sequence[Task]
) -> Iterator[Outcome[Value]]:
    with _one_thread():
        for task in tasks:
            yield attempt(function, task)


@contextmanager
def _one_thread() -> Generator[None, None, None]:
    """Images are too small for threads within an operation; processes are what scales."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(
    function: Callable[[Task], Value], tasks: Sequence[Task], jobs: int
) -> Iterator[Outcome[Value]]:
    joblib = optional_module("joblib", "--jobs")
    calls = (joblib.delayed(attempt)(function, task) for task in tasks)
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        try:
            yield from joblib.Parallel(return_as="generator_unordered")(calls)
        except BrokenExecutor as error:
            raise WorkersLostError(
                "a worker process was killed, for lack of memory perhaps (fewer --jobs need less)"
            ) from error


def _progress(
    results: Iterator[Outcome[Value]], total: int, args: argparse.Namespace
) -> Iterable[Outcome[Value]]:
    if args.quiet or not sys.stderr.isatty():
        return results
    try:
        tqdm = optional_module("tqdm", "no progress bar")
    except ImportError as error:
        print(error, file=sys.stderr)
        return results
    bar: Iterable[Outcome[Value]] = tqdm.tqdm(results, total=total, unit=" images")
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
