"""Perspective renderer: one shaded, anti-aliased ball over a wall and a floor that takes its shadow.

Pixel centres lie at whole numbers; u runs right from 0 at the left column, v down from 0 at the top row.
A ball is drawn from the exact ray-sphere geometry inside a small window around it, so that cost goes
with the ball's size and not the image's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.params import Fraction, NonNegative, NonNegativeFloat, Positive, Range, build
from kinetoken.physics.world import World
from kinetoken.scenes.camera import Camera

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

LOOK = ("colour_r", "colour_g", "colour_b", "light_azimuth", "light_tilt", "light_strength")
MASK_COVERAGE = 0.5  # a pixel belongs to the ball's mask above this coverage


SHADOW_REACH = 2.2  # a shadow ends this many times its softness from its middle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """How the world is drawn, the same for every clip."""

    image_size: Annotated[int, Range(ge=16, le=4096)]  # pixels a side
    background: Literal["room", "black"] = "room"  # black has no floor and no shadow
    wall_shade: Fraction = 0.22
    floor_shade: Fraction = 0.3
    wall_depth: Annotated[float, Range(gt=0)] = 6.0  # m; where the floor ends
    shadow: Annotated[float, Range(ge=0, lt=0.1)]  # darkening at its core; below the tracker's threshold of 0.1
    ambient: Fraction = 0.85  # share of the ball's light that has no direction
    noise: NonNegativeFloat = 0.0  # standard deviation of Gaussian noise, of full scale 1


@dataclasses.dataclass(frozen=True)
class Rendering:
    """Section render_videos.<dataset>."""

    seed: NonNegative  # of the noise
    look: Look
    shard_clips: Positive  # clips in one Parquet shard
    processes: Positive


@dataclasses.dataclass(frozen=True)
class Scene:
    """All that a reader needs to know of how clips were drawn; it travels in the clip store."""

    world: World
    look: Look

    @property
    def camera(self) -> Camera:
        """What the clips are seen by."""
        return Camera.of(self.world, self.look.image_size)

    def background(self) -> NDArray[np.float32]:
        """(H, W, 3) in [0, 1], what the camera sees with no ball."""
        size, look = self.look.image_size, self.look
        image = np.zeros((size, size, 3), np.float32)
        if look.background == "room":
            image[:] = look.wall_shade
            below = self.camera.slope(np.arange(size))  # −y / z of each row's ray
            depth = np.where(below > 0, -self.world.floor_y / np.maximum(below, 1e-9), np.inf)
            rows = depth < look.wall_depth
            image[rows] = (look.floor_shade * (1.1 - 0.1 * depth[rows] / look.wall_depth))[:, None, None]
        return image


def to_scene(content: Mapping[str, object], where: str = "scene") -> Scene:
    """The scene from what `dataclasses.asdict` makes of it. UserError, begun by `where`, for anything else."""
    return build(Scene, content, where)


def ball_coverage(scene: Scene, points: Array) -> NDArray[np.float32]:
    """Share of each pixel that the ball covers. points (..., 3) m → (..., H, W) in [0, 1]."""
    flat = points.reshape(-1, 3)
    size = scene.look.image_size
    coverage = np.zeros((len(flat), size, size), np.float32)
    rows, columns = _window(scene, flat)
    frame = np.arange(len(flat))[:, None, None]
    coverage[frame, rows, columns] = _cover(scene, flat, rows, columns)[0]
    return coverage.reshape(*points.shape[:-1], size, size)


def render(scene: Scene, points: Array, look: Mapping[str, Array]) -> Pixels:
    """points (N, T, 3) m and one value of each LOOK name a clip (N,) → (N, T, H, W, 3) uint8, without noise."""
    clips, frames = points.shape[:2]
    size = scene.look.image_size
    flat = points.reshape(-1, 3)
    each = {name: np.repeat(np.asarray(look[name], np.float32), frames) for name in LOOK}
    canvas = np.empty((clips * frames, size, size, 3), np.uint8)
    canvas[:] = to_bytes(scene.background())
    if scene.look.background == "room":
        _draw_shadow(scene, canvas, flat, each)
    draw_ball(scene, canvas, flat, each)
    return canvas.reshape(clips, frames, size, size, 3)


def to_bytes(image: NDArray[np.float32]) -> Pixels:
    """[0, 1] → uint8, rounded and clipped."""
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def add_noise(pixels: Pixels, noise: float, rngs: list[np.random.Generator]) -> Pixels:
    """Gaussian noise of standard deviation `noise` (of 1) on (N, T, H, W, 3), one generator a clip."""
    if noise == 0:
        return pixels
    drawn = np.stack([rng.standard_normal(pixels.shape[1:], np.float32) for rng in rngs])
    return to_bytes(pixels.astype(np.float32) / 255 + noise * drawn)


def _window(scene: Scene, flat: Array) -> tuple[np.ndarray, np.ndarray]:
    """Rows (M, K, 1) and columns (M, 1, K) of the image that hold each ball, moved inside at the edges."""
    u, v, radius = scene.camera.project(flat)
    reach = _reach(scene, radius * 1.15)
    return _span(scene, v, reach)[:, :, None], _span(scene, u, reach)[:, None, :]


def _reach(scene: Scene, pixels: Array) -> int:
    """Half the side of a window that holds the largest of these, at most the image."""
    return min(max(int(np.ceil(float(pixels.max()))), 0) + 1, (scene.look.image_size - 1) // 2)


def _span(scene: Scene, middle: Array, reach: int) -> np.ndarray:
    size = scene.look.image_size
    first = np.clip(np.rint(middle).astype(np.int64) - reach, 0, size - (2 * reach + 1))
    return first[:, None] + np.arange(2 * reach + 1)


def _cover(
    scene: Scene, flat: Array, rows: np.ndarray, columns: np.ndarray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coverage (M, K, K) and the ball's outward normals there (M, K, K, 3)."""
    centre = flat.astype(np.float32)
    dx = scene.camera.slope(columns).astype(np.float32)  # (M, 1, K)
    dy = -scene.camera.slope(rows).astype(np.float32)  # (M, K, 1)
    length = np.sqrt(dx * dx + dy * dy + 1)  # of the ray (dx, dy, 1)
    cx, cy, cz = (centre[:, i, None, None] for i in range(3))
    along = (cx * dx + cy * dy + cz) / length  # m, to the point nearest the ball's centre
    square = cx * cx + cy * cy + cz * cz
    away = np.sqrt(np.maximum(square - along * along, 0))
    radius = np.float32(scene.world.ball_radius)
    pixel = along / (length * scene.camera.focal)  # m, a pixel's size at that depth
    coverage = np.clip(0.5 + (radius - away) / pixel, 0, 1)
    depth = (along - np.sqrt(np.maximum(radius * radius - away * away, 0))) / length
    normal = np.stack([depth * dx - cx, depth * dy - cy, depth - cz], -1)
    return coverage, normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)


