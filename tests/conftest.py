"""Fixtures: every device there is, the golden arrays, and random inputs of the label functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

DATA = Path(__file__).parent / "data"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def golden(name: str) -> dict[str, torch.Tensor]:
    """Arrays of a golden file as tensors."""
    with np.load(DATA / name) as arrays:
        return {key: torch.from_numpy(arrays[key].copy()) for key in arrays.files}
