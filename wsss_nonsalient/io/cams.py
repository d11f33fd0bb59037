"""Class activation maps of one image in compact form: those of its own classes only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import check_integer
from .._values import to_list


@dataclass(frozen=True, eq=False)
class CAMs:
    """The maps of an image's classes.

    Args:
        classes: (K,) int64, 0-based classes, ascending.
        maps: (K, H, W) uint8 (value / 255) or floating point. Floating-point maps are as the file
            has them and may leave [0, 1]; see :func:`wsss_nonsalient.normalize_cam`. H and W are 0
            where a file without a class does not tell them.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype.
        ValueError: Shapes do not agree; classes are negative, not distinct or not ascending.

    Example:
        >>> cams = CAMs(torch.tensor([2]), torch.tensor([[[0.5, 1.0]]]))
        >>> cams.dense(3)
        tensor([[[0.0000, 0.0000]],
                [[0.0000, 0.0000]],
                [[0.5000, 1.0000]]])
    """

    classes: Tensor
    maps: Tensor

    def __post_init__(self) -> None:
        for name, value in (("classes", self.classes), ("maps", self.maps)):
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}: expected a torch.Tensor, got {type(value).__name__}")
        if self.classes.dtype != torch.int64:
            raise TypeError(f"classes: expected int64, got {self.classes.dtype}")
        if self.maps.dtype != torch.uint8 and not self.maps.is_floating_point():
            raise TypeError(f"maps: expected uint8 or floating point, got {self.maps.dtype}")
        if self.classes.dim() != 1:
            raise ValueError(f"classes: expected shape (K,), got {tuple(self.classes.shape)}")
        shape = tuple(self.maps.shape)
        if len(shape) != 3 or shape[0] != len(self.classes):
            raise ValueError(f"maps: expected shape ({len(self.classes)}, H, W), got {shape}")
        if shape[0] and 0 in shape:
            raise ValueError(f"maps: expected H and W of at least 1, got {shape}")
        if len(self.classes) and bool((self.classes[0] < 0) | (self.classes.diff() <= 0).any()):
            raise ValueError(
                "classes: expected distinct ones, ascending from at least 0, got "
                f"{to_list(self.classes[:20])}"
            )

    def dense(self, num_classes: int) -> Tensor:
        """The maps of all classes, with zeros for those that are absent.

        Args:
            num_classes: Number of classes of the result.

        Returns:
            (num_classes, H, W) of the maps' dtype.

        Raises:
            TypeError: ``num_classes`` is not an integer.
            ValueError: It is below 1, or not above the highest class.
        """
        check_integer("num_classes", num_classes, minimum=1)
        if len(self.classes) and int(self.classes[-1]) >= num_classes:
            raise ValueError(
                f"num_classes: expected more than {int(self.classes[-1])}, the highest class, "
                f"got {num_classes}"
            )
        dense = self.maps.new_zeros((num_classes, *self.maps.shape[1:]))
        dense[self.classes] = self.maps
        return dense
