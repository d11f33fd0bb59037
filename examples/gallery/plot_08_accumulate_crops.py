"""
Accumulated maps of crops and mirror images
===========================================

A classifier that is trained on random crops and mirror images never sees a picture as it is. Told
what it saw, the accumulator puts each map back into the frame of the whole picture before it takes
the maximum.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import OACAMAccumulator, resize_cam
from wsss_nonsalient.plot import show_cam

scene = make_scene(0)
height, width = scene.mask.shape
shown = int(scene.mask[height // 2, width // 2]) - 1  # class of the large object
present = torch.zeros(1, len(CLASS_NAMES))
present[0, shown] = 1
torch.manual_seed(2)

# %%
# Five samples: a random box, and half of them mirrored. In place of a classifier, which would give
# a map of what it is shown, the same part of the picture's CAM is cut out, mirrored and made 14 x
# 14.

corners = torch.rand(5, 2) * 0.5
boxes = torch.cat(
    [corners, corners + 0.5], dim=1
)  # x_min, y_min, x_max, y_max: a half of each side
flipped = torch.tensor([True, False, True, False, True])


def cut(maps: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """The part of (C, H, W) maps in a box."""
    left, top, right, bottom = (
        (box * torch.tensor([width, height, width, height])).round().int().tolist()
    )
    return maps[:, top:bottom, left:right]


seen = [cut(scene.cam[shown : shown + 1], box) for box in boxes]
seen = [part.flip(-1) if mirrored else part for part, mirrored in zip(seen, flipped, strict=True)]
cams = torch.zeros(5, len(CLASS_NAMES), 14, 14)
cams[:, shown] = torch.cat([resize_cam(part, (14, 14)) for part in seen])

# %%
# Each sample goes into the accumulator with its box. Without boxes, all maps would be taken for
# maps of the whole picture.

told = OACAMAccumulator(len(CLASS_NAMES), map_size=(28, 28))
untold = OACAMAccumulator(len(CLASS_NAMES), map_size=(28, 28))
steps = []
for i in range(5):
    one = slice(i, i + 1)
    batch = (["scene"], cams[one], present, torch.ones_like(present))
    told.update(*batch, boxes=boxes[one], flipped=flipped[one])
    untold.update(*batch)
    steps.append(told.compute(["scene"])[0, shown])

# %%
# Above what the classifier sees, below what is accumulated so far. A crop's map is scaled by its
# own largest value: what is weak in the whole picture is 1 in a crop that shows nothing stronger.
# With a real classifier, such a crop has a low probability and is left out (``min_probability``).

figure, axes = plt.subplots(2, 5, figsize=(12, 4.6), layout="constrained")
for i, (above, below) in enumerate(zip(*axes, strict=True)):
    picture = cut(scene.image, boxes[i])
    show_cam(seen[i][0], picture.flip(-1) if flipped[i] else picture, axes=above)
    above.set_title("mirrored crop" if flipped[i] else "crop")
    show_cam(resize_cam(steps[i][None], (height, width))[0], scene.image, axes=below)
    left, top, right, bottom = (boxes[i] * torch.tensor([width, height, width, height])).tolist()
    below.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white")
    )
    below.set_title(f"accumulated, {i + 1}")

# %%
# The picture's CAM, what was accumulated, and what would be without boxes.

figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for panel, (name, own) in zip(
    axes,
    {
        "CAM": scene.cam[shown],
        "accumulated, with boxes": resize_cam(steps[-1][None], (height, width))[0],
        "accumulated, without": resize_cam(
            untold.compute(["scene"])[0, shown : shown + 1], (height, width)
        )[0],
    }.items(),
    strict=True,
):
    show_cam(own, scene.image, axes=panel).set_title(name)
