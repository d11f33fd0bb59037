"""Label maps filled by random walks on the graph of a picture's pixels, through scikit-image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Mask = npt.NDArray[np.bool_]

_DECIMALS = 9  # of a probability; what is equal but for rounding is equal


def fill(
    labels: Array, ignored: Mask, barrier: Mask, image: Array, min_probability: float, beta: float
) -> Array:
    """Labels (H, W) with ignored pixels filled as the walk by an image (H, W, 3) is sure of.

    Pixels of the barrier are no part of the graph.
    """
    import numpy as np
    from scipy import ndimage
    from skimage.segmentation import random_walker

    seeds = ~ignored & ~barrier
    values, numbers = np.unique(labels[seeds], return_inverse=True)
    nodes = np.zeros(labels.shape, np.int64)  # 0 is to be filled, -1 no part of the graph
    nodes[seeds] = numbers.reshape(-1) + 1
    nodes[barrier] = -1
    nodes[~ndimage.binary_propagation(seeds, mask=nodes >= 0)] = -1  # nothing leads there
    unknown = nodes == 0
    filled = labels.copy()
    if len(values) < 2 or not unknown.any():
        filled[unknown] = values[:1]
        return filled
    if image.min() == image.max():  # its deviation would be divided by
        image, beta = np.arange(image.size, dtype=image.dtype).reshape(image.shape), 0
    # A direct solver: exact, and faster than conjugate gradients of a tolerance that suffices.
    probabilities = random_walker(
        image, nodes, beta=beta, mode="bf", return_full_prob=True, channel_axis=-1
    )
    found = probabilities[:, unknown].round(_DECIMALS)
    sure = found.max(axis=0) >= min_probability
    filled[unknown] = np.where(sure, values[found.argmax(axis=0)], labels[unknown])
    return filled
