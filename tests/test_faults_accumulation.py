"""Accumulations of another run, of processes that die, and what killed ones leave."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import spawn

from tests.test_accumulation import accumulated, assert_same, batches
from tests.test_accumulation_distributed import free_port, start, stop
from wsss_nonsalient import OACAMAccumulator, _atomic_write


def test_maps_of_another_run_are_refused(tmp_path: Path) -> None:
    """At load, at merge, in a state: stale maps of an earlier run never mix in."""
    earlier = accumulated(batches(3), run_id="monday")
    earlier.save(tmp_path / "maps")
    later = accumulated(batches(3, seed=1), run_id="tuesday")
    before = accumulated(batches(3, seed=1), run_id="tuesday")
    with pytest.raises(ValueError, match="other: expected run_id = 'tuesday', got 'monday'"):
        later.merge(earlier)
    with pytest.raises(ValueError, match="state: expected run_id = 'tuesday', got 'monday'"):
        later.load_state_dict(earlier.state_dict())
    with pytest.raises(ValueError, match="state: expected run_id = 'tuesday', got 'monday'"):
        later.load(tmp_path / "maps")
    with pytest.raises(ValueError, match="state: expected run_id = '', got 'monday'"):
        OACAMAccumulator(5).load(tmp_path / "maps")
    assert_same(later, before)
    assert_same(OACAMAccumulator(5, run_id="monday").load(tmp_path / "maps"), earlier)
    later.merge(OACAMAccumulator(5, run_id="tuesday"))
    with pytest.raises(TypeError, match="run_id: expected a string, got int 7"):
        OACAMAccumulator(5, run_id=7)  # type: ignore[arg-type]


def _runs_differ(rank: int, port: int, folder: str) -> None:
    start(rank, 2, port)
    accumulator = accumulated(batches(3), run_id=f"run {rank}")
    try:
        accumulator.synchronize()
    except ValueError as error:
        Path(folder, str(rank)).write_text(str(error))
    stop()


def test_processes_of_different_runs_are_not_merged(tmp_path: Path) -> None:
    spawn(_runs_differ, (free_port(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        assert "other: expected run_id" in (tmp_path / str(rank)).read_text()


def _uneven(rank: int, world_size: int, port: int, folder: str) -> None:
    start(rank, world_size, port)
    keys, cams, labels, logits = _all_images()
    share = {0: slice(0, 1), 1: slice(1, 7), 2: slice(7, 7)}[rank]  # one, six and none
    accumulator = OACAMAccumulator(3)
    accumulator.update(keys[share], cams[share], labels[share], logits[share])
    accumulator.synchronize()
    accumulator.save(Path(folder) / str(rank))
    stop()


def _all_images() -> tuple[list[str], Any, Any, Any]:
    random = torch.Generator().manual_seed(0)
    cams = torch.rand(7, 3, 4, 5, generator=random)
    labels = (torch.rand(7, 3, generator=random) < 0.6).long()
    keys = ["a", "b", "c", "a", "d", "b", "e"]  # images that several processes see
    return keys, cams, labels, torch.ones(7, 3)


def test_uneven_batches_of_processes(tmp_path: Path) -> None:
    spawn(_uneven, (3, free_port(), str(tmp_path)), nprocs=3)
    whole = OACAMAccumulator(3)
    whole.update(*_all_images())
    for rank in range(3):
        assert_same(OACAMAccumulator(3).load(tmp_path / str(rank)), whole)


def _one_dies(rank: int, port: int, folder: str) -> None:
    start(rank, 2, port)
    accumulator = accumulated(batches(5)[rank::2])
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        accumulator.synchronize()
    except RuntimeError:
        accumulator.save(Path(folder) / "survivor")
    os._exit(0)  # the group cannot be left in order


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_process_that_dies_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    context, port = multiprocessing.get_context("spawn"), free_port()
    processes = [context.Process(target=_one_dies, args=(r, port, str(tmp_path))) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=100)
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL]
    expected = accumulated(batches(5)[::2])
    assert_same(OACAMAccumulator(5).load(tmp_path / "survivor"), expected)


def test_a_failure_half_way_leaves_no_half_merged_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever message is the last one that arrives."""
    own, others = accumulated(batches(2)), [accumulated(batches(2, seed=s)) for s in (1, 2, 3)]
    states = [a.state_dict() for a in (own, *others)]
    module = "wsss_nonsalient.accumulation"
    monkeypatch.setattr(f"{module}.is_alone", lambda _: False)
    monkeypatch.setattr(f"{module}.gather", lambda value, _: [value] * len(states))
    for arrived in range(len(states)):

        def broadcast(_: Any, __: Any, arrived: int = arrived) -> Any:
            yield from states[:arrived]
            raise RuntimeError("connection closed by peer")

        monkeypatch.setattr(f"{module}.broadcast_each", broadcast)
        with pytest.raises(RuntimeError, match="connection closed"):
            own.synchronize()
        assert_same(own, accumulated(batches(2)))
    monkeypatch.setattr(f"{module}.broadcast_each", lambda *_: iter(states))
    own.synchronize()
    whole = accumulated([b for s in range(4) for b in batches(2, seed=s)])
    assert_same(own, whole)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_any_parts(seed: int) -> None:
    updates = batches(8)
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(updates), generator=random).tolist()
    cuts = sorted(torch.randint(0, 9, (2,), generator=random).tolist())
    shuffled = [updates[i] for i in order]
    parts = [accumulated(shuffled[a:b]) for a, b in zip([0, *cuts], [*cuts, 8], strict=True)]
    whole = OACAMAccumulator(5)
    for part in parts:
        whole.merge(part)
    assert_same(whole, accumulated(updates))


