"""A procedural picture with salient and non-salient objects, and the maps that NSROM starts from.

No network is involved: a seed and the true shapes make every map, with the flaws that the real ones
have, so that the method can be watched in seconds and without a download.
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

CLASS_NAMES = ("ball", "box", "tent", "flower", "leaf")
HEIGHT, WIDTH = 300, 400

_GROUND = torch.tensor([0.62, 0.58, 0.48])
_COLOURS = torch.tensor(
    [[0.85, 0.2, 0.15], [0.1, 0.5, 0.6], [0.9, 0.6, 0.1], [0.8, 0.2, 0.55], [0.2, 0.55, 0.2]]
)
_CORNERS = ((-92, -145), (-92, 145), (92, -145), (92, 145))  # y, x in pixels from the centre
_CAM_SPREAD = 32  # pixels: a CAM's blob is coarse, whatever the size of the object
_Y, _X = torch.meshgrid(
    torch.arange(HEIGHT) - HEIGHT / 2, torch.arange(WIDTH) - WIDTH / 2, indexing="ij"
)


@dataclass(frozen=True)
class Scene:
    """A picture of C = 5 possible classes, its truth, and what WSSS would know about it.

    Attributes:
        image: float32 (3, H, W) in [0, 1].
        mask: uint8 (H, W), the exact label map: 0 is background, c + 1 is class c.
        image_labels: bool (C,), the classes in the picture; at least one is absent.
        saliency: float32 (H, W) in [0, 1]; sees the salient object only, with soft edges.
        cam: float32 (C, H, W) in [0, 1]; one coarse blob on the most telling part of each object.
        oa_cam: float32 (C, H, W) in [0, 1]; covers the objects whole, and some of what is around.
        prediction: uint8 (H, W), a stand-in for what a segmentation network trained on the POM
            label predicts. Drawn from the truth: the outlines wobble, the non-salient objects are
            found in part, one of them not at all, and one found object is not there.
    """

    image: Tensor
    mask: Tensor
    image_labels: Tensor
    saliency: Tensor
    cam: Tensor
    oa_cam: Tensor
    prediction: Tensor


@dataclass(frozen=True)
class _Object:
    label: int
    y: float
    x: float
    size: float  # pixels, about the radius
    distance: Tensor  # (H, W), pixels to the outline, negative inside


def make_scene(seed: int = 0) -> Scene:
    """Draw the picture of this seed: a large object, and two or three faint ones around."""
    dice = Generator().manual_seed(seed)
    *objects, phantom = _place_objects(dice)
    image_labels = torch.zeros(len(CLASS_NAMES), dtype=torch.bool)
    image_labels[[thing.label for thing in objects]] = True
    return Scene(
        image=_paint(objects, dice),
        mask=_label_map(objects),
        image_labels=image_labels,
        saliency=torch.sigmoid(-objects[0].distance / 1.5),
        cam=_draw_cam(objects, dice),
        oa_cam=_draw_oa_cam(objects, dice),
        prediction=_stand_in_prediction(objects, phantom, dice),
    )


def _place_objects(dice: Generator) -> list[_Object]:
    """The salient object, then the others, then a phantom: a small object that is not there."""
    classes = torch.randperm(len(CLASS_NAMES), generator=dice).tolist()
    corners = torch.randperm(len(_CORNERS), generator=dice).tolist()
    others = 2 + int(_uniform(dice, 0, 2))
    objects = [_make_object(classes[0], 0, 0, 78, dice)]
    for label, corner in zip(classes[1 : others + 1], corners, strict=False):
        objects.append(_make_object(label, *_CORNERS[corner], 33, dice))
    return [*objects, _make_object(classes[1], *_CORNERS[corners[others]], 18, dice)]


def _make_object(label: int, y: float, x: float, size: float, dice: Generator) -> _Object:
    y, x = y + _uniform(dice, -8, 8), x + _uniform(dice, -8, 8)
    turn = torch.tensor(_uniform(dice, -0.4, 0.4))
    right, down = (_X - x) / size, (_Y - y) / size
    u, v = turn.cos() * right + turn.sin() * down, turn.cos() * down - turn.sin() * right
    return _Object(label, y, x, size, size * _unit_distance(CLASS_NAMES[label], u, v))


def _unit_distance(name: str, x: Tensor, y: Tensor) -> Tensor:
    """About the signed distance to the outline of a shape of radius 1; negative inside."""
    radius = torch.hypot(x, y)
    if name == "box":
        return torch.maximum(x.abs(), y.abs()) - 0.85
    if name == "tent":
        return torch.maximum(0.87 * x.abs() - 0.5 * y, y) - 0.62
    if name == "flower":
        return radius - 0.9 - 0.2 * torch.cos(5 * torch.atan2(y, x))
    if name == "leaf":
        return torch.hypot(x.abs() + 0.5, y) - 1.2
    return radius - 1


def _label_map(objects: list[_Object]) -> Tensor:
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    for thing in objects:
        labels[thing.distance < 0] = thing.label + 1
    return labels


def _paint(objects: list[_Object], dice: Generator) -> Tensor:
    """Textured ground, the salient object in full colour, the others close to the ground's."""
    image = _GROUND[:, None, None].expand(3, HEIGHT, WIDTH)
    for thing in objects:
        contrast = 1.0 if thing is objects[0] else 0.3
        shadow = torch.sigmoid(-thing.distance.roll((7, 7), (0, 1)) / 4)
        light = 1 - 0.18 * contrast * (_X + _Y - thing.x - thing.y) / thing.size
        colour = torch.lerp(_GROUND, _COLOURS[thing.label], contrast)[:, None, None] * light
        image = image * (1 - 0.5 * contrast * shadow)
        image = torch.lerp(image, colour, torch.sigmoid(-1.5 * thing.distance))
    texture = 0.12 * _noise(dice, 2) + 0.1 * _noise(dice, 5) + 0.08 * _noise(dice, 60)
    return (image * (1 + texture)).clamp(0, 1)


