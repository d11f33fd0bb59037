"""Procedural pictures with objects that hide: what `demo_data.py` writes.

Each picture has one salient object, large and mostly in strong colours, and up to two small, pale
ones near the border that the saliency map does not see. A class is a shape with a texture and a
hue; non-salient objects have the same, fainter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SIZE = (96, 128)  # height and width
IGNORED = 255
_OUTLINE = 1.5  # pixels around each object that the mask ignores, as VOC's masks do


@dataclass(frozen=True)
class Appearance:
    """How the pictures look; pairs are the least and the most of a uniform distribution.

    Lengths are in pixels for pictures 96 pixels high, and grow with these.

    Attributes:
        counts: Shares of the pictures with none, one and two non-salient objects.
        other_class: Share of the non-salient objects whose class is not the salient one's.
        salient_radius: Of salient objects.
        salient_place: Where their centre is, in heights from the top and widths from the left.
        salient_contrast: 1 is full colour, 0 is that of the ground.
        salient_texture: Change of brightness by the texture.
        hidden_radius: Of non-salient objects.
        hidden_contrast: Of non-salient objects.
        hidden_texture: Of non-salient objects.
        period: Length of a texture's wave.
        ground_noise: Change of the ground's brightness.
        saliency_wobble: How far the saliency map's outline strays.
        size_jitter: Each side is up to this much shorter than asked for.
    """

    counts: tuple[float, float, float] = (0.2, 0.35, 0.45)
    other_class: float = 0.7
    salient_radius: tuple[float, float] = (16.0, 28.0)
    salient_place: tuple[float, float] = (0.33, 0.67)
    salient_contrast: tuple[float, float] = (0.5, 1.0)
    salient_texture: float = 0.5
    hidden_radius: tuple[float, float] = (11.0, 15.0)
    hidden_contrast: tuple[float, float] = (0.22, 0.42)
    hidden_texture: float = 0.3
    period: float = 6.5
    ground_noise: float = 0.16
    saliency_wobble: float = 2.5
    size_jitter: int = 8


APPEARANCE = Appearance()


@dataclass(frozen=True)
class Kind:
    """A class.

    Attributes:
        name: Its name.
        colour: RGB in [0, 1].
        shape: About the signed distance to the outline of a shape of radius 1; negative inside.
        texture: A pattern, mostly in [-1, 1], whose wave is 2 pi long.
    """

    name: str
    colour: tuple[float, float, float]
    shape: Callable[[Array, Array], Array]
    texture: Callable[[Array, Array], Array]


def _ball(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 1


def _box(x: Array, y: Array) -> Array:
    return np.maximum(abs(x), abs(y)) - 0.87


def _tent(x: Array, y: Array) -> Array:
    return np.maximum(0.89 * abs(x) - 0.45 * y, y) - 0.65


def _flower(x: Array, y: Array) -> Array:
    flower: Array = np.hypot(x, y) - 0.92 - 0.25 * np.cos(5 * np.arctan2(y, x))
    return flower


def _leaf(x: Array, y: Array) -> Array:
    return np.hypot(abs(x) + 0.45, y) - 1.25


def _cross(x: Array, y: Array) -> Array:
    long, short = np.maximum(abs(x), abs(y)), np.minimum(abs(x), abs(y))
    return np.maximum(short - 0.42, long - 1.05)


def _across(u: Array, v: Array) -> Array:  # noqa: ARG001
    return np.sin(v)


def _upright(u: Array, v: Array) -> Array:  # noqa: ARG001
    return np.sin(u)


def _slanted(u: Array, v: Array) -> Array:
    slanted: Array = np.sin((u + v) / np.sqrt(2))
    return slanted


def _checks(u: Array, v: Array) -> Array:
    return 2 * np.sin(0.6 * u) * np.sin(0.6 * v)


def _rings(u: Array, v: Array) -> Array:
    return np.cos(np.hypot(u, v))


def _dots(u: Array, v: Array) -> Array:
    return 1.6 * (np.cos(u) + np.cos(v)) - 0.8


KINDS = (
    Kind("ball", (0.9, 0.2, 0.15), _ball, _across),
    Kind("box", (0.2, 0.3, 0.95), _box, _checks),
    Kind("tent", (0.9, 0.8, 0.1), _tent, _upright),
    Kind("flower", (0.85, 0.2, 0.85), _flower, _rings),
    Kind("leaf", (0.15, 0.75, 0.2), _leaf, _slanted),
    Kind("cross", (0.1, 0.8, 0.85), _cross, _dots),
)


@dataclass(frozen=True)
class Picture:
    """A picture and its truth.

    Attributes:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W): 0 is background, c + 1 class c, 255 a thin line around each object.
        saliency: uint8 (H, W), which sees the salient object only.
        classes: Ascending classes.
        hidden: bool (H, W), the non-salient objects.
    """

    image: Bytes
    mask: Bytes
    saliency: Bytes
    classes: tuple[int, ...]
    hidden: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Thing:
    kind: int
    y: float
    x: float
    radius: float
    turn: float
    contrast: float
    texture: float


def draw_picture(
    seed: int, index: int, size: tuple[int, int] = SIZE, appearance: Appearance = APPEARANCE
) -> Picture:
    """The picture of an index, the same every time."""
    dice, scale = np.random.default_rng((seed, index)), size[0] / SIZE[0]
    height, width = (side - int(dice.integers(appearance.size_jitter + 1)) for side in size)
    things = _place(dice, (seed + index) % len(KINDS), (height, width), scale, appearance)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    image = _draw_ground(dice, y, x, scale, appearance)
    mask, hidden = np.zeros((height, width), np.uint8), np.zeros((height, width), bool)
    distances = []
    for thing in things:
        u, v = _own_axes(thing, y, x)
        distance = thing.radius * KINDS[thing.kind].shape(u / thing.radius, v / thing.radius)
        image = _draw_thing(image, thing, distance, u, v, appearance.period * scale)
        mask[(mask == 0) & (distance < _OUTLINE)] = IGNORED
        mask[distance < 0] = thing.kind + 1
        hidden |= (distance < 0) & (thing is not things[0])
        distances.append(distance)
    grain = 1 + 0.03 * dice.standard_normal((height, width, 1))
    saliency = _draw_saliency(dice, distances[0], scale, appearance.saliency_wobble)
    classes = tuple(sorted({thing.kind for thing in things}))
    return Picture(_to_bytes(image * grain), mask, saliency, classes, hidden)


def _place(
    dice: np.random.Generator, kind: int, size: tuple[int, int], scale: float, look: Appearance
) -> list[_Thing]:
    """The salient object, and the others around it and near the border, as far as they fit in."""

    def thing(kind: int, y: float, x: float, radius: float, salient: bool) -> _Thing:
        contrast = dice.uniform(*(look.salient_contrast if salient else look.hidden_contrast))
        texture = look.salient_texture if salient else look.hidden_texture
        return _Thing(kind, y, x, radius, dice.uniform(-0.3, 0.3), contrast, texture)

    y, x = (side * dice.uniform(*look.salient_place) for side in size)
    things = [thing(kind, y, x, scale * dice.uniform(*look.salient_radius), salient=True)]
    count = int(dice.choice(len(look.counts), p=look.counts))
    for _ in range(300):
        if len(things) > count:
            break
        radius = scale * dice.uniform(*look.hidden_radius)
        y, x = (dice.uniform(0.9 * radius, side - 0.9 * radius) for side in size)
        border = min(y, x, size[0] - y, size[1] - x)
        gap = min(np.hypot(y - t.y, x - t.x) - 1.15 * (radius + t.radius) for t in things)
        if border < 1.5 * radius and gap > 2 * scale:
            other = int(dice.integers(1, len(KINDS))) if dice.random() < look.other_class else 0
            things.append(thing((kind + other) % len(KINDS), y, x, radius, salient=False))
    return things


def _own_axes(thing: _Thing, y: Array, x: Array) -> tuple[Array, Array]:
    right, down = x - thing.x, y - thing.y
    cos, sin = np.cos(thing.turn), np.sin(thing.turn)
    return cos * right + sin * down, cos * down - sin * right


def _draw_ground(
    dice: np.random.Generator, y: Array, x: Array, scale: float, look: Appearance
) -> Array:
    """Nearly gray, with spots of three sizes, a faint weave and a faint tint."""
    spots = sum(_noise(dice, y.shape, cell * scale) for cell in (4, 10, 40)) / 2
    angle, period = dice.uniform(0, np.pi), scale * dice.uniform(4, 9)
    weave = np.sin(2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y))
    brightness = 1 + look.ground_noise * (spots + 0.3 * weave)
    tint = np.stack([_noise(dice, y.shape, 25 * scale) for _ in "RGB"], axis=-1)
    base = dice.uniform(0.4, 0.6) + dice.uniform(-0.04, 0.04, 3)
    ground: Array = base * brightness[..., None] + 0.03 * tint
    return ground


def _draw_thing(
    image: Array, thing: _Thing, distance: Array, u: Array, v: Array, period: float
) -> Array:
    """Colours on the way from the ground's to the class's; the ground's spots shine through."""
    kind, wave = KINDS[thing.kind], 2 * np.pi / period
    pattern = thing.texture * np.tanh(2 * kind.texture(wave * u, wave * v))[..., None]
    ground = image.mean((0, 1))
    colour = (1 - thing.contrast) * ground + thing.contrast * np.array(kind.colour)
    surface = colour * (1 + pattern) + (1 - thing.contrast) * (image - ground)
    cover = _sigmoid(-2 * distance)[..., None]
    painted: Array = (1 - cover) * image + cover * surface
    return painted


def _draw_saliency(
    dice: np.random.Generator, distance: Array, scale: float, wobble: float
) -> Bytes:
    """A soft outline that strays, dim parts inside, a faint glow outside."""
    outline = distance + wobble * scale * _noise(dice, distance.shape, 14 * scale)
    inside = _sigmoid(-outline / (1.2 * scale))
    dim = 0.35 * np.clip(_noise(dice, distance.shape, 22 * scale), 0, 1)
    glow = 0.08 * np.clip(_noise(dice, distance.shape, 30 * scale), 0, 1)
    return _to_bytes(np.maximum(inside * (1 - dim), glow))


def _noise(dice: np.random.Generator, shape: tuple[int, ...], cell: float) -> Array:
    """Smooth noise, mostly in [-1, 1], with bumps about `cell` pixels wide."""
    height, width = shape
    coarse = dice.uniform(-1, 1, (int(height / cell) + 3, int(width / cell) + 3))
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _sigmoid(values: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-np.clip(values, -50, 50)))
    return result


def _to_bytes(values: Array) -> Bytes:
    return (255 * values.clip(0, 1) + 0.5).astype(np.uint8)
