"""The conditional random field of examples/voc."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import run
import torch
from pipeline.crf import refine, require_crf

from .voc_runs import options

needs_crf = pytest.mark.skipif(
    find_spec("pydensecrf") is None, reason="pydensecrf2 is not installed (the extra crf)"
)


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, small_data: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ImportError, match=r"pip install 'wsss-nonsalient\[crf\]'"):
        require_crf()
    with pytest.raises(SystemExit, match=r"wsss-nonsalient\[crf\]"):
        run.main(options(small_data, tmp_path / "run", "--segmentation.crf=true"))
    assert not (tmp_path / "run" / "classify").exists()


def test_errors() -> None:
    probabilities = torch.full((2, 3, 4), 0.5)
    with pytest.raises(TypeError, match="image: expected uint8, got torch.float32"):
        refine(probabilities, torch.zeros(3, 3, 4))
    with pytest.raises(ValueError, match=r"image: expected shape \(3, 3, 4\), got \(3, 4, 3\)"):
        refine(probabilities, torch.zeros(3, 4, 3, dtype=torch.uint8))


@needs_crf
def test_a_boundary_moves_to_the_edge_of_the_picture() -> None:
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[:, :, 15:] = 255
    probabilities = torch.full((4, 20, 30), 1e-6)
    probabilities[0], probabilities[3] = 0.6, 0.4
    probabilities[0, :, 12:], probabilities[3, :, 12:] = 0.4, 0.6
    probabilities[0, :, 15:], probabilities[3, :, 15:] = 0.1, 0.9
    expected = torch.zeros(20, 30, dtype=torch.int64)
    expected[:, 15:] = 3
    assert torch.equal(refine(probabilities, image), expected)


@needs_crf
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_dtypes_and_gradients(dtype: torch.dtype) -> None:
    image = torch.randint(256, (3, 8, 9), dtype=torch.uint8, generator=torch.manual_seed(0))
    probabilities = torch.rand(3, 8, 9, generator=torch.manual_seed(1)).softmax(dim=0).to(dtype)
    expected = refine(probabilities.float(), image)
    assert torch.equal(refine(probabilities.requires_grad_(), image), expected)
    assert torch.equal(refine(probabilities, image), expected)  # the same every time


@needs_crf
def test_one_label_everywhere() -> None:
    probabilities = torch.zeros(3, 4, 5)
    probabilities[2] = 1
    found = refine(probabilities, torch.zeros(3, 4, 5, dtype=torch.uint8))
    assert torch.equal(found, torch.full((4, 5), 2))
