"""A folder of outputs that a command fills: what is done, and with which options."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

import torch
from torch import Tensor

from .._atomic_write import atomic_write
from ..io import write_label
from ..io._arrays import is_dict
from ._journal import journal, read_journal
from ._run import outcomes, report_failures
from ._task import Task

Settings = TypeVar("Settings")

_RECORD = ".wsss-nonsalient.json"
_JOURNAL = ".wsss-nonsalient.done"
_ENDINGS = (".png", ".npy", ".npz")  # of all commands' files

Step = Callable[[Task, bool], Sequence[str]]
"""Works on an image and writes its files if the flag says so; returns the names of the files."""


def _stem(name: str) -> str:
    return PurePath(name).stem


@dataclass(frozen=True)
class Job:
    """Images to work on, and the files that come of it."""

    command: str
    options: Mapping[str, object]  #: what the files depend on
    tasks: Sequence[Task]
    step: Step
    ending: str = ".png"
    image_of: Callable[[str], str] = _stem  #: the image that a file of this name belongs to
    one_file: bool = True  #: an image; otherwise a journal says which files are all of an image's


def run_of(args: argparse.Namespace, job: Job) -> Callable[[], int]:
    """Check ``--out`` for a job; what it gives does the job.

    Raises:
        ValueError: It is a file, a folder of inputs, of files of unknown origin, or of other
            options' outputs.
    """
    _check_out(args, job)
    return functools.partial(_fill, args, job)


def label_run(
    args: argparse.Namespace,
    command: str,
    make_label: Callable[[Task, Settings], Tensor],
    settings: Settings,
    tasks: Sequence[Task],
) -> Callable[[], int]:
    """A run that makes a label map ``OUT/ID.png`` of each image."""
    step = functools.partial(_write_label, make_label, settings, args.out)
    return run_of(args, Job(command, dict(vars(settings)), tasks, step))


def _write_label(
    make_label: Callable[[Task, Settings], Tensor],
    settings: Settings,
    out: Path,
    task: Task,
    write: bool,
) -> Sequence[str]:
    labels = make_label(task, settings)
    name = f"{task.image_id}.png"
    if write:  # 8 bits with colours, or 16 bits
        write_label(out / name, labels, palette="voc" if labels.dtype == torch.uint8 else None)
    return [name]


def _fill(args: argparse.Namespace, job: Job) -> int:
    """Work on all images whose files are not there yet, and tell what came of it."""
    todo = list(job.tasks) if args.dry_run else _make_ready(args, job)
    step = functools.partial(_step, job.step, not args.dry_run)
    note = (
        contextlib.nullcontext() if args.dry_run or job.one_file else journal(args.out / _JOURNAL)
    )
    failures: dict[str, str] = {}
    with note as write_down:
        for outcome in outcomes(step, todo, args):
            if outcome.error is not None:
                failures[outcome.image_id] = outcome.error
            elif write_down is not None:
                write_down(outcome.image_id, outcome.value or ())
    done, there = len(todo) - len(failures), len(job.tasks) - len(todo)
    print(
        f"{len(job.tasks):,} images: {done:,} "
        + ("checked, nothing written" if args.dry_run else f"written to {args.out}")
        + (f", {there:,} were there already" if there else "")
        + (f", {len(failures):,} failed" if failures else "")
    )
    return report_failures(failures, len(job.tasks))


def _step(step: Step, write: bool, task: Task) -> Sequence[str]:
    return step(task, write)


def _make_ready(args: argparse.Namespace, job: Job) -> list[Task]:
    """The images to work on, of which no file is left in the folder that could be a stale one."""
    args.out.mkdir(parents=True, exist_ok=True)
    there: dict[str, set[str]] = {}
    for name in _names(args.out, job.ending):
        there.setdefault(job.image_of(name), set()).add(name)
    done: Mapping[str, set[str]] = there if job.one_file else read_journal(args.out / _JOURNAL)
    if args.overwrite:
        done = {}
        for name in (_RECORD, _JOURNAL):  # first: a folder that a kill leaves half emptied has none
            (args.out / name).unlink(missing_ok=True)
    ids = (task.image_id for task in job.tasks)
    whole = {own for own in ids if own in there and done.get(own) == there[own]}
    todo = [task for task in job.tasks if task.image_id not in whole]
    for task in todo:
        for name in there.get(task.image_id, ()):
            (args.out / name).unlink()
    with atomic_write(args.out / _RECORD) as file:
        file.write(_record(job).encode())
    return todo


def _check_out(args: argparse.Namespace, job: Job) -> None:
    out: Path = args.out
    for name, value in job.options.items():
        if isinstance(value, Path) and value.resolve() == out.resolve():
            raise ValueError(f"--out: is the folder of --{name.replace('_', '-')}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: {out} is a file, expected a folder")
    names, record = _names(out, *_ENDINGS), _read_record(out)
    if names and record is None and not args.overwrite:
        raise ValueError(
            f"{out} has {names[0]} and no record of what made it ({_RECORD}): give another --out, "
            "or --overwrite"
        )
    known = {task.image_id for task in job.tasks}
    own = [name for name in names if name.endswith(job.ending) and job.image_of(name) in known]
    wanted: dict[str, object] = json.loads(_record(job))
    if names and record != wanted:
        if not args.overwrite:
            raise ValueError(
                f"{out} was filled with other options ({_changes(record or {}, wanted)}): give "
                "another --out, or --overwrite"
            )
        others = sorted(set(names) - set(own))
        if others:
            raise ValueError(
                f"{out} has {len(others):,} other files, such as {others[0]}, which --overwrite "
                "would leave beside those of other options: give another --out"
            )


def _changes(record: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    names = [name for name in {**record, **wanted} if record.get(name) != wanted.get(name)]
    return "; ".join(f"{name}: {record.get(name)} there, {wanted.get(name)} now" for name in names)


def _names(out: Path, *endings: str) -> list[str]:
    """Files in the folder that have an ending; one listing for all images."""
    paths = out.iterdir() if out.is_dir() else ()
    return sorted(p.name for p in paths if p.suffix in endings and not p.name.startswith("."))


def _record(job: Job) -> str:
    values = {k: str(v) if isinstance(v, Path) else v for k, v in job.options.items()}
    return json.dumps({"command": job.command, **values}, indent=1) + "\n"


def _read_record(out: Path) -> dict[str, object] | None:
    """What made the files in a folder: None without a record, empty if it is damaged."""
    path = out / _RECORD
    if not path.is_file():
        return None
    try:
        record: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return record if is_dict(record) else {}
