"""The label steps written plainly in numpy and OpenCV, as a user's script would, for one image.

One array of C + 1 channels, background first, from the equations of DESIGN.md and the paper.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_unit(image: Array) -> Array:
    """Values in [0, 1]; 8 bits mean value / 255."""
    if image.dtype != np.uint8:
        return image
    scaled: Array = image.astype(np.float32) / np.float32(255)
    return scaled


def all_steps(cam: Array, saliency: Array, image_labels: Array, prediction: Array) -> Array:
    """Initial label, POM and NSRM, in the dtype of the prediction."""
    ignored = 255 if prediction.dtype == np.uint8 else -1
    classes = np.flatnonzero(image_labels)
    scores = np.zeros((len(cam) + 1, *saliency.shape), np.float32)
    scores[0] = np.float32(1) - as_unit(saliency)
    for c in classes:
        scores[c + 1] = as_unit(cam[c])
    labels = initial_labels(scores, as_unit(saliency), prediction.dtype, ignored)
    mined = pom(labels, scores, classes, ignored)
    return nsrm(prediction, mined, saliency, classes, ignored)


def initial_labels(scores: Array, saliency: Array, dtype: npt.DTypeLike, ignored: int) -> Array:
    """The largest of background and maps wins; doubtful pixels are ignored."""
    kept = np.where(scores < np.float32(0.3), np.float32(0), scores)
    labels: Array = kept.argmax(axis=0).astype(dtype)
    labels[(kept > np.float32(0.9)).sum(axis=0) >= 2] = ignored
    attended = (kept[1:] > np.float32(0.8)).any(axis=0)
    labels[(labels == 0) & ((saliency >= np.float32(32 / 255)) | attended)] = ignored
    return labels


def pom(labels: Array, scores: Array, classes: Array, ignored: int) -> Array:
    """Background above a class's threshold is ignored."""
    mined = labels.copy()
    for c in classes:
        cam = scores[c + 1]
        inside = cam[labels == c + 1]
        if inside.any():
            threshold = np.median(inside)
        else:
            above = cam[cam > np.float32(0.3)]
            threshold = np.percentile(above, 75) if above.size else np.float32(np.inf)
        mined[(labels == 0) & (cam > threshold)] = ignored
    return mined


def nsrm(prediction: Array, labels: Array, saliency: Array, classes: Array, ignored: int) -> Array:
    """In images of two classes or more, what is far from any object is ignored."""
    if len(classes) < 2:
        return prediction
    merged = prediction.copy()
    fill = (prediction == 0) & (labels != 0) & (labels != ignored)
    merged[fill] = labels[fill]
    objects = ((merged != 0) | (saliency != 0)).astype(np.uint8)
    merged[cv2.dilate(objects, np.ones((30, 30), np.uint8)) == 0] = ignored
    return merged
