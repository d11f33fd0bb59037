"""A folder of outputs that a command fills: what is done, and with which options."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..io import write_label
from ..io._files import atomic_write
from ._journal import journal, read_journal
from ._run import Outcome, Task, outcomes, report_failures

_RECORD = ".wsss-nonsalient.json"
_JOURNAL = ".wsss-nonsalient.done"

Step = Callable[[Task, bool], Sequence[str]]
"""Works on an image and writes its files if the flag says so; returns the names of the files."""


@dataclass(frozen=True)
class Job:
    """Images to work on, and the files that come of it."""

    command: str
    options: dict[str, object]  #: what the files depend on
    tasks: Sequence[Task]
    step: Step
    outputs: Callable[[Task], Sequence[Path]] | None
    """The files of an image; None if they are not known before it is worked on."""
    old_outputs: Callable[[], Sequence[Path]] = list
    """Where they are not known: files of these images that are there."""


def fill(args: argparse.Namespace, job: Job) -> int:
    """Work on all images whose files are not there yet, and tell what came of it.

    Returns:
        The exit code.
    """
    todo = list(job.tasks)
    step = functools.partial(_step, job.step, not args.dry_run)
    if args.dry_run:
        results = list(outcomes(step, todo, args))
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        _write_record(args.out, job)
        if args.overwrite:  # away with the old ones first, so that a killed run goes on from here
            for path in _old_outputs(args.out, job):
                path.unlink(missing_ok=True)
        todo = _undone(args.out, job)
        results = _noted(args.out, job, outcomes(step, todo, args))
    failures = {result.image_id: result.error for result in results if result.error is not None}
    done, there = len(results) - len(failures), len(job.tasks) - len(todo)
    print(
        f"{len(job.tasks):,} images: {done:,} "
        + ("checked, nothing written" if args.dry_run else f"written to {args.out}")
        + (f", {there:,} were there already" if there else "")
        + (f", {len(failures):,} failed" if failures else "")
    )
    return report_failures(failures, len(job.tasks))


def _step(step: Step, write: bool, task: Task) -> Sequence[str]:
    return step(task, write)


def _old_outputs(out: Path, job: Job) -> list[Path]:
    if job.outputs is None:
        return [out / _JOURNAL, *job.old_outputs()]
    return [path for task in job.tasks for path in job.outputs(task)]


def _undone(out: Path, job: Job) -> list[Task]:
    """Images of which a file is missing."""
    if job.outputs is not None:
        outputs = job.outputs
        return [t for t in job.tasks if not all(path.exists() for path in outputs(t))]
    done = read_journal(out / _JOURNAL)
    whole = {own for own, names in done.items() if all((out / name).exists() for name in names)}
    return [task for task in job.tasks if task.image_id not in whole]


def _noted(
    out: Path, job: Job, results: Iterable[Outcome[Sequence[str]]]
) -> list[Outcome[Sequence[str]]]:
    """All results; where the files are not known beforehand, written down as they come."""
    if job.outputs is not None:
        return list(results)
    noted: list[Outcome[Sequence[str]]] = []
    with journal(out / _JOURNAL) as note:
        for result in results:
            if result.value is not None:
                note(result.image_id, result.value)
            noted.append(result)
    return noted


def label_paths(out: Path, task: Task) -> list[Path]:
    """The output of an image, for commands that write label maps."""
    return [out / f"{task.image_id}.png"]


def step_of_labels(
    make_label: Callable[[Task], Tensor], out: Path, task: Task, write: bool
) -> Sequence[str]:
    """A step that makes a label map and writes it: 8 bits with colours, or 16 bits."""
    labels = make_label(task)
    [path] = label_paths(out, task)
    if write:
        write_label(path, labels, palette="voc" if labels.dtype == torch.uint8 else None)
    return [path.name]


def check_out(args: argparse.Namespace, job: Job) -> None:
    """Refuse a folder of inputs, of files of unknown origin, or of other options' outputs."""
    for name, value in job.options.items():
        if isinstance(value, Path) and value.resolve() == args.out.resolve():
            raise ValueError(f"--out: is the folder of --{name.replace('_', '-')}")
    if args.overwrite:
        return
    try:
        text = (args.out / _RECORD).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if strange := _files_there(args.out, job):
            raise ValueError(
                f"{args.out} has {strange[0].name} and no record of what made it "
                "(.wsss-nonsalient.json): give another --out, or --overwrite"
            ) from None
        return
    try:
        record: dict[str, object] = dict(json.loads(text))
    except (ValueError, TypeError):  # damaged, or not ours
        record = {}
    wanted: dict[str, object] = json.loads(_record(job))
    if record != wanted:
        names = [name for name in {**record, **wanted} if record.get(name) != wanted.get(name)]
        changes = [f"{name}: {record.get(name)} there, {wanted.get(name)} now" for name in names]
        raise ValueError(
            f"{args.out} was filled with other options ({'; '.join(changes)}): give another --out, "
            "or --overwrite"
        )


def _files_there(out: Path, job: Job) -> list[Path]:
    """Files that the job would take as its own, or might replace."""
    if job.outputs is None:
        there = out.iterdir() if out.is_dir() else ()
        return sorted(path for path in there if not path.name.startswith("."))
    return [path for path in _old_outputs(out, job) if path.exists()]


def _record(job: Job) -> str:
    values = {k: str(v) if isinstance(v, Path) else v for k, v in job.options.items()}
    return json.dumps({"command": job.command, **values}, indent=1) + "\n"


def _write_record(out: Path, job: Job) -> None:
    with atomic_write(out / _RECORD) as file:
        file.write(_record(job).encode())
