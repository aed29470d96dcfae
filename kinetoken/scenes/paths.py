"""The ball's path in the image: as numbers a network can read, as new paths by symmetry, carried on by rule.

A path is (u, v, radius) in each frame. Its *path coordinates* are centred and scaled so that all three are
of order one: ((u − c) / s, (v − c) / s, 4 log(radius / r0)) with s a quarter and r0 a sixteenth of the image.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinetoken.physics.world import World
from kinetoken.scenes.rendering import Scene

if TYPE_CHECKING:
    from sklearn.linear_model import RidgeCV

Array = NDArray[np.float64]

COORDINATES = 3  # u, v, radius
IMAGE_EDGES = (-2.0, 2.0)  # left and right, upper and lower, in path coordinates
RADIUS_GAIN = 4.0
VIEW_TRIES = 6  # placements tried for each new path before the original stands in

# what filters are fits of at the start: (degree of the polynomial, radians a frame of a circle on top or 0, window)
CURVES = (
    (1, 0.0, 3), (2, 0.0, 5), (1, 0.3, 12), (1, 0.5, 12), (2, 0.0, 12), (1, 0.4, 12), (2, 0.0, 8), (1, 0.6, 12),
    (1, 0.0, 5), (1, 0.2, 12), (1, 0.7, 12), (1, 0.0, 8),
)

# what a reader with no knowledge of the laws can do: degree of the polynomial, and how many frames it is fitted to
FLOORS = {
    "copy": (0, 1), "constant_velocity": (1, 2), "constant_acceleration": (2, 5), "quadratic": (2, 8),
}


def to_path_coordinates(u: Array, v: Array, radius: Array, image_size: int) -> Tensor:
    """Pixels (...) each → path coordinates (..., 3) float32."""
    quarter, middle = image_size / 4, (image_size - 1) / 2
    size = RADIUS_GAIN * np.log(np.maximum(radius, 1e-3) / (image_size / 16))
    return torch.from_numpy(np.stack([(u - middle) / quarter, (v - middle) / quarter, size], -1).astype(np.float32))


def to_pixels(path: Tensor, image_size: int) -> tuple[Array, Array, Array]:
    """Path coordinates (..., 3) → u, v, radius in pixels, (...) each."""
    quarter, middle = image_size / 4, (image_size - 1) / 2
    x, y, size = np.moveaxis(path.detach().cpu().numpy().astype(np.float64), -1, 0)
    return middle + quarter * x, middle + quarter * y, image_size / 16 * np.exp(size / RADIUS_GAIN)


def scene_path(scene: Scene, points: Array) -> Tensor:
    """Positions (N, T, 3) m → their path coordinates (N, T, 3)."""
    return to_path_coordinates(*scene.camera.project(points), scene.look.image_size)


def symmetric_copies(
    points: Array, world: World, copies: int, scale: tuple[float, float], seed: int
) -> Array:
    """New paths that obey the same laws: (N, T, 3) m → (copies · N, T, 3) m, all in view.

    The laws of motion keep their form when a path is turned about the vertical, mirrored, enlarged or
    moved. A copy that would leave the view is placed anew, and is the original after six failures.
    """
    rng = np.random.default_rng([seed, 7])
    return np.concatenate([_one_copy(points, world, scale, rng) for _ in range(copies)])


def _one_copy(points: Array, world: World, scale: tuple[float, float], rng: np.random.Generator) -> Array:
    count = len(points)
    middle = points.mean(1, keepdims=True)  # (N, 1, 3)
    turn, size = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(*scale, (count, 1, 1))
    mirror = np.where(rng.random((count, 1, 1)) < 0.5, np.array([-1.0, 1.0, 1.0]), 1.0)
    x, y, z = np.moveaxis((points - middle) * size * mirror, -1, 0)  # (N, T) each
    turned = np.stack([np.cos(turn) * x - np.sin(turn) * z, y, np.sin(turn) * x + np.cos(turn) * z], -1)
    placed, spread = points.copy(), middle.std(0)
    waiting = np.ones(count, bool)
    for _ in range(VIEW_TRIES):
        tried = turned + middle + spread * rng.standard_normal((count, 1, 3))
        good = waiting & world.in_view(tried)
        placed[good], waiting = tried[good], waiting & ~good
    return placed


def carry_on_matrix(index: int, past: int, horizon: int) -> Array:
    """(horizon, past): the filter that a bank's entry `index` starts as, a least-squares fit of one of CURVES.

    A window longer than the past shrinks to it; a curve that it then leaves hardly any error to average gives way
    to a line.
    """
    degree, rate, window = CURVES[index % len(CURVES)]
    window = min(window, past)
    if degree + 1 + 2 * (rate > 0) > window - 2:
        degree, rate = min(1, window - 1), 0.0
    matrix = np.zeros((horizon, past))
    matrix[:, -window:] = fitted_curve_matrix(degree, rate, window, horizon)
    return matrix


def fitted_curve_matrix(degree: int, rate: float, window: int, horizon: int) -> Array:
    """(horizon, window): least squares of a polynomial plus a circle of `rate` radians a frame (0: none)."""
    def basis(frame: Array) -> Array:
        columns = [frame**power for power in range(degree + 1)]
        return np.stack([*columns, *((np.cos(rate * frame), np.sin(rate * frame)) if rate else ())], -1)

    return np.asarray(basis(np.arange(1.0, horizon + 1)) @ np.linalg.pinv(basis(np.arange(1 - window, 1.0))))


def polynomial_basis(count: int, frames: int) -> Array:
    """(count, frames): orthonormal polynomials of degree 0, 1, … over the frames; zeros where there are too few."""
    place = np.linspace(-1, 1, frames)
    known = min(count, frames)
    columns, heads = np.linalg.qr(np.vander(place, known, increasing=True))
    basis = np.zeros((count, frames))
    basis[:known] = (columns * np.sign(np.diag(heads))).T
    return basis


def fitted_ridge(past: Array, ahead: Array) -> "RidgeCV":
    """Ridge regression (N, P) → (N, Q), its penalty the one with the least leave-one-out error of these rows."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=np.logspace(-6, 3, 19)).fit(past, ahead)


def extrapolate(past: Array, rule: str, horizon: int) -> Array:
    """Carry (N, P, C) on by one of FLOORS → (N, horizon, C). Windows longer than the past shrink to it."""
    degree, window = FLOORS[rule]
    window = min(window, past.shape[1])
    matrix = fitted_curve_matrix(min(degree, window - 1), 0.0, window, horizon)
    return np.asarray(np.einsum("hp,npc->nhc", matrix, past[:, -window:]))
