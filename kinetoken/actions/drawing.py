"""Pictures of things on their courses: textured ground, one light, soft shadows, edges one pixel wide."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.actions.courses import Course, Rng
from kinetoken.actions.shapes import SHAPES, Field

Pixels = NDArray[np.uint8]

COLOURS = {
    "red": (0.89, 0.16, 0.17), "orange": (0.97, 0.53, 0.1), "yellow": (0.98, 0.86, 0.2), "green": (0.2, 0.75, 0.3),
    "blue": (0.2, 0.42, 0.95), "purple": (0.6, 0.3, 0.88), "pink": (0.98, 0.5, 0.74), "white": (0.95, 0.95, 0.95),
}
SHADOW = 0.45  # darkening at its core
SHADOW_SOFTNESS = 0.3  # lengths here are shares of the thing's radius
SHADOW_LENGTH = 0.3
GLOSS = 0.35
REACH = 1 + SHADOW_LENGTH + SHADOW_SOFTNESS


@dataclasses.dataclass(frozen=True)
class Thing:
    """What moves: a shape and a colour that have names, and how it is turned (radians, clockwise)."""

    shape: str
    colour: str
    tilt: float

    @property
    def name(self) -> str:
        """As a person would say it: "a red ball", "an orange box"."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}"


@dataclasses.dataclass(frozen=True)
class Light:
    """Where the light comes from (radians, 0 right, clockwise) and how bright it is."""

    angle: float
    strength: float


def draw(ground: Field, light: Light, things: tuple[Thing, ...], courses: tuple[Course, ...]) -> Pixels:
    """A clip (T, H, W, 3) uint8: the things on the square ground (H, W, 3) in [0, 1], later ones in front."""
    frames = len(courses[0].x)
    canvas = np.repeat(ground[None], frames, axis=0)  # (T, H, W, 3)
    for thing, course in zip(things, courses, strict=True):
        rows, columns = _window(course, len(ground))
        place = np.arange(frames)[:, None, None], rows[:, :, None], columns[:, None]
        x = ((columns + 0.5) / len(ground) - course.x[:, None]) / course.radius[:, None]  # (T, K), in its radii
        y = ((rows + 0.5) / len(ground) - course.y[:, None]) / course.radius[:, None]
        patch = canvas[place]  # (T, K, K, 3)
        _cast_shadow(patch, light, thing, x.astype(np.float32), y.astype(np.float32))
        _paint(patch, light, thing, x.astype(np.float32), y.astype(np.float32), course.radius * len(ground))
        canvas[place] = patch
    return np.asarray(np.clip(canvas * np.float32(light.strength), 0, 1) * 255 + 0.5).astype(np.uint8)


