"""Saving and loading an accumulation: resuming, strangers' files, damage, kills."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_accumulation import STORAGE, accumulated, assert_same, batches
from wsss_nonsalient import OACAMAccumulator


@pytest.mark.parametrize("dtype", STORAGE)
def test_resuming_equals_not_stopping(dtype: torch.dtype, tmp_path: Path) -> None:
    updates = batches(6)
    path = tmp_path / "maps.npz"
    accumulated(updates[:3], dtype=dtype).save(path)
    resumed = OACAMAccumulator(5, dtype=dtype).load(path)
    for update in updates[3:]:
        resumed.update(*update)
    assert_same(resumed, accumulated(updates, dtype=dtype))
    assert [p.name for p in tmp_path.iterdir()] == ["maps.npz"]


def test_same_state_same_bytes_and_links_stay(tmp_path: Path) -> None:
    path, link, again = tmp_path / ("词" * 80 + ".npz"), tmp_path / "link", tmp_path / "again"
    link.symlink_to(path)
    accumulated(batches(3)).save(link)
    accumulated(batches(3)[::-1]).save(again)
    assert link.is_symlink()
    assert path.read_bytes() == again.read_bytes()


def test_empty_and_odd_keys(tmp_path: Path) -> None:
    path = str(tmp_path / "maps")
    OACAMAccumulator(5).save(path)
    assert len(OACAMAccumulator(5).load(path)) == 0
    accumulator = OACAMAccumulator(1, map_size=(1, 2))
    keys = ["猫", "a/b", "nul\0", "😀", ""]
    ones = torch.ones(5, 1)
    accumulator.update(keys, torch.ones(5, 1, 1, 2), ones, ones)
    accumulator.save(path)
    assert_same(OACAMAccumulator(1).load(path), accumulator)


def test_file_is_readable_without_the_library_and_without_pickles(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    accumulator = accumulated(batches(3))
    accumulator.save(path)
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays["header.json"])
        assert header["keys"] == list(accumulator)
        assert np.array_equal(arrays["maps"], accumulator.state_dict()["maps"].numpy())


def test_loading_replaces_and_checks_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    saved = accumulated(batches(3))
    saved.save(path)
    other = accumulated(batches(3, seed=1))
    assert_same(other.load(path), saved)
    for wrong, message in (
        (OACAMAccumulator(6), "state: expected num_classes = 6, got 5"),
        (OACAMAccumulator(5, dtype=torch.float16), "state: expected dtype = torch.float16"),
        (OACAMAccumulator(5, map_size=(9, 9)), r"state: expected map_size = \(9, 9\)"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong.load(path)
    with pytest.raises(FileNotFoundError):
        other.load(tmp_path / "nowhere")
    assert_same(other, saved)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def _strangers(folder: Path) -> list[Path]:
    names = ["empty", "text", "pickle", "torch", "npy", "npz", "object", "bomb", "huge", "hollow"]
    paths = [folder / name for name in names]
    paths[0].write_bytes(b"")
    paths[1].write_text("2007_000032 0 1\n")
    paths[2].write_bytes(pickle.dumps(_Bomb()))
    torch.save({"maps": torch.zeros(2)}, paths[3])
    for path, save in ((paths[4], np.save), (paths[5], np.savez)):
        with path.open("wb") as file:
            save(file, np.zeros(3))
    with zipfile.ZipFile(paths[6], "w") as archive:
        archive.writestr("header.json", json.dumps({"format": "another 1"}))
    with zipfile.ZipFile(paths[7], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", " " * 10**8)
    accumulated(batches(1)).save(folder / "good")
    with (
        zipfile.ZipFile(folder / "good") as good,
        zipfile.ZipFile(paths[8], "w") as archive,
        zipfile.ZipFile(paths[9], "w") as hollow,
    ):
        for name in good.namelist():
            data = good.read(name)
            if name == "maps.npy":
                data = data.replace(b"(", b"(4000000000, ", 1)[: len(data)]
            archive.writestr(name, data)
            hollow.writestr(name, data[:128] if name == "classes.npy" else good.read(name))
    return paths


def test_strangers_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    accumulator = OACAMAccumulator(5)
    for path in _strangers(tmp_path):
        with pytest.raises(ValueError, match=f"{path.name}: expected a file of OACAMAccumulator"):
            accumulator.load(path)
    assert not (tmp_path / "exploded").exists()


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    saved = accumulated(batches(3))
    saved.save(path)
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match="expected a file of OACAMAccumulator"):
            OACAMAccumulator(5).load(path)
    for position in range(0, len(data), 13):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        try:
            loaded = OACAMAccumulator(5).load(path)
        except ValueError:
            continue
        assert_same(loaded, saved)  # a byte that means nothing, such as a time stamp


def test_saving_to_nowhere_fails_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "no folder" / "maps.npz"
    with pytest.raises(FileNotFoundError) as caught:
        accumulated(batches(1)).save(path)
    assert caught.value.filename == str(path)  # not that of the temporary file
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):  # noqa: PT011  (which one depends on the system)
        accumulated(batches(1)).save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


_SAVE_FOREVER = """
import sys, torch
from wsss_nonsalient import OACAMAccumulator
accumulator, ones = OACAMAccumulator(1, map_size=(64, 64)), torch.ones(2000, 1)
accumulator.update([str(i) for i in range(2000)], torch.ones(2000, 1, 64, 64), ones, ones)
accumulator.save(sys.argv[1])
print("ready", flush=True)
while True:
    accumulator.save(sys.argv[1])
"""


def test_a_kill_while_saving_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    for delay in (0.0, 0.004, 0.009, 0.015):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOREVER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        loaded = OACAMAccumulator(1).load(path)
        assert len(loaded) == 2000
        assert loaded.compute(list(loaded)).min() == 1
