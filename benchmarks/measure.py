"""Times and peak memory of contenders that give the same result, in one process, interleaved."""

from __future__ import annotations

import os
import re
import statistics
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.benchmark import Measurement, TaskSpec, Timer

Contenders = dict[str, Callable[[], Any]]


@dataclass
class Case:
    """Contenders for one job; the first is ours."""

    name: str
    contenders: Contenders
    check: Callable[[], None] = lambda: None  #: raises if the contenders differ in their result
    threads: int = 1
    before: Callable[[], None] | None = None  #: runs before each timed call, untimed
    targets: dict[str, float] = field(default_factory=dict)  #: peer -> ratio to reach


@dataclass
class Row:
    """What was measured of one contender of a case."""

    subject: str
    case: str
    contender: str
    median_s: float
    iqr_s: float
    ratio: float  #: median over the rounds of its time / our time in the same round
    target: float | None
    peak_bytes: int | None = None


def timed(subject: str, case: Case, *, rounds: int, round_s: float) -> list[Row]:
    """Rounds in which each contender runs for about ``round_s``: drift of the machine hits all."""
    case.check()
    timers = {name: _timer(run, case) for name, run in case.contenders.items()}
    numbers = {name: _number(timer, case, round_s) for name, timer in timers.items()}
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(_once(timer, numbers[name], case))
    ours = next(iter(times.values()))
    rows: list[Row] = []
    for name, seconds in times.items():
        found = Measurement(1, seconds, TaskSpec(name, ""))
        ratio = statistics.median(peer / own for peer, own in zip(seconds, ours, strict=True))
        target = case.targets.get(name)
        rows.append(Row(subject, case.name, name, found.median, found.iqr, ratio, target))
    return rows


def _timer(run: Callable[[], Any], case: Case) -> Timer:
    return Timer("run()", globals={"run": run}, num_threads=case.threads)


def _number(timer: Timer, case: Case, round_s: float) -> int:
    once = min(_once(timer, 1, case) for _ in range(2))
    return 1 if case.before else max(1, min(10_000, int(round_s / max(once, 1e-7))))


def _once(timer: Timer, number: int, case: Case) -> float:
    """Seconds a call; Timer warms up with one call more, unless each needs a fresh state."""
    if not case.before:
        return timer.timeit(number).median
    case.before()
    return timer._timeit(1)  # no warm-up call: it would use up the state


def peak_bytes(run: Callable[[], Any]) -> int:
    """Largest resident memory of a call above what the process had before it, by Linux's counts.

    Call it in a process of its own that was started with ``MALLOC_ENV``, so that the C library
    gives freed arrays back: what numpy, OpenCV and torch hold at once is then what is counted.
    """
    run()
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the high-water mark starts anew
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


#: Arrays of 64 KiB and more are mapped for themselves, so freeing them returns their memory.
MALLOC_ENV = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def has_clear_refs() -> bool:
    """Whether this system can start the high-water mark anew."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        found = re.search(rf"{name}:\s+(\d+) kB", status.read())
    return 1024 * int(found[1]) if found else 0


def markdown(rows: Iterable[Row]) -> str:
    """A table of one line a contender; a ratio below its target is marked."""
    lines = [
        "| subject | case | contender | median | IQR | time / ours | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}"
        if row.target is not None:
            short = "" if row.ratio >= row.target else ", short"
            ratio += f" (wanted {row.target:g}{short})"
        memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f} MiB"
        times = f"{_time(row.median_s)} | {_time(row.iqr_s)}"
        lines.append(
            f"| {row.subject} | {row.case} | {row.contender} | {times} | {ratio} | {memory} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def machine() -> dict[str, Any]:
    """What the figures depend on, without names of hosts or people."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read())
    return {
        "cpu": model[1] if model else "unknown",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python_threads": threading.active_count(),
        "load": os.getloadavg()[0],
    }
