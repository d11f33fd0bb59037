"""A soak of examples/voc: small runs killed at random moments and started again. `make test-all`.

As a script it makes one of the runs: python -m tests.test_slow_soak FOLDER NUMBER
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .voc_runs import options

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc"),
]
SCRIPT = Path(__file__).parents[1] / "examples" / "voc" / "run.py"
KILLS = 3


class Peak(NamedTuple):
    """The most that a process had at a time."""

    mebibytes: float
    files: int
    threads: int


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            stdout=file,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def watch(process: subprocess.Popen[bytes], seconds: float) -> Peak:
    """Look at a process until it ends, or kill it and all that it started after some time."""
    folder, peak = Path(f"/proc/{process.pid}"), Peak(0, 0, 0)
    end = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
        try:
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines()
            )
            files = len(list((folder / "fd").iterdir()))
        except OSError:
            continue
        resident = int(status.get("VmRSS", "0 kB").split()[0]) / 1024
        peak = Peak(
            max(peak.mebibytes, resident),
            max(peak.files, files),
            max(peak.threads, int(status.get("Threads", "0"))),
        )
        time.sleep(0.05)
    return peak


def processes_of(folder: Path) -> list[int]:
    """Processes whose command names a folder."""
    found = []
    for own in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = own.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and int(own.parent.name) != os.getpid():
            found.append(int(own.parent.name))
    return found


def contents(out: Path) -> dict[str, bytes]:
    """Maps, labels and predictions."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*.[pn][np][gz]"))
        if path.parts[len(out.parts)] in ("maps", "labels", "predictions", "val")
    }


def leftovers(out: Path) -> list[str]:
    return sorted(
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.suffix in (".tmp", ".partial", ".probe") or path.name == "checkpoint.pt"
    )


def uninterrupted(root: Path) -> dict[str, Any]:
    """The run to compare with, once a folder: its time and peaks."""
    record, data = root / "whole.json", root / "data"
    if not record.is_file():
        sys.path.insert(0, str(SCRIPT.parent))
        from demo_data import write_demo_data

        write_demo_data(data, train=10, val=6, size=(64, 80))
        begin = time.monotonic()
        peak = watch(start(options(data, root / "whole"), root / "log"), 600)
        seconds = time.monotonic() - begin
        record.write_text(json.dumps({"seconds": round(seconds, 1), **peak._asdict()}))
    whole: dict[str, Any] = json.loads(record.read_text())
    return whole


def soak(root: Path, number: int) -> dict[str, Any]:
    """A run that is killed at random moments and started again; what it had and left."""
    whole, out, kills = uninterrupted(root), root / f"run{number}", 0
    arguments, moments = options(root / "data", out), random.Random(number)
    for _ in range(KILLS):
        process = start(arguments, root / "log")
        watch(process, moments.uniform(0.3, 1.0) * whole["seconds"])
        kills += process.returncode == -signal.SIGKILL
    peak = watch(start(arguments, root / "log"), 600)
    results = [json.loads((own / "results.json").read_text()) for own in (root / "whole", out)]
    row = {
        "run": number,
        "kills": kills,
        "same results": results[0] == results[1],
        "same files": contents(out) == contents(root / "whole"),
        "left over": leftovers(out),
        "processes": processes_of(out),
        **peak._asdict(),
    }
    print(row, flush=True)
    shutil.rmtree(out)
    assert row["same results"], row
    assert row["same files"], row
    assert row["left over"] == [], row
    assert row["processes"] == [], row
    assert peak.mebibytes < 1.1 * whole["mebibytes"] + 20, row
    assert peak.files <= whole["files"] + 4, row
    assert peak.threads <= whole["threads"] + 2, row
    return row


def test_soak(tmp_path: Path) -> None:
    assert sum(soak(tmp_path, number)["kills"] for number in range(20)) >= 20


if __name__ == "__main__":
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    print(uninterrupted(root))
    soak(root, int(sys.argv[2]))
