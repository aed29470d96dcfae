"""The world that every clip is seen in: a camera, a floor, one ball, and the frames' times."""

import dataclasses
from typing import Annotated

import numpy as np

from kinetoken.core.params import PositiveFloat, Range
from kinetoken.physics.laws import Array

SMALLEST_SEEN = 1 / 64  # of the image's side, a ball's width that is still seen


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """What is the same for every clip: a camera at the origin looking along +z, a floor, one ball."""

    field_of_view_degrees: Annotated[float, Range(gt=1, lt=170)] = 60.0  # of the square image, side to side
    floor_y: Annotated[float, Range(lt=0)]  # m, below the camera
    near: PositiveFloat = 2.1  # m, least depth of the ball's centre
    far: PositiveFloat = 4.8  # m, greatest
    ball_radius: PositiveFloat  # m, known: from one camera, depth is only knowable through it
    fps: PositiveFloat
    num_frames: Annotated[int, Range(ge=2, le=2**15 - 1)]  # as many as the tables' int16 column can count

    def __post_init__(self) -> None:
        if self.near >= self.far:
            raise ValueError(f"near ({self.near}) must be less than far ({self.far})")

    @property
    def half_view(self) -> float:
        """Tangent of half the field of view: |x| / z and |y| / z at the image's edge."""
        return float(np.tan(np.radians(self.field_of_view_degrees) / 2))

    @property
    def times(self) -> Array:
        """(T,) seconds, frame / fps."""
        return np.arange(self.num_frames) / self.fps

    def in_view(self, points: Array, margin: float = 0.03) -> np.ndarray:
        """(..., T, 3) → (...): is the whole ball inside the image, above the floor and within depth, always."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        reach = self.half_view * (1 - margin) * z - 1.05 * self.ball_radius
        inside = (np.abs(x) <= reach) & (np.abs(y) <= reach) & (y - self.ball_radius >= self.floor_y)
        return np.asarray((inside & (z >= self.near) & (z <= self.far)).all(-1))

    def shows(self, points: Array) -> np.ndarray:
        """(..., 3) → (...): is any of the ball inside the image, and large enough to be seen there."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        reach = self.half_view * z + self.ball_radius * np.hypot(1, self.half_view)
        large = self.ball_radius >= SMALLEST_SEEN * self.half_view * z
        return np.asarray((z > self.ball_radius) & (np.abs(x) < reach) & (np.abs(y) < reach) & large)
