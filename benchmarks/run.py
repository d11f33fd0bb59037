"""Run the benchmarks: a markdown table to the screen and to a file, and JSON beside it.

``python benchmarks/run.py labels dilate --quick`` runs two subjects, shortly.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that this file runs as a script

from benchmarks.measure import (  # noqa: E402
    MALLOC_ENV,
    Case,
    Row,
    machine,
    markdown,
    peak_bytes,
    timed,
)

SUBJECTS = ("unit", "labels", "dilate", "accumulate", "score", "cams", "refine", "growth")


def cases(subject: str, quick: bool) -> Iterator[Case]:
    """Cases of ``benchmarks/<subject>.py``, made one at a time so that each frees its arrays."""
    yield from importlib.import_module(f"benchmarks.{subject}").cases(quick)


def memory(subject: str, quick: bool) -> dict[str, dict[str, int]]:
    """Peak memory of each case and contender, in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks/run.py"), subject, "--memory-of-this-process"]
    if quick:
        command.append("--quick")
    environment = {**os.environ, **MALLOC_ENV}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    peaks: dict[str, dict[str, int]] = json.loads(done.stdout.splitlines()[-1])
    return peaks


def memory_of_this_process(subject: str, quick: bool) -> dict[str, dict[str, int]]:
    """The same, measured here."""
    import torch

    peaks: dict[str, dict[str, int]] = {}
    for case in cases(subject, quick):
        if case.before is None:
            torch.set_num_threads(case.threads)
            peaks[case.name] = {name: peak_bytes(run) for name, run in case.contenders.items()}
    return peaks


def measured(subject: str, quick: bool) -> list[Row]:
    """Rows of a subject, with their peak memory."""
    rows: list[Row] = []
    for case in cases(subject, quick):
        rows += timed(subject, case, rounds=3 if quick else 11, round_s=0.02 if quick else 0.1)
        print(f"{subject}: {case.name}", file=sys.stderr)
    peaks = memory(subject, quick)
    for row in rows:
        row.peak_bytes = peaks.get(row.case, {}).get(row.contender)
    return rows


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", default=SUBJECTS, metavar="subject")
    parser.add_argument("--quick", action="store_true", help="few cases, short rounds")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs/bench", help="folder of the results"
    )
    parser.add_argument("--memory-of-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"subjects are {', '.join(SUBJECTS)}; got {', '.join(sorted(unknown))}")
    if options.memory_of_this_process:
        print(json.dumps(memory_of_this_process(options.subjects[0], options.quick)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for subject in options.subjects:
        rows += measured(subject, options.quick)
        result = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        (options.out / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.out / "bench.md").write_text(markdown(rows) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
