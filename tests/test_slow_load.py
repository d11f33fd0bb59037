"""Load: many updates, many keys, large pictures, many kills. `make test-all` runs it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import wsss_nonsalient as wn
from tests.test_accumulation import accumulated, assert_same, batches
from tests.test_accumulation_file import _SAVE_FOREVER

pytestmark = pytest.mark.slow
on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@on_linux
@pytest.mark.parametrize("repeats", [10_000])
def test_memory_is_flat_over_many_updates(repeats: int) -> None:
    """With graphs that would be kept: 10,000 updates of the same images."""
    updates = [
        (keys, cams.requires_grad_(), labels, logits.requires_grad_())
        for keys, cams, labels, logits in batches(8, size=(32, 32))
    ]
    accumulator, memory, files = accumulated(updates), 0, open_files()
    for i in range(repeats):
        keys, cams, labels, logits = updates[i % 8]
        accumulator.update(keys, cams * 1, labels, logits * 1, force_missing=i % 3 == 0)
        if i == repeats // 10:
            memory = resident()
    grown = resident() - memory
    print(
        f"{repeats} updates: memory grew by {grown / 2**20:.2f} MiB from update {repeats // 10} on"
    )
    assert grown < 4 * 2**20
    assert open_files() == files


def test_a_million_keys(tmp_path: Path) -> None:
    """Of 1 x 1 maps: stored, saved, loaded, merged and found again."""
    count, part = 1_000_000, 10_000
    accumulator = wn.OACAMAccumulator(1)
    ones, times = torch.ones(part, 1), {}
    start = time.perf_counter()
    for first in range(0, count, part):
        keys = [f"folder/{i}" for i in range(first, first + part)]
        accumulator.update(keys, torch.ones(part, 1, 1, 1), ones, ones)
    times["update"] = time.perf_counter() - start
    assert len(accumulator) == count
    start = time.perf_counter()
    accumulator.save(tmp_path / "maps")
    times["save"] = time.perf_counter() - start
    start = time.perf_counter()
    loaded = wn.OACAMAccumulator(1).load(tmp_path / "maps")
    times["load"] = time.perf_counter() - start
    start = time.perf_counter()
    loaded.merge(accumulator)
    times["merge"] = time.perf_counter() - start
    print({name: round(seconds, 1) for name, seconds in times.items()})
    assert len(loaded) == count
    assert loaded.compute(["folder/0", "folder/999999"]).sum() == 2
    assert all(seconds < 60 for seconds in times.values())


SIDE = 4124  # 17 million pixels, more than the 2**24 elements at which torch.quantile stops


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_pictures_of_17_million_pixels(dtype: torch.dtype) -> None:
    """Medians and quartiles are NumPy's; all pixels are counted."""
    random_values = torch.Generator().manual_seed(0)
    cam = torch.rand(2, SIDE, SIDE, generator=random_values)
    if dtype == torch.uint8:
        cam = (cam * 255).to(dtype)
    labels = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    labels[100:3000, 200:3500] = 1
    image_labels = torch.ones(2)
    found = wn.pom_thresholds(cam, labels, image_labels, bg_threshold=0.25).tolist()
    values = [one.numpy() / (255 if dtype == torch.uint8 else 1) for one in cam]
    median = np.median(values[0][labels.numpy() == 1])
    quartile = np.quantile(values[1][values[1] > 0.25], 0.75)
    assert found == pytest.approx([median, quartile], abs=1e-6)
    refined = wn.pom_refine(labels, cam, image_labels, bg_threshold=0.25)
    mined = ((values[0] > found[0]) | (values[1] > found[1])) & (labels.numpy() == 0)
    assert int((refined == 255).sum()) == int(mined.sum())
    masked = wn.nsrm_mask(labels, labels, image_labels)
    assert int((masked != 255).sum()) == (2900 + 29) * (3300 + 29)
    initial = wn.initial_labels(cam, torch.zeros(SIDE, SIDE), image_labels)
    assert initial.shape == labels.shape
    assert (wn.ignore_sparse_labels(labels, min_object_ratio=0.6) == 255).all()
    score = wn.SegmentationScore(3)
    score.update(labels, labels)
    assert int(score.confusion.sum()) == SIDE * SIDE


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and locks")
def test_fifty_kills_while_saving(tmp_path: Path) -> None:
    """The file is always the old one or the new one, and no more than one temporary file stays."""
    path, moments = tmp_path / "maps.npz", random.Random(0)
    left = 0
    for _ in range(50):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOREVER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        loaded = wn.OACAMAccumulator(1).load(path)
        assert len(loaded) == 2000
        assert loaded.compute(list(loaded)).min() == 1
        others = [own for own in tmp_path.iterdir() if own != path]
        assert len(others) <= 1
        left += len(others)
    print(f"50 kills: {left} left a temporary file, each gone after the next save")
    assert left > 0  # or no kill came while saving


@pytest.mark.parametrize("seed", range(100))
def test_random_parts_merge_to_the_whole(seed: int) -> None:
    order = random.Random(seed)
    updates = batches(20, seed=seed)
    parts = [wn.OACAMAccumulator(5) for _ in range(4)]
    for update in order.sample(updates, len(updates)):
        order.choice(parts).update(*update)
    whole = parts.pop()
    for part in order.sample(parts, len(parts)):
        whole.merge(part)
    assert_same(whole, accumulated(updates))
