"""Follow the one ball of a clip from pixels: image position and apparent radius in each frame."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

THRESHOLD = 0.1  # deviation from the background, of full scale, below which a pixel counts nothing
LEAST_MASS = 0.1  # share of the original's mass under which a ball counts as lost


@dataclasses.dataclass
class Tracked:
    """u, v (...) pixels, radius (...) pixels, mass (...) summed deviation above the threshold."""

    u: Array
    v: Array
    radius: Array
    mass: Array


def deviation(frames: Floats, background: Floats) -> Floats:
    """max(0, |x − background| − 0.1), averaged over colours first. (..., H, W, 3) in [0, 1] → (..., H, W)."""
    return np.asarray(np.maximum(np.abs(frames - background).mean(-1) - THRESHOLD, 0))


def track_ball(frames: Floats, background: Floats) -> Tracked:
    """Centroid of the deviation and the radius of the disc of the same area. (..., H, W, 3) in [0, 1].

    Without any mass, u and v are the image's centre and the radius is 0. The area counts pixels as covered
    by their deviation over the ball's typical one (its 90th percentile inside the mass), at most 1.
    """
    weight = deviation(frames, background)
    size = weight.shape[-1]
    mass = weight.sum((-1, -2))
    grid = np.arange(size, dtype=np.float32)
    safe = np.maximum(mass, 1e-9)
    middle = (size - 1) / 2
    u = np.where(mass > 0, (weight.sum(-2) * grid).sum(-1) / safe, middle)
    v = np.where(mass > 0, (weight.sum(-1) * grid).sum(-1) / safe, middle)
    # the mean of the weight over itself is its typical value on the ball
    typical = (weight**2).sum((-1, -2)) / safe
    area = np.minimum(weight / np.maximum(typical, 1e-9)[..., None, None], 1).sum((-1, -2))
    radius = np.where(mass > 0, np.sqrt(area / np.pi), 0)
    return Tracked(u, v, radius, mass)


def centroid_errors(
    frames: Floats, original: Floats, background: Floats, true_u: Array, true_v: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Distance in pixels from the projected true centre, and where the ball was missed, each (...).

    frames and original (..., H, W, 3) in [0, 1]. Where the frame's mass is under a tenth of the original's
    the ball is missed and the image's centre counts.
    """
    mass = deviation(original, background).sum((-1, -2))
    return distances(track_ball(frames, background), mass, frames.shape[-2], true_u, true_v)


def distances(
    found: Tracked, original_mass: Array, size: int, true_u: Array, true_v: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """`centroid_errors` of a ball already tracked in images of `size` pixels a side."""
    missed = found.mass < LEAST_MASS * original_mass
    middle = (size - 1) / 2
    u, v = np.where(missed, middle, found.u), np.where(missed, middle, found.v)
    return np.hypot(u - true_u, v - true_v), missed
