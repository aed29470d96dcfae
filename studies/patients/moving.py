"""Clips that this project's renderer did not draw: soft blobs, squares and bars that move, in colour, in numpy.

A scene gives clips (N, T, S, S, 3) uint8 and the name of each clip's class. Colour, shape, start, speed and background
are drawn anew for each clip, so that the class is shown by what the scene is named for and by nothing else.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Look:
    """How clips are drawn; lengths in shares of the frame.

    texture: amplitude, in [0, 1], of a pattern behind, another one each clip; noise: deviation a pixel a frame.
    """

    count: int = 900
    frames: int = 8
    size: int = 32
    radius: float = 0.16
    texture: float = 0.0
    noise: float = 0.01


@dataclasses.dataclass
class Film:
    """What is drawn of N clips: places (N, T, 2) in [-1, 1], radii (N, T), colours (N, 3), shapes (N,) of SHAPES."""

    places: Array
    radii: Array
    colours: Array
    shapes: NDArray[np.int64]


RED, GREEN = np.array([2, -1, -1]) / 6**0.5, np.array([0, 1, -1]) / 2**0.5  # directions in colour of no brightness
SHAPES = ("blob", "square", "wide bar", "tall bar")


def drawn(film: Film, look: Look, rng: np.random.Generator) -> Pixels:
    """The clips (N, T, S, S, 3)."""
    count, frames = film.radii.shape
    axis = (np.arange(look.size) + 0.5) / look.size * 2 - 1
    behind = _backgrounds(count, look, rng)
    clips = np.empty((count, frames, look.size, look.size, 3), np.uint8)
    stretch = np.array([[1, 1], [1, 1], [2.2, 0.6], [0.6, 2.2]])[film.shapes]  # of each shape along x and y
    round_ = (film.shapes == 0)[:, None, None]
    for frame in range(frames):
        x = (axis[None, None, :] - film.places[:, frame, 0, None, None]) / stretch[:, 0, None, None]
        y = (axis[None, :, None] - film.places[:, frame, 1, None, None]) / stretch[:, 1, None, None]
        away = np.where(round_, np.hypot(x, y), np.maximum(np.abs(x), np.abs(y)))
        cover = np.clip((2 * film.radii[:, frame, None, None] - away) * look.size / 2 + 0.5, 0, 1)[..., None]
        picture = behind * (1 - cover) + film.colours[:, None, None] * cover
        picture = picture + rng.normal(0, look.noise, picture.shape) if look.noise else picture
        clips[:, frame] = np.rint(np.clip(picture, 0, 1) * 255)
    return clips


def _backgrounds(count: int, look: Look, rng: np.random.Generator) -> Array:
    """(N, S, S, 3): one dark shade with a slope, and a random pattern of coarse waves of the look's amplitude."""
    axis = np.linspace(-1, 1, look.size)
    slope = rng.uniform(-0.05, 0.05, (count, 2))
    shade = 0.2 + slope[:, 0, None, None] * axis[None, :, None] + slope[:, 1, None, None] * axis[None, None, :]
    picture = np.repeat(shade[..., None], 3, -1)
    if look.texture:
        picture = picture + 0.25  # waves need room below
        for wave in range(4):
            turn, phase = rng.uniform(0, np.pi, (count, 1, 1)), rng.uniform(0, 2 * np.pi, (count, 1, 1))
            along = np.cos(turn) * axis[None, :, None] + np.sin(turn) * axis[None, None, :]
            waves = np.sin((3 + 3 * wave) * along + phase)
            picture = picture + look.texture / 2 * waves[..., None] * rng.uniform(0.3, 1, (count, 1, 1, 3))
    return picture


def _start(count: int, look: Look, rng: np.random.Generator, colours: Array | None = None) -> Film:
    """Bodies at rest in the middle, each of its own size, colour and shape."""
    if colours is None:
        colours = rng.uniform(0.45, 1.0, (count, 3))
    radii = look.radius * rng.uniform(0.85, 1.15, (count, 1)) * np.ones((1, look.frames))
    return Film(np.zeros((count, look.frames, 2)), radii, colours, rng.integers(0, len(SHAPES), count))


