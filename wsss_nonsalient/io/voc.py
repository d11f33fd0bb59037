"""PASCAL VOC's class names and colours."""

from __future__ import annotations

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def _colour(label: int) -> tuple[int, int, int]:
    """Bits 0, 3, 6 of the label are the highest bits of red; 1, 4, 7 of green; 2, 5 of blue."""
    red, green, blue = (
        sum(((label >> (3 * step + channel)) & 1) << (7 - step) for step in range(3))
        for channel in range(3)
    )
    return red, green, blue


VOC_PALETTE = bytes(value for label in range(256) for value in _colour(label))
