"""OACAMAccumulator.synchronize over real processes (gloo)."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from torch import distributed
from torch.multiprocessing.spawn import spawn

from tests.test_accumulation import accumulated, assert_same, batches
from wsss_nonsalient import OACAMAccumulator

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="needs torch.distributed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(rank: int, world_size: int, port: int) -> None:
    distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )


def stop() -> None:
    distributed.barrier()  # nobody leaves while others need the store
    distributed.destroy_process_group()


def _work(rank: int, world_size: int, port: int, folder: str) -> None:
    start(rank, world_size, port)
    updates = batches(5)
    accumulator = accumulated(updates[:4] if rank == 0 else updates[4:] if rank == 1 else [])
    accumulator.synchronize()
    accumulator.save(Path(folder) / f"{rank}.npz")
    accumulator.synchronize()  # idempotent
    accumulator.save(Path(folder) / f"{rank} again.npz")
    different = OACAMAccumulator(5 + rank)
    try:
        different.synchronize()
    except ValueError as error:
        (Path(folder) / f"{rank} refused").write_text(str(error))
    stop()


@pytest.mark.parametrize("world_size", [2, 3])
def test_all_processes_have_what_one_would_have(world_size: int, tmp_path: Path) -> None:
    spawn(_work, (world_size, free_port(), str(tmp_path)), nprocs=world_size)
    whole = accumulated(batches(5))
    for rank in range(world_size):
        assert_same(OACAMAccumulator(5).load(tmp_path / f"{rank}.npz"), whole)
        assert_same(OACAMAccumulator(5).load(tmp_path / f"{rank} again.npz"), whole)
        assert "expected num_classes" in (tmp_path / f"{rank} refused").read_text()


def _work_in_groups(rank: int, port: int, folder: str) -> None:
    start(rank, 3, port)
    group = distributed.new_group([1, 2])
    accumulator = accumulated([batches(3)[rank]])
    accumulator.synchronize(group)  # type: ignore[arg-type]  # outside the group: nothing
    accumulator.save(Path(folder) / f"{rank}.npz")
    stop()


def test_a_group_is_synchronised_alone(tmp_path: Path) -> None:
    spawn(_work_in_groups, (free_port(), str(tmp_path)), nprocs=3)
    updates = batches(3)
    for rank, own in enumerate((updates[:1], updates[1:], updates[1:])):
        assert_same(OACAMAccumulator(5).load(tmp_path / f"{rank}.npz"), accumulated(own))


def test_one_process_needs_no_group() -> None:
    accumulator = accumulated(batches(2))
    accumulator.synchronize()
    assert_same(accumulator, accumulated(batches(2)))
    start(0, 1, free_port())
    try:
        accumulator.synchronize()
    finally:
        stop()
    assert_same(accumulator, accumulated(batches(2)))
