"""Fixtures: devices, golden arrays, random inputs, and a small run of the VOC pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .cli_folders import WRITERS, Folders
from .voc_runs import options

DATA = Path(__file__).parent / "data"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def golden(name: str) -> dict[str, torch.Tensor]:
    """Arrays of a golden file as tensors."""
    with np.load(DATA / name) as arrays:
        return {key: torch.from_numpy(arrays[key].copy()) for key in arrays.files}


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from demo_data import write_demo_data

    root = tmp_path_factory.mktemp("voc") / "data"
    write_demo_data(root, train=10, val=6, size=(64, 80))
    return root


@pytest.fixture(scope="session")
def small_run(
    small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    import run

    out, threads = tmp_path_factory.mktemp("voc") / "run", torch.get_num_threads()
    torch.set_num_threads(1)  # sums depend on the number of threads
    try:
        return out, run.main(options(small_data, out))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path).write(*WRITERS)