def _classes(count: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permutation(np.arange(count) % number)


def directions(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Four classes: a body crosses the frame steadily to the right, the left, downwards or upwards."""
    which, film = _classes(look.count, 4, rng), _start(look.count, look, rng)
    turn = which * np.pi / 2 + rng.uniform(-0.3, 0.3, look.count)
    along = np.stack([np.cos(turn), np.sin(turn)], -1)[:, None]
    across = np.stack([-np.sin(turn), np.cos(turn)], -1)[:, None]
    way = rng.uniform(0.8, 1.2, (look.count, 1, 1)) * np.linspace(-0.5, 0.5, look.frames)[None, :, None]
    film.places += along * (way + rng.uniform(-0.15, 0.15, (look.count, 1, 1)))
    film.places += across * rng.uniform(-0.35, 0.35, (look.count, 1, 1))
    return film, np.array(["right", "down", "left", "up"])[which]


def motions(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Five classes: at rest, swaying, bobbing, orbiting, or growing in place; all begin near the same phase."""
    which, film = _classes(look.count, 5, rng), _start(look.count, look, rng)
    angle = 2 * np.pi * np.arange(look.frames) / look.frames + rng.uniform(-0.5, 0.5, (look.count, 1))
    reach = rng.uniform(0.4, 0.5, (look.count, 1))
    film.places[..., 0] += reach * np.cos(angle) * np.isin(which, (1, 3))[:, None]
    film.places[..., 1] += reach * np.sin(angle) * np.isin(which, (2, 3))[:, None]
    film.places += rng.uniform(-0.25, 0.25, (look.count, 1, 2))
    film.radii *= np.where((which == 4)[:, None], np.linspace(0.6, 1.9, look.frames)[None], 1.0)
    return film, np.array(["rest", "sway", "bob", "orbit", "grow"])[which]


def hues(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Four classes of hue, all of one mean brightness; the body moves anywhere."""
    which = _classes(look.count, 4, rng)
    turn = which * np.pi / 2 + rng.uniform(-0.3, 0.3, look.count)
    colours = 0.6 + 0.4 * (np.cos(turn)[:, None] * RED + np.sin(turn)[:, None] * GREEN)
    film = _start(look.count, look, rng, colours)
    step = rng.uniform(-0.4, 0.4, (look.count, 1, 2)) * np.linspace(-1, 1, look.frames)[None, :, None]
    film.places += step + rng.uniform(-0.3, 0.3, (look.count, 1, 2))
    return film, np.array(["red", "green", "cyan", "violet"])[which]


def courses(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Eight classes: the four of `directions`, each by a warm or a cold body of no fixed brightness."""
    film, way = directions(look, rng)
    cold = _classes(look.count, 2, rng)
    turn = np.pi * cold + rng.uniform(-0.5, 0.5, look.count)
    film.colours = rng.uniform(0.5, 0.7, (look.count, 1)) + 0.36 * (
        np.cos(turn)[:, None] * RED + np.sin(turn)[:, None] * GREEN
    )
    return film, np.char.add(np.array(["warm ", "cold "])[cold], way)


def still(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Four classes of shape that stand still for the whole clip."""
    film = _start(look.count, look, rng)
    film.shapes = _classes(look.count, 4, rng)
    film.radii *= 1.5
    film.places += rng.uniform(-0.1, 0.1, (look.count, 1, 2))
    return film, np.array(SHAPES)[film.shapes]


def places(look: Look, rng: np.random.Generator) -> tuple[Film, NDArray[np.str_]]:
    """Twenty-four classes: where, of 6 × 4 places, a body that comes from the middle ends."""
    which, film = _classes(look.count, 24, rng), _start(look.count, look, rng)
    end = np.stack([(which % 6 - 2.5) / 3.3, (which // 6 - 1.5) / 2.2], -1) + rng.uniform(-0.03, 0.03, (look.count, 2))
    film.places += end[:, None] * np.linspace(0, 1, look.frames)[None, :, None]
    return film, np.array([f"place {one:02d}" for one in which])


SCENES: dict[str, Callable[[Look, np.random.Generator], tuple[Film, NDArray[np.str_]]]] = {
    "directions": directions, "motions": motions, "hues": hues, "courses": courses, "still": still, "places": places,
}


def filmed(scene: str, seed: int, **look: Any) -> tuple[Pixels, NDArray[np.str_]]:  # noqa: ANN401 - fields of Look
    """Clips (N, T, S, S, 3) of one of SCENES and their classes (N,)."""
    rng, chosen = np.random.default_rng(seed), Look(**look)
    film, labels = SCENES[scene](chosen, rng)
    return drawn(film, chosen, rng), labels
