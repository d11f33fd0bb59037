"""What the functions of potential object mining share: checks of their arguments, maps, labels."""

from __future__ import annotations

from torch import Tensor

from ._checks import Sizes, check_choice, check_ignore_index, check_number, check_tensor
from ._pom_thresholds import QUARTILES, Quartile, batch_thresholds
from ._present import ClassArrays, class_arrays, masked_maps
from ._values import (
    Array,
    compute_dtype,
    from_array,
    in_label_range,
    in_unit_interval,
    multi_hot,
    native_integers,
    reads_values,
    to_array,
    verify,
)


def check_mining(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    bg_threshold: float,
    quartile: Quartile,
    ignore_index: int,
    rival_threshold: float | None = None,
) -> int:
    """Check types, shapes and options, and return ``ignore_index`` as Python's int."""
    sizes = Sizes()
    check_tensor("cam", cam, "* C H W", "image", sizes)
    check_tensor("labels", labels, "* H W", "label", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    check_number("bg_threshold", bg_threshold)
    check_choice("quartile", quartile, QUARTILES)
    if rival_threshold is not None:
        check_number("rival_threshold", rival_threshold)
    return check_ignore_index(ignore_index, {"labels": labels.dtype}, sizes["C"])


def images_to_mine(
    cam: Tensor, labels: Tensor, image_labels: Tensor
) -> tuple[list[ClassArrays], Array]:
    """Maps of the present classes of each image, and the labels (N, H, W): for a CPU."""
    flat = native_integers(labels).reshape(-1, *labels.shape[-2:])
    return class_arrays(cam, image_labels, compute_dtype(cam)), to_array(flat)


def verify_mining(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    ignore_index: int,
    images: list[ClassArrays],
    in_range: bool | None = None,
) -> None:
    """Values, for a CPU: ``images`` are the maps that are read."""
    if reads_values(cam):
        maps = (from_array(one) for image in images for _, one in image)
        verify(
            multi_hot("image_labels", image_labels),
            in_label_range("labels", native_integers(labels), cam.shape[-3], ignore_index),
            in_unit_interval("cam", *maps, holds=in_range),
        )


def batch_to_mine(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    bg_threshold: float,
    quartile: Quartile,
    ignore_index: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (N, C, H, W), labels (N, H, W) and thresholds (N, C): for a GPU, and compiled."""
    flat = native_integers(labels).reshape(-1, *labels.shape[-2:])
    maps, present = masked_maps(cam, image_labels, compute_dtype(cam))
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_label_range("labels", flat, cam.shape[-3], ignore_index),
            in_unit_interval("cam", maps),
        )
    return maps, flat, batch_thresholds(maps, present, flat, bg_threshold, quartile)