def _draw_cam(objects: list[_Object], dice: Generator) -> Tensor:
    """A blob off the centre of each object, and clutter: it leaves out most of a large object."""
    cam = 0.4 * _clutter(dice)
    for thing in objects:
        cam[thing.label] = torch.maximum(cam[thing.label], _blob(thing, 0.2, _CAM_SPREAD, dice))
    return cam


def _draw_oa_cam(objects: list[_Object], dice: Generator) -> Tensor:
    """The whole object and a margin around it at a middling value, a peak, and more clutter."""
    cam = 0.4 * _clutter(dice)
    for thing in objects:
        extent = torch.sigmoid((8 - thing.distance) / 6)
        peak = _blob(thing, 0.3, 0.4 * thing.size, dice)
        cam[thing.label] = torch.maximum(cam[thing.label], extent * (0.65 + 0.35 * peak))
    return cam


def _blob(thing: _Object, offset: float, spread: float, dice: Generator) -> Tensor:
    """A Gaussian bump of height 1, ``offset`` radii off the object's centre in some direction."""
    turn = torch.tensor(_uniform(dice, 0, 2 * torch.pi))
    y = thing.y + offset * thing.size * turn.sin()
    x = thing.x + offset * thing.size * turn.cos()
    return torch.exp(-((_Y - y) ** 2 + (_X - x) ** 2) / (2 * spread**2))


def _stand_in_prediction(objects: list[_Object], phantom: _Object, dice: Generator) -> Tensor:
    """All objects but the last, a little too small and with wobbling outlines, and the phantom."""
    found = [*objects[:-1], phantom]
    return _label_map(
        [replace(thing, distance=thing.distance + 3 + 7 * _noise(dice, 20)) for thing in found]
    )


def _clutter(dice: Generator) -> Tensor:
    """Weak, smooth spots in the maps of all classes, the absent ones included."""
    return torch.stack([_noise(dice, 40) for _ in CLASS_NAMES]).sub(0.5).clamp(0, 1)


def _noise(dice: Generator, cell: int) -> Tensor:
    """Smooth noise (H, W), mostly in [-1, 1], with bumps about ``cell`` pixels wide."""
    coarse = 2 * torch.rand(1, 1, HEIGHT // cell + 2, WIDTH // cell + 2, generator=dice) - 1
    return interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic", align_corners=True)[0, 0]


def _uniform(dice: Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=dice).item()
