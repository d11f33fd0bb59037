"""Exchange of states between the processes of ``torch.distributed``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import distributed


def is_alone(group: distributed.ProcessGroup | None) -> bool:
    """Whether this process has nobody to exchange with: no process group, or not a member of it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return True
    return distributed.get_rank(group) < 0


def gather(value: Any, group: distributed.ProcessGroup | None) -> list[Any]:
    """A small value of every process, in the order of ranks."""
    values: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(values, value, group)
    return values


def broadcast_each(value: Any, group: distributed.ProcessGroup | None) -> Iterator[Any]:
    """A large value of every process, in the order of ranks, one in memory at a time."""
    for rank in range(distributed.get_world_size(group)):
        source = rank if group is None else distributed.get_global_rank(group, rank)
        values = [value if rank == distributed.get_rank(group) else None]
        distributed.broadcast_object_list(values, src=source, group=group)
        yield values[0]
