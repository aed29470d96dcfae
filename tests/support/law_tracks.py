"""Tracks of the four laws for tests, and how a camera sees them."""

import numpy as np

from kinetoken.physics import laws
from kinetoken.physics.laws import CLASSES

TIMES = np.arange(16) / 16
PAST = TIMES[:12]
FOCAL = 55.4


def draw(law: str, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Natural parameters of `count` random tracks of the law, within the bands of the default data."""
    rng = np.random.default_rng([seed, CLASSES.index(law)])
    start = np.stack([rng.uniform(-0.4, 0.4, count), rng.uniform(-0.4, 0.4, count), rng.uniform(2.4, 3.6, count)], -1)
    speed, yaw = rng.uniform(1.2, 2.0, count), rng.uniform(0, 2 * np.pi, count)
    if law in ("linear", "parabolic"):
        velocity = speed[:, None] * laws.direction(yaw, rng.uniform(-0.5, 1.0, count))
        found = {"start": start, "velocity": velocity}
        return found | ({"gravity": rng.uniform(3, 6, count)} if law == "parabolic" else {})
    radius = rng.uniform(0.2, 0.35, count)
    pitch = rng.uniform(0.6, 1.0, count) * rng.choice([-1, 1], count) * (law == "helical")
    omega = rng.choice([-1, 1], count) * speed / np.hypot(radius, pitch / (2 * np.pi))
    return {
        "centre": start, "radius": radius, "omega": omega, "phase": rng.uniform(-np.pi, np.pi, count), "yaw": yaw,
        "tilt": rng.uniform(0, np.pi / 6, count), "pitch": pitch,
    }


def positions(law: str, drawn: dict[str, np.ndarray], t: np.ndarray = TIMES) -> np.ndarray:
    function = laws.helical if law in ("circular", "helical") else getattr(laws, law)
    return np.asarray(function(t, **drawn))


def seen_by_camera(path: np.ndarray, px: float, fraction: float, seed: int) -> np.ndarray:
    """The points with noise of px pixels across and a fraction of the depth along the ray."""
    rng = np.random.default_rng(seed)
    depth = path[..., 2:] * (1 + fraction * rng.standard_normal((*path.shape[:-1], 1)))
    image = path[..., :2] / path[..., 2:] + px / FOCAL * rng.standard_normal((*path.shape[:-1], 2))
    return np.concatenate([image * depth, depth], -1)
