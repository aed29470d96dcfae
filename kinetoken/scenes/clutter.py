"""What surrounds a candidate: texture, things that are no balls, and noise, drawn alike in every clip.

Things drift slowly and turn back at the image's edge; the ball passes in front of them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.params import Fraction, NonNegative, NonNegativeFloat, Range
from kinetoken.physics.laws import Array
from kinetoken.scenes.rendering import Pixels, Rendering, Scene, add_noise, draw_ball, to_bytes

Image = NDArray[np.float32]

COARSE = 8  # nodes a side of the grid that a texture is smoothed from
REACH = 8  # px, half the window that a thing is drawn in


@dataclasses.dataclass(frozen=True)
class Clutter:
    """Of every clip; lengths in pixels."""

    texture: Annotated[float, Range(ge=0, le=0.3)]  # standard deviation, of full scale 1, the same in every frame
    grain: Annotated[float, Range(ge=0, le=0.3)]  # likewise, of single pixels; noise of each frame is look.noise
    things: tuple[NonNegative, NonNegative]  # at least, at most
    size: tuple[float, float]  # half a thing's length
    drift: NonNegativeFloat  # a frame, at most, along each side of the image
    contrast: Fraction  # of a thing: 1 is as bright and colourful as a ball may be

    def __post_init__(self) -> None:
        if self.things[0] > self.things[1]:
            raise ValueError(f"things: expected low <= high, found {list(self.things)}")
        if not 0 < self.size[0] <= self.size[1] <= REACH - 2:
            raise ValueError(f"size: expected 0 < low <= high <= {REACH - 2}, found {list(self.size)}")


@dataclasses.dataclass(frozen=True)
class ClutteredRendering(Rendering):
    """Section render_videos.<dataset> of a dataset of candidates."""

    clutter: Clutter


def render_candidates(
    scene: Scene, clutter: Clutter, points: Array, look: Mapping[str, Array], rngs: list[np.random.Generator]
) -> Pixels:
    """points (N, T, 3) m, NaN where there is no candidate, and looks (N,) by name → (N, T, H, W, 3) uint8."""
    clips, frames = points.shape[:2]
    image = scene.background() + np.stack([_texture(clutter, scene.look.image_size, rng) for rng in rngs])
    canvas = np.repeat(image[:, None], frames, axis=1)  # (N, T, H, W, 3) in [0, 1]
    for clip, rng in zip(canvas, rngs, strict=True):
        _draw_things(clutter, clip, rng)
    pixels = to_bytes(canvas)
    seen = np.isfinite(points).all(-1)
    if seen.any():
        each = {name: np.repeat(np.asarray(v, np.float32), frames)[seen.ravel()] for name, v in look.items()}
        balls = pixels[seen]
        draw_ball(scene, balls, points[seen], each)
        pixels[seen] = balls
    return add_noise(pixels, scene.look.noise, rngs)


def _texture(clutter: Clutter, size: int, rng: np.random.Generator) -> Image:
    """(H, W, 3) about 0: smooth noise, mostly grey, and grain of single pixels."""
    nodes = rng.standard_normal((COARSE + 1, COARSE + 1, 3)) * 0.4 + rng.standard_normal((COARSE + 1, COARSE + 1, 1))
    place = np.arange(size) * (COARSE / (size - 1))
    low = np.minimum(place.astype(int), COARSE - 1)
    share = place - low
    share = (share * share * (3 - 2 * share))[:, None]  # smooth at the nodes
    weight = np.zeros((size, COARSE + 1))
    weight[np.arange(size), low], weight[np.arange(size), low + 1] = 1 - share[:, 0], share[:, 0]
    smooth = np.moveaxis(weight @ np.moveaxis(nodes, -1, 0) @ weight.T, 0, -1)
    grain = clutter.grain * rng.standard_normal(smooth.shape, np.float32)
    return np.asarray(smooth * (clutter.texture / max(float(smooth.std()), 1e-9)) + grain, np.float32)


def _draw_things(clutter: Clutter, clip: Image, rng: np.random.Generator) -> None:
    """Bars, crosses and triangles onto one clip (T, H, W, 3), in place."""
    frames, size = clip.shape[:2]
    for _ in range(int(rng.integers(clutter.things[0], clutter.things[1] + 1))):
        kind, turn = int(rng.integers(3)), rng.random() * 2 * np.pi
        half = rng.uniform(*clutter.size)
        colour = np.asarray(0.25 + clutter.contrast * rng.uniform(0.0, 0.7, 3), np.float32)
        start, drift = rng.random(2) * (size - 1), (2 * rng.random(2) - 1) * clutter.drift
        place = _reflected(start + drift * np.arange(frames)[:, None], size - 1)  # (T, 2): v, u
        corner = np.clip(np.rint(place).astype(int) - REACH, 0, size - 2 * REACH - 1)
        span = np.arange(2 * REACH + 1)
        rows, columns = corner[:, :1] + span, corner[:, 1:] + span  # (T, K)
        cover = _cover(kind, half, turn, rows - place[:, :1], columns - place[:, 1:])[..., None]  # (T, K, K, 1)
        frame = np.arange(frames)[:, None, None]
        under = clip[frame, rows[:, :, None], columns[:, None, :]]
        clip[frame, rows[:, :, None], columns[:, None, :]] = under + cover * (colour - under)


def _reflected(place: Array, end: float) -> Array:
    """Places on a line, folded back into [0, end]."""
    return np.asarray(end - np.abs(np.mod(place, 2 * end) - end))


def _cover(kind: int, half: float, turn: float, v: Array, u: Array) -> Image:
    """Share of each pixel that a thing covers, from its signed distance. v, u (T, K) px from its middle."""
    a = np.cos(turn) * u[:, None, :] + np.sin(turn) * v[:, :, None]  # (T, K, K), along the thing and across
    b = np.cos(turn) * v[:, :, None] - np.sin(turn) * u[:, None, :]
    if kind == 0:
        outside = _box(a, b, half, 0.3 * half)
    elif kind == 1:
        outside = np.minimum(_box(a, b, half, 0.22 * half), _box(a, b, 0.22 * half, half))
    else:
        outside = np.maximum(-b - 0.5 * half, np.sqrt(0.75) * np.abs(a) + 0.5 * b - 0.5 * half)  # triangle
    return np.asarray(np.clip(0.5 - outside, 0, 1), np.float32)


def _box(a: Array, b: Array, long: float, wide: float) -> Array:
    return np.asarray(np.maximum(np.abs(a) - long, np.abs(b) - wide))
