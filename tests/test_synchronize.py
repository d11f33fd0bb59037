"""OACAMAccumulator.synchronize in one process: what is exchanged, with which group, in which order.

`test_accumulation_distributed` runs it in several processes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import distributed

from tests.test_accumulation import accumulated, assert_same, batches
from tests.test_accumulation_distributed import free_port, start, stop
from wsss_nonsalient import OACAMAccumulator, _synchronize, accumulation

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="needs torch.distributed")


@pytest.fixture
def one_process() -> Generator[None, None, None]:
    start(0, 1, free_port())
    yield
    stop()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Two processes of a group "pair", ranks 5 and 7 of all; this one is its second."""
    made: list[tuple[Any, ...]] = []

    def all_gather_object(values: list[Any], value: Any, group: Any) -> None:
        made.append(("gather", value, group))
        values[:] = [f"{value} of {rank}" for rank in range(len(values))]

    def broadcast_object_list(values: list[Any], src: int, group: Any) -> None:
        made.append(("broadcast", *values, src, group))
        values[0] = f"value of {src}"

    ranks = {"pair": 1, None: 7}
    for name, fake in (
        ("get_world_size", lambda group: {"pair": 2, None: 8}[group]),
        ("get_rank", lambda group: ranks[group]),
        ("get_global_rank", lambda group, rank: {("pair", 0): 5, ("pair", 1): 7}[group, rank]),
        ("all_gather_object", all_gather_object),
        ("broadcast_object_list", broadcast_object_list),
    ):
        monkeypatch.setattr(distributed, name, fake)
    return made


def test_small_values_come_in_the_order_of_ranks(calls: list[Any]) -> None:
    pair: Any = "pair"
    assert _synchronize.gather("size", pair) == ["size of 0", "size of 1"]
    assert len(_synchronize.gather("size", None)) == 8
    assert calls == [("gather", "size", "pair"), ("gather", "size", None)]


def test_large_values_come_one_at_a_time(calls: list[Any]) -> None:
    """Sources are ranks among all processes; only the source sends its own value."""
    pair: Any = "pair"
    assert list(_synchronize.broadcast_each("mine", pair)) == ["value of 5", "value of 7"]
    assert calls == [("broadcast", None, 5, "pair"), ("broadcast", "mine", 7, "pair")]
    calls.clear()
    assert list(_synchronize.broadcast_each("mine", None)) == [f"value of {i}" for i in range(8)]
    assert [call[1] for call in calls] == [None] * 7 + ["mine"]
    assert {call[3] for call in calls} == {None}


@pytest.mark.usefixtures("one_process")
def test_a_process_of_the_group_is_not_alone() -> None:
    """Rank 0 is a member, a process outside a group is not."""
    outside: Any = distributed.GroupMember.NON_GROUP_MEMBER
    assert not _synchronize.is_alone(None)
    assert _synchronize.is_alone(outside)
    assert _synchronize.gather(3, None) == [3]
    assert list(_synchronize.broadcast_each("mine", None)) == ["mine"]


def test_without_a_process_group_a_process_is_alone() -> None:
    assert _synchronize.is_alone(None)


@pytest.mark.parametrize("options", [{}, {"run_id": "monday", "dtype": torch.float32}], ids=str)
@pytest.mark.parametrize("own_updates", [0, 3])
def test_all_that_others_have_is_merged(
    options: dict[str, Any], own_updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where this process has nothing yet, and does not know the size of the maps."""
    own = accumulated(batches(own_updates), **options, min_probability=0.3)
    other = accumulated(batches(4, seed=1), **options)
    expected = accumulated(batches(own_updates), **options, min_probability=0.3)
    expected.merge(other)
    group: Any = object()

    def gather(value: Any, its_group: Any) -> list[Any]:
        assert its_group is group
        assert value == (5, own.dtype, own.map_size, own.run_id)
        return [value, (5, other.dtype, other.map_size, other.run_id)]

    def broadcast_each(value: Any, its_group: Any) -> list[Any]:
        assert its_group is group
        return [value, other.state_dict()]

    monkeypatch.setattr(accumulation, "is_alone", lambda its_group: its_group is not group)
    monkeypatch.setattr(accumulation, "gather", gather)
    monkeypatch.setattr(accumulation, "broadcast_each", broadcast_each)
    own.synchronize(group)
    assert_same(own, expected)
    own.synchronize(None)  # alone: nothing is done
    assert_same(own, expected)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ((4, torch.uint8, (3, 4), ""), "other: expected num_classes = 5, got 4"),
        ((5, torch.float16, (3, 4), ""), "other: expected dtype = torch.uint8, got torch.float16"),
        ((5, torch.uint8, (3, 5), ""), r"other: expected map_size = \(3, 4\), got \(3, 5\)"),
        ((5, torch.uint8, (3, 4), "monday"), "other: expected run_id = '', got 'monday'"),
    ],
)
def test_a_difference_is_an_error_before_maps_are_sent(
    kind: tuple[Any, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, before = accumulated(batches(3)), accumulated(batches(3))
    monkeypatch.setattr(accumulation, "is_alone", lambda _: False)
    monkeypatch.setattr(accumulation, "gather", lambda value, _: [value, kind])
    monkeypatch.setattr(accumulation, "broadcast_each", lambda *_: pytest.fail("sent"))
    with pytest.raises(ValueError, match=message):
        own.synchronize()
    assert_same(own, before)


@pytest.mark.parametrize("map_size", [None, (6, 8)])
def test_a_configured_size_stays(map_size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = OACAMAccumulator(5, map_size=map_size)
    monkeypatch.setattr(accumulation, "is_alone", lambda _: False)
    monkeypatch.setattr(accumulation, "gather", lambda value, _: [value])
    monkeypatch.setattr(accumulation, "broadcast_each", lambda value, _: [value])
    own.synchronize()
    assert own.map_size == map_size
