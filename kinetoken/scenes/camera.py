"""The pinhole camera that every clip is seen by: positions in metres to pixels and back, and how errors carry over.

It stands at the origin and looks along +z, x right and y up. In the image u runs right from the left column and v
down from the top row, pixel centres at whole numbers. From one camera, depth is known through the radius of the ball
alone, which is therefore a property of the camera here.
"""

import dataclasses
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinetoken.physics.laws import Array
from kinetoken.physics.world import World

Depth = TypeVar("Depth", float, Array)

NEAREST = 0.05  # m: an estimate at or behind the camera still gets a finite weight


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole, its square image, and the one ball of known size."""

    focal: float  # pixels
    centre: float  # pixels, of the image, the same for u and v
    ball_radius: float  # m

    @classmethod
    def of(cls, world: World, image_size: int) -> "Camera":
        """The world's camera with an image of so many pixels a side."""
        return cls(image_size / 2 / world.half_view, (image_size - 1) / 2, world.ball_radius)

    @property
    def edges(self) -> tuple[float, float]:
        """The image's first and last edge in pixels, the same for u and v."""
        return -0.5, 2 * self.centre + 0.5

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """(..., 3) m → (u, v) pixels and the ball's apparent radius in pixels, each (...)."""
        z = points[..., 2]
        u = self.centre + self.focal * points[..., 0] / z
        v = self.centre - self.focal * points[..., 1] / z
        return u, v, self.radius_px(z)

    def unproject(self, u: Array, v: Array, radius_px: Array) -> Array:
        """Image position and apparent radius in pixels → (..., 3) m, depth from the known ball."""
        z = self.focal * self.ball_radius / radius_px
        return np.stack([(u - self.centre) * z / self.focal, (self.centre - v) * z / self.focal, z], -1)

    def project_log(self, points: Array) -> Array:
        """(..., 3) m → (..., 3): u, v in pixels and the logarithm of the apparent radius, whose errors are depth's."""
        u, v, radius = self.project(points)
        return np.stack([u, v, np.log(radius)], -1)

    def unproject_log(self, seen: Array) -> Array:
        """The inverse of `project_log`."""
        u, v, log_radius = np.moveaxis(seen, -1, 0)
        return self.unproject(u, v, np.exp(log_radius))

    def radius_px(self, depth: Depth) -> Depth:
        """The ball's apparent radius in pixels at these depths in metres."""
        return self.focal * self.ball_radius / depth

    def slope(self, pixel: NDArray[Any]) -> Array:
        """Of the ray through a column, x / z; of the ray through a row, −y / z."""
        return np.asarray((pixel - self.centre) / self.focal)


def camera_whitening(points: Array, across_px: float, depth_fraction: float, focal_px: float) -> Array:
    """Whitening matrices (N, T, 3, 3) for points seen by a camera of that focal length.

    Errors are `across_px` pixels in each image direction and `depth_fraction` of the depth, independent:
    the rows are the gradients of u, v and log z at the points (N, T, 3), over their standard deviations.
    """
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)  # (N, T) each
    z = np.maximum(z, NEAREST)
    zero, lateral = np.zeros_like(z), focal_px / across_px / z
    u, v = (lateral, zero, -lateral * x / z), (zero, lateral, -lateral * y / z)
    return np.stack([np.stack(row, -1) for row in (u, v, (zero, zero, 1 / (depth_fraction * z)))], -2)
