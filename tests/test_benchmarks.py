"""The benchmarks measure what they say: equal results, ratios of rounds, a table."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.measure import Case, has_clear_refs, markdown, peak_bytes, timed
from benchmarks.unit import cases as unit_cases


def test_ratio_is_to_the_first_contender() -> None:
    case = Case(
        "sleep",
        {"ours": lambda: time.sleep(0.002), "peer": lambda: time.sleep(0.006)},
        targets={"peer": 50},
    )
    ours, peer = timed("test", case, rounds=3, round_s=0.01)
    assert ours.ratio == 1
    assert 1.5 < peer.ratio < 5
    assert 0.006 <= peer.median_s < 0.1
    table = markdown([ours, peer]).splitlines()
    assert len(table) == 4
    assert "(wanted 50, short)" in table[3]


def test_different_results_are_not_timed() -> None:
    def check() -> None:
        raise AssertionError("the results differ")

    case = Case("wrong", {"ours": lambda: pytest.fail("timed")}, check)
    with pytest.raises(AssertionError, match="differ"):
        timed("test", case, rounds=1, round_s=0.01)


def test_units_agree() -> None:
    for case in unit_cases(quick=True):
        case.check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize(("classes", "present"), [(20, 1), (20, 5), (300, 3)])
def test_label_script_agrees(dtype: torch.dtype, classes: int, present: int) -> None:
    pytest.importorskip("cv2")
    from benchmarks.labels import case

    case(2, classes, present, dtype).check()


def test_accumulation_agrees_with_png_files() -> None:
    pytest.importorskip("cv2")
    from benchmarks.accumulate import update

    update(3).check()


def test_peak_memory_counts_what_is_held_at_once() -> None:
    if not has_clear_refs():
        pytest.skip("needs Linux's /proc/self/clear_refs")
    size = 64 * 2**20
    peak = peak_bytes(lambda: torch.ones(size // 4).amax())
    assert 0.9 * size < peak < 1.5 * size
