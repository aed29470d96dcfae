"""Flat shapes by their distance: below zero inside, in units of the shape's own radius.

A function takes local coordinates x (right) and y (down), each (...), and gives about the signed distance to the
outline, (...): exact near it, which is all that an edge one pixel wide needs.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def ball(x: Field, y: Field) -> Field:
    return _length(x, y) - np.float32(0.95)


def box(x: Field, y: Field) -> Field:
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.8)


def triangle(x: Field, y: Field) -> Field:
    side = np.float32(np.sqrt(3) / 2) * np.abs(x) - np.float32(0.5) * y
    return np.maximum(side, y) - np.float32(0.5)


def star(x: Field, y: Field) -> Field:
    """Five points; a wedge of a tenth of a turn, mirrored ten times."""
    wedge = 2 * np.pi / 5
    angle = np.arctan2(x, -y)
    folded = np.abs((angle + wedge / 2) % wedge - wedge / 2).astype(np.float32)
    length = _length(x, y)
    inner = np.float32(0.48)  # radius of the notches
    notch = np.array([inner * np.cos(wedge / 2), inner * np.sin(wedge / 2)])
    edge = notch - np.array([1.0, 0.0])
    normal = np.array([edge[1], -edge[0]], np.float64) / np.hypot(*edge)
    along, across = length * np.cos(folded), length * np.sin(folded)
    return np.asarray((along - 1) * np.float32(normal[0]) + across * np.float32(normal[1]), np.float32)


def ring(x: Field, y: Field) -> Field:
    return np.asarray(np.abs(_length(x, y) - np.float32(0.68)) - np.float32(0.27), np.float32)


def cross(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    level = np.maximum(x - np.float32(0.95), y - np.float32(0.33))
    upright = np.maximum(x - np.float32(0.33), y - np.float32(0.95))
    return np.asarray(np.minimum(level, upright), np.float32)


def pill(x: Field, y: Field) -> Field:
    return _length(np.maximum(np.abs(x) - np.float32(0.5), 0), y) - np.float32(0.45)


SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "ball": ball, "box": box, "triangle": triangle, "star": star, "ring": ring, "cross": cross, "pill": pill,
}
SOLID = ("ball", "box")  # shapes large enough all round to hide another


def _length(x: Field, y: Field) -> Field:
    return np.sqrt(x * x + y * y)
