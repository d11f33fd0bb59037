"""A saliency map that costs nothing: how far a pixel's colour is from the picture's mean colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.filters import gaussian


def contrast_saliency(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Frequency-tuned saliency, scaled to reach from 0 to 1.

    s = | mean of the Lab colours - Lab colour of the blurred picture |, min-max normalised: Achanta
    et al., Frequency-tuned salient region detection, CVPR 2009. A picture of one colour gives 0.

    Args:
        picture: uint8 RGB (H, W, 3).

    Returns:
        (H, W) in [0, 1].
    """
    lab = rgb2lab(picture)
    blurred = gaussian(lab, sigma=1, channel_axis=2)
    distance = np.linalg.norm(blurred - lab.mean(axis=(0, 1)), axis=2)
    low, high = distance.min(), distance.max()
    if high - low < 1e-6:
        return np.zeros_like(distance)
    scaled: NDArray[np.float64] = (distance - low) / (high - low)
    return scaled