def _window(course: Course, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (T, K) and columns (T, K) of the image that hold the thing and its shadow, moved inside at the edges."""
    reach = min(int(np.ceil(course.radius.max() * REACH * size)) + 1, size // 2)
    spans = (np.clip(np.floor(middle * size).astype(np.int64) - reach, 0, size - 2 * reach)
             for middle in (course.y, course.x))
    rows, columns = (first[:, None] + np.arange(2 * reach) for first in spans)
    return rows, columns


def _turned_to(x: Field, y: Field, tilt: float) -> tuple[Field, Field]:
    """Coordinates (T, K, K) in a thing turned by `tilt`, from columns (T, K) and rows (T, K)."""
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    return cos * x[:, None] + sin * y[:, :, None], cos * y[:, :, None] - sin * x[:, None]


def _cast_shadow(patch: Field, light: Light, thing: Thing, x: Field, y: Field) -> None:
    away = -SHADOW_LENGTH * np.cos(light.angle), -SHADOW_LENGTH * np.sin(light.angle)
    distance = SHAPES[thing.shape](*_turned_to(x - np.float32(away[0]), y - np.float32(away[1]), thing.tilt))
    depth = np.clip(0.5 - distance / np.float32(2 * SHADOW_SOFTNESS), 0, 1)
    patch *= (1 - np.float32(SHADOW) * depth)[..., None]


def _paint(patch: Field, light: Light, thing: Thing, x: Field, y: Field, radius: NDArray[np.float64]) -> None:
    x, y = _turned_to(x, y, thing.tilt)
    coverage = np.clip(np.float32(0.5) - SHAPES[thing.shape](x, y) * radius.astype(np.float32)[:, None, None], 0, 1)
    angle = light.angle - thing.tilt  # in the thing's own frame
    to_light = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    shade = np.clip(np.float32(0.9) + np.float32(0.2) * to_light, 0.6, 1.1)
    colour = np.array(COLOURS[thing.colour], np.float32) * shade[..., None]
    if thing.shape == "ball":
        spot = (x - np.float32(0.4 * np.cos(angle))) ** 2 + (y - np.float32(0.4 * np.sin(angle))) ** 2
        colour += (np.float32(GLOSS) * np.exp(-spot / np.float32(0.06)))[..., None]
    patch += coverage[..., None] * (colour - patch)


def draw_ground(rng: Rng, size: int) -> Field:
    """A textured surface (H, W, 3) in [0, 1], dull and darker than any thing."""
    names = sorted(TEXTURES)
    pattern = TEXTURES[names[rng.integers(len(names))]](rng, size)[..., None]
    first, second = (_dull_colour(rng) for _ in range(2))
    angle = rng.uniform(0, 2 * np.pi)
    centre = (np.arange(size) + 0.5) / size - 0.5
    slope = centre * np.cos(angle) + (centre * np.sin(angle))[:, None]
    ground = (first + pattern * (second - first)) * (1 + 0.25 * slope)[..., None]
    return np.asarray(np.clip(ground + rng.normal(0, 0.008, (size, size, 1)), 0, 1), np.float32)


def _dull_colour(rng: Rng) -> NDArray[np.float64]:
    value = rng.uniform(0.2, 0.5)
    return np.asarray(value * (1 + rng.uniform(-0.16, 0.16, 3)))


def _turned(rng: Rng, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = (np.arange(size) + 0.5) / size
    angle = rng.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    return centre * cos + (centre * sin)[:, None], (centre * cos)[:, None] - centre * sin


def _stripes(rng: Rng, size: int) -> NDArray[np.float64]:
    x, _ = _turned(rng, size)
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(3, 7) * x + rng.uniform())))


def _checks(rng: Rng, size: int) -> NDArray[np.float64]:
    x, y = _turned(rng, size)
    count = rng.uniform(2, 4)
    waves = np.sin(2 * np.pi * (count * x + rng.uniform())) * np.sin(2 * np.pi * (count * y + rng.uniform()))
    return np.asarray(0.5 + 0.5 * np.clip(4 * waves, -1, 1))


def _clouds(rng: Rng, size: int) -> NDArray[np.float64]:
    """Random values on a coarse grid, smoothly joined, at two scales."""
    field = np.zeros((size, size))
    for cells, weight in ((3, 0.65), (8, 0.35)):
        place = np.linspace(0, cells, size, endpoint=False)
        whole = place.astype(int)
        part = (1 - np.cos(np.pi * (place - whole))) / 2
        mix = np.zeros((size, cells + 1))
        mix[np.arange(size), whole], mix[np.arange(size), whole + 1] = 1 - part, part
        field += weight * mix @ rng.random((cells + 1, cells + 1)) @ mix.T
    return field


def _spots(rng: Rng, size: int) -> NDArray[np.float64]:
    x, y = _turned(rng, size)
    count = rng.uniform(3, 6)
    waves = np.cos(2 * np.pi * (count * x + rng.uniform())) + np.cos(2 * np.pi * (count * y + rng.uniform()))
    return np.asarray(np.clip(2 * waves - 1, 0, 1))


def _plain(rng: Rng, size: int) -> NDArray[np.float64]:
    return np.full((size, size), rng.random())


TEXTURES = {"stripes": _stripes, "checks": _checks, "clouds": _clouds, "spots": _spots, "plain": _plain}
