"""The camera against geometry: there and back, the axis, what is up, and how errors carry over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.physics.world import World
from kinetoken.scenes.camera import Camera, camera_whitening
from tests.support.law_tracks import FOCAL, draw, positions, seen_by_camera

WORLD = World(
    field_of_view_degrees=60.0, floor_y=-1.75, near=2.1, far=4.8, ball_radius=0.2, fps=16.0, num_frames=16
)
CAMERA = Camera.of(WORLD, 64)
across, depth = st.floats(-3, 3), st.floats(0.1, 20)


def test_the_optical_axis_meets_the_image_centre() -> None:
    u, v, radius = CAMERA.project(np.array([0.0, 0.0, 3.0]))
    assert (u, v) == (31.5, 31.5)
    assert radius == pytest.approx(32 / np.tan(np.radians(30)) * 0.2 / 3) == CAMERA.radius_px(3.0)


def test_up_is_up_and_right_is_right() -> None:
    u, v, _ = CAMERA.project(np.array([0.5, 0.5, 3.0]))
    assert u > 31.5
    assert v < 31.5


@pytest.mark.parametrize("size", [16, 64, 65])
def test_what_lies_at_the_edge_of_view_lies_at_the_edge_of_the_image(size: int) -> None:
    camera = Camera.of(WORLD, size)
    edge = WORLD.half_view * 3.0
    u, v, _ = camera.project(np.array([[-edge, edge, 3.0], [edge, -edge, 3.0]]))
    np.testing.assert_allclose(u, camera.edges)
    np.testing.assert_allclose(v, camera.edges)
    assert camera.edges == (-0.5, size - 0.5)


@given(across, across, depth)
def test_there_and_back(x: float, y: float, z: float) -> None:
    point = np.array([x, y, z])
    np.testing.assert_allclose(CAMERA.unproject(*CAMERA.project(point)), point, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(CAMERA.unproject_log(CAMERA.project_log(point)), point, rtol=1e-10, atol=1e-10)


@given(across, across, depth)
def test_a_pixel_lies_on_the_ray_of_its_slopes(x: float, y: float, z: float) -> None:
    u, v, _ = CAMERA.project(np.array([x, y, z]))
    np.testing.assert_allclose([CAMERA.slope(u), CAMERA.slope(v)], [x / z, -y / z], rtol=1e-9, atol=1e-9)


def test_the_logarithm_is_that_of_the_radius_to_the_bit() -> None:
    points = np.random.default_rng(0).uniform([-1, -0.8, 2.2], [1, 1, 4.5], (100, 3))
    u, v, radius = CAMERA.project(points)
    np.testing.assert_array_equal(CAMERA.project_log(points), np.stack([u, v, np.log(radius)], -1))


def test_whitening_gives_unit_errors() -> None:
    path = np.tile(positions("helical", draw("helical", 400)), 1)
    points = seen_by_camera(path, 0.2, 0.01, seed=8)
    whitened = camera_whitening(path, 0.2, 0.01, FOCAL) @ (points - path)[..., None]
    np.testing.assert_allclose(np.cov(whitened.reshape(-1, 3).T), np.eye(3), atol=0.05)


def test_whitening_is_the_slope_of_the_projection() -> None:
    point, step = np.array([[[0.4, -0.3, 3.0]]]), 1e-6
    found = camera_whitening(point, 1.0, 1.0, CAMERA.focal)[0, 0]
    for axis in range(3):
        moved = np.eye(3)[axis] * step
        slope = (CAMERA.project_log(point + moved) - CAMERA.project_log(point - moved))[0, 0] / (2 * step)
        np.testing.assert_allclose(found[:, axis] * [1, -1, -1], slope, rtol=1e-6, atol=1e-6)  # v down, radius down


def test_a_point_behind_the_camera_gets_a_finite_weight() -> None:
    assert np.isfinite(camera_whitening(np.array([[[0.1, 0.2, -1.0]]]), 0.2, 0.01, CAMERA.focal)).all()