def draw_ball(scene: Scene, canvas: Pixels, flat: Array, look: Mapping[str, NDArray[np.float32]]) -> None:
    """The ball at points (M, 3) m onto images (M, H, W, 3) in place, no shadow. look: (M,) by name."""
    rows, columns = _window(scene, flat)
    coverage, normal = _cover(scene, flat, rows, columns)
    # the light that shades comes from behind the camera, the one that throws the shadow from overhead, both
    # off by the same tilt: shading nearly even over the disc keeps its centroid at its centre
    lean, azimuth = look["light_tilt"], look["light_azimuth"]
    light = np.stack([np.sin(lean) * np.cos(azimuth), np.sin(lean) * np.sin(azimuth), -np.cos(lean)], -1)
    lambert = np.maximum(np.einsum("mijk,mk->mij", normal, light), 0)
    ambient = np.float32(scene.look.ambient)
    bright = look["light_strength"][:, None, None] * (ambient + (1 - ambient) * lambert)
    colour = np.stack([look["colour_r"], look["colour_g"], look["colour_b"]], -1)
    frame = np.arange(len(flat))[:, None, None]
    under = canvas[frame, rows, columns].astype(np.float32) / 255
    canvas[frame, rows, columns] = to_bytes(
        under + coverage[..., None] * (bright[..., None] * colour[:, None, None] - under)
    )


def _draw_shadow(
    scene: Scene, canvas: Pixels, flat: Array, look: Mapping[str, NDArray[np.float32]]
) -> None:
    """A soft round shadow where the ray of the overhead light through the ball meets the floor."""
    height = flat[:, 1] - scene.world.floor_y
    lean = height * np.tan(look["light_tilt"])
    spot = np.stack([
        flat[:, 0] + lean * np.cos(look["light_azimuth"]), np.full(len(flat), scene.world.floor_y),
        flat[:, 2] + lean * np.sin(look["light_azimuth"]),
    ], -1)
    softness = scene.world.ball_radius * (1 + 0.15 * height)  # m; the higher the ball, the wider
    camera = scene.camera
    u, v, _ = camera.project(spot)
    far, near = spot[:, 2], np.maximum(spot[:, 2] - SHADOW_REACH * softness, 0.1)  # m; its rim towards the camera
    across = camera.focal * SHADOW_REACH * softness / near
    down = np.minimum(-scene.world.floor_y * camera.focal * (1 / near - 1 / far), scene.look.image_size - 1 - v)
    rows = _span(scene, v, _reach(scene, down))[:, :, None]
    columns = _span(scene, u, _reach(scene, across))[:, None, :]
    below = np.maximum(camera.slope(rows), 1e-6).astype(np.float32)  # −y / z of each row's ray
    z = np.float32(-scene.world.floor_y) / below
    x = camera.slope(columns).astype(np.float32) * z
    middle, spread = spot.astype(np.float32)[..., None, None], softness.astype(np.float32)[:, None, None]
    square = ((x - middle[:, 0]) ** 2 + (z - middle[:, 2]) ** 2) / spread**2
    fall = np.maximum(np.exp(-square) - np.float32(np.exp(-SHADOW_REACH**2)), 0)  # ends at its rim, not at a window
    dark = scene.look.shadow * fall * (z < scene.look.wall_depth) * (rows > camera.centre)
    frame = np.arange(len(flat))[:, None, None]
    lit = scene.background()[rows, columns, 0]  # (M, K, K); the room is grey
    canvas[frame, rows, columns] = to_bytes(lit - dark.astype(np.float32))[..., None]
