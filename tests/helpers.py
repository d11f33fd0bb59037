"""Random images to feed the label functions, and what makes two results the same."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

from tests.reference import Array

Kind = Literal["random", "tied", "degenerate"]
KINDS: tuple[Kind, ...] = ("random", "tied", "degenerate")
IMAGE_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8)
BATCHES = ((), (3,), (2, 2))
IGNORE = 255

#: Times as many examples, and other ones each time: `make test-all` sets it.
FUZZ = int(os.environ.get("WSSS_FUZZ", "0"))
properties = settings(
    max_examples=12 * max(FUZZ, 1),
    deadline=None,
    derandomize=not FUZZ,
    database=None,
    # The device never changes within a test, so one value of the fixture does for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
many_properties = settings(properties, max_examples=60 * max(FUZZ, 1))


class Images(NamedTuple):
    """Arguments of every label function, for images of the same batch axes."""

    cam: Tensor
    saliency: Tensor
    labels: Tensor
    prediction: Tensor
    image_labels: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Images:
        return Images(*(function(tensor) for tensor in self))

    def each(self) -> Iterator[Images]:
        for index in np.ndindex(self.image_labels.shape[:-1]):
            yield self.map(lambda tensor, index=index: tensor[index])  # type: ignore[misc]

    def call(self, function: Callable[..., Any], names: Sequence[str], **options: Any) -> Tensor:
        result: Tensor = function(*(getattr(self, name) for name in names), **options)
        return result

    def expect(self, function: Callable[..., Any], names: Sequence[str], **options: Any) -> Tensor:
        """What a reference gives, image by image."""
        batch = self.image_labels.shape[:-1]
        results = [
            function(*(to_array(getattr(image, name)) for name in names), **options)
            for image in self.each()
        ]
        return torch.from_numpy(np.stack(results).reshape(*batch, *results[0].shape))


def make_images(
    seed: int,
    batch: tuple[int, ...] = (3,),
    *,
    kind: Kind = "random",
    dtype: torch.dtype = torch.float32,
    num_classes: int = 3,
    size: tuple[int, int] = (6, 5),
    object_ratio: float = 0.5,
    device: torch.device | str = "cpu",
) -> Images:
    """Images of unequal image-level labels, some without any; some classes have no label pixel."""
    random = torch.Generator().manual_seed(seed)
    cam = _values((*batch, num_classes, *size), kind, random)
    saliency = _values((*batch, *size), kind, random)
    labels = _labels((*batch, *size), num_classes, object_ratio, random)
    prediction = _labels((*batch, *size), num_classes, object_ratio, random)
    image_labels = torch.rand((*batch, num_classes), generator=random) < 0.6
    if kind == "degenerate":
        own = labels[..., None, :, :] == torch.arange(1, num_classes + 1)[:, None, None]
        dead = torch.rand((*batch, num_classes, 1, 1), generator=random) < 0.5
        cam = cam.masked_fill(own & dead, 0)
    return Images(
        _as_image(cam, dtype), _as_image(saliency, dtype), labels, prediction, image_labels
    ).map(lambda tensor: tensor.to(device))


def _values(shape: tuple[int, ...], kind: Kind, random: torch.Generator) -> Tensor:
    """Levels 0..255: all different as good as ever, few, or without range in many an image."""
    if kind == "random":
        return torch.rand(shape, generator=random, dtype=torch.float64) * 255
    levels = torch.tensor([0, 31, 32, 33, 51, 102, 153, 204, 255], dtype=torch.float64)
    values = levels[torch.randint(len(levels), shape, generator=random)]
    if kind == "tied":
        return values
    flat = torch.tensor([0.0, 102, 255])[torch.randint(3, (*shape[:-2], 1, 1), generator=random)]
    return torch.where(torch.rand((*shape[:-2], 1, 1), generator=random) < 0.8, flat, values)


def _as_image(levels: Tensor, dtype: torch.dtype) -> Tensor:
    return levels.to(dtype) if dtype == torch.uint8 else (levels / 255).to(dtype)


def _labels(
    shape: tuple[int, ...], num_classes: int, object_ratio: float, random: torch.Generator
) -> Tensor:
    labels = torch.randint(1, num_classes + 2, shape, generator=random)
    for c in range(1, num_classes + 1):
        missing = torch.rand((*shape[:-2], 1, 1), generator=random) < 0.4
        labels = labels.masked_fill((labels == c) & missing, 0)
    labels = labels.masked_fill(labels == num_classes + 1, IGNORE)
    background = torch.rand(shape, generator=random) >= object_ratio
    return labels.masked_fill(background, 0).to(torch.uint8)


def to_array(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Equal in every bit, in shape and in dtype."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    # NumPy compares uint16 and wider too, which not every torch does.
    np.testing.assert_array_equal(to_array(actual), to_array(expected))


def assert_refuses_value(
    function: Callable[..., Tensor],
    arguments: dict[str, Any],
    name: str,
    value: float,
    device: torch.device,
) -> None:
    """The error names the argument, what its values must be and the one that is not."""
    arguments = {key: tensor.to(device) for key, tensor in arguments.items()}
    arguments[name] = arguments[name].float()
    function(**arguments)
    arguments[name].view(-1)[-1] = value
    if name == "image_labels":
        expected = f"multi-hot labels, exactly 0 or 1, got {value}"
    else:
        expected = r"values in \[0, 1\], got " + ("NaN" if math.isnan(value) else f".*{value:g}")
    with pytest.raises(ValueError, match=rf"^{name}: expected {expected}"):
        function(**arguments)


def shares_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