_DIE_WHILE_SAVING = """
import os, signal, sys
import torch
from wsss_nonsalient import OACAMAccumulator
accumulator, ones = OACAMAccumulator(1), torch.ones(1, 1)
accumulator.update(["a"], torch.ones(1, 1, 2, 3), ones, ones)
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
accumulator.save(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and locks")
def test_what_a_kill_leaves_is_gone_after_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "maps"
    accumulated(batches(1)).save(path)
    before = path.read_bytes()
    for left in (1, 1):  # the second process removes what the first one left
        subprocess.run([sys.executable, "-c", _DIE_WHILE_SAVING, str(path)], check=False)
        names = sorted(own.name for own in tmp_path.iterdir())
        assert len(names) == 1 + left
        assert path.read_bytes() == before
    _atomic_write._remove_abandoned.cache_clear()  # as in a new process
    accumulated(batches(1)).save(path)
    assert [own.name for own in tmp_path.iterdir()] == ["maps"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_files_that_others_still_write_stay(tmp_path: Path) -> None:
    strangers = [".0123456789abcdef.tmp.txt", "0123456789abcdef.tmp", ".notes.tmp"]
    for name in strangers:
        (tmp_path / name).touch()
    (tmp_path / ".0123456789abcdea.tmp").mkdir()
    (tmp_path / ".0123456789abcdeb.tmp").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".0123456789abcdec.tmp").symlink_to(tmp_path / strangers[0])
    existing = [path.name for path in tmp_path.iterdir()]
    _atomic_write._remove_abandoned.cache_clear()
    with _atomic_write.atomic_write(tmp_path / "slow") as slow:
        (own,) = [path for path in tmp_path.iterdir() if path.name not in existing]
        assert _atomic_write._TEMPORARY.fullmatch(own.name)  # or it would stay after a kill
        slow.write(b"half")
        _atomic_write._remove_abandoned.cache_clear()
        with _atomic_write.atomic_write(tmp_path / "fast") as fast:
            fast.write(b"whole")
        slow.write(b" and half")
    assert (tmp_path / "slow").read_bytes() == b"half and half"
    assert (tmp_path / "fast").read_bytes() == b"whole"
    assert sorted(own.name for own in tmp_path.iterdir()) == sorted(
        [*strangers, *(f".0123456789abcde{letter}.tmp" for letter in "abc"), "slow", "fast"]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_an_abandoned_file_is_removed_once_a_folder(tmp_path: Path) -> None:
    abandoned = tmp_path / ".0123456789abcdef.tmp"
    abandoned.write_bytes(b"half")
    accumulated(batches(1)).save(tmp_path / "maps")
    assert not abandoned.exists()
    abandoned.write_bytes(b"half")  # the folder is not listed for every file
    accumulated(batches(1)).save(tmp_path / "maps")
    assert abandoned.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed")
def test_a_file_that_another_took_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    lock = _atomic_write._lock

    def too_late(descriptor: int) -> None:
        if not taken:
            (own,) = tmp_path.iterdir()
            own.unlink()
            taken.append(descriptor)
        lock(descriptor)

    monkeypatch.setattr(_atomic_write, "_lock", too_late)
    with _atomic_write.atomic_write(tmp_path / "maps") as file:
        file.write(b"whole")
    assert [own.name for own in tmp_path.iterdir()] == ["maps"]
    assert (tmp_path / "maps").read_bytes() == b"whole"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(taken[0])


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_a_file_system_without_locks_keeps_what_may_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".0123456789abcdef.tmp").touch()
    accumulated(batches(1)).save(tmp_path / "maps")
    assert sorted(own.name for own in tmp_path.iterdir()) == [".0123456789abcdef.tmp", "maps"]
