"""The four laws of motion in closed form, SI units.

Coordinates are the camera's: x right, y up, z forward, metres; gravity acts along −y; t in seconds.
All functions broadcast over leading dimensions: parameters of shape (N,) or (N, 3) and times of shape
(T,) give positions of shape (N, T, 3).

Sources: uniform and uniformly accelerated motion, Galilei, Discorsi (1638), third and fourth day;
circular helix in its natural parameters, do Carmo, Differential Geometry of Curves and Surfaces
(1976), section 1-5.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLASSES = ("linear", "circular", "helical", "parabolic")
UP = np.array([0.0, 1.0, 0.0])


def are_laws(classes: Iterable[str]) -> bool:
    """Are all these class names laws of motion? Then each motion keeps its class in a mirror and backwards."""
    return set(classes) <= set(CLASSES)


def linear(t: Array, start: Array, velocity: Array) -> Array:
    """p(t) = p0 + v t. start (N, 3) m, velocity (N, 3) m/s → (N, T, 3) m."""
    return np.asarray(start[..., None, :] + velocity[..., None, :] * t[:, None])


def parabolic(t: Array, start: Array, velocity: Array, gravity: Array) -> Array:
    """p(t) = p0 + v t − ½ g t² ŷ. gravity (N,) in m/s², positive downward → (N, T, 3) m."""
    fall = 0.5 * gravity[..., None, None] * UP * t[:, None] ** 2
    return np.asarray(linear(t, start, velocity) - fall)


def helical(
    t: Array, centre: Array, radius: Array, omega: Array, phase: Array, yaw: Array, tilt: Array, pitch: Array
) -> Array:
    """p(t) = c + R (cos(ωt + φ) e1 + sin(ωt + φ) e2) + (h ω t / 2π) n; a circle where the pitch h is 0.

    centre (N, 3) m; radius R (N,) m; omega (N,) rad/s; phase, yaw, tilt (N,) rad; pitch (N,) m a turn,
    positive along the axis n when omega is. The axis leans from +y by `tilt` towards azimuth `yaw`.
    """
    e1, e2, axis = axis_frame(yaw, tilt)  # (N, 3) each
    angle = omega[..., None] * t + phase[..., None]  # (N, T)
    round_part = np.cos(angle)[..., None] * e1[..., None, :] + np.sin(angle)[..., None] * e2[..., None, :]
    rise = (pitch * omega / (2 * np.pi))[..., None, None] * t[:, None] * axis[..., None, :]
    return np.asarray(centre[..., None, :] + radius[..., None, None] * round_part + rise)


def axis_frame(yaw: Array, tilt: Array) -> tuple[Array, Array, Array]:
    """Orthonormal e1, e2 spanning the plane, and the axis n = e1 × e2, each (N, 3).

    n = (sin tilt cos yaw, cos tilt, sin tilt sin yaw).
    """
    zero = np.zeros_like(yaw)
    axis = np.stack([np.sin(tilt) * np.cos(yaw), np.cos(tilt), np.sin(tilt) * np.sin(yaw)], -1)
    e1 = np.stack([np.sin(yaw), zero, -np.cos(yaw)], -1)  # horizontal, across the lean
    return e1, np.cross(axis, e1), axis


def direction(yaw: Array, elevation: Array) -> Array:
    """Unit vectors (N, 3) at azimuth `yaw` (0 along +x, π/2 along +z) and `elevation` above the horizon."""
    level = np.cos(elevation)
    return np.stack([level * np.cos(yaw), np.sin(elevation), level * np.sin(yaw)], -1)
