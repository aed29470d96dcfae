"""The laws against what differential geometry and mechanics say of them."""

import numpy as np
import pytest

from kinetoken.physics.laws import axis_frame, direction, helical, linear, parabolic

T = np.linspace(0, 1, 2001)
RNG = np.random.default_rng(0)


def _helix(pitch: np.ndarray, omega: np.ndarray) -> np.ndarray:
    n = len(pitch)
    return helical(
        T, RNG.normal(size=(n, 3)), np.full(n, 0.3), omega, RNG.uniform(0, 6, n), RNG.uniform(0, 6, n),
        RNG.uniform(0, 0.5, n), pitch,
    )


def _curvature_and_torsion(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dt = T[1] - T[0]
    first = np.gradient(path, dt, axis=1)
    second = np.gradient(first, dt, axis=1)
    third = np.gradient(second, dt, axis=1)
    inner = slice(10, -10)
    cross = np.cross(first, second)[:, inner]
    size = np.linalg.norm(cross, axis=-1)
    curvature = size / np.linalg.norm(first[:, inner], axis=-1) ** 3
    return curvature, (cross * third[:, inner]).sum(-1) / size**2


def test_axis_frame_is_right_handed_and_leans_by_the_tilt() -> None:
    yaw, tilt = RNG.uniform(0, 6, 50), RNG.uniform(0, 1.5, 50)
    e1, e2, axis = axis_frame(yaw, tilt)
    frame = np.stack([e1, e2, axis], 1)
    np.testing.assert_allclose(frame @ frame.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.cross(e1, e2), axis, atol=1e-12)
    np.testing.assert_allclose(axis[:, 1], np.cos(tilt))
    np.testing.assert_allclose(np.arctan2(axis[:, 2], axis[:, 0]), np.arctan2(np.sin(yaw), np.cos(yaw)))


def test_helix_has_the_curvature_and_torsion_of_its_natural_parameters() -> None:
    pitch, omega, radius = np.array([0.0, 0.7, -0.9]), np.array([5.0, -4.0, 6.0]), 0.3
    curvature, torsion = _curvature_and_torsion(_helix(pitch, omega))
    rise = pitch / (2 * np.pi)
    square = radius**2 + rise**2
    np.testing.assert_allclose(curvature, np.broadcast_to((radius / square)[:, None], curvature.shape), rtol=1e-3)
    np.testing.assert_allclose(torsion, np.broadcast_to((rise / square)[:, None], torsion.shape), atol=2e-2)


def test_helix_climbs_its_pitch_in_one_turn() -> None:
    yaw, tilt = np.array([1.0]), np.array([0.4])
    period = np.array([0.0, 1.0])
    path = helical(
        period, np.zeros((1, 3)), np.array([0.5]), np.array([2 * np.pi]), np.array([0.3]), yaw, tilt, np.array([0.8])
    )
    np.testing.assert_allclose(path[0, 1] - path[0, 0], 0.8 * axis_frame(yaw, tilt)[2][0], atol=1e-12)


def test_parabola_keeps_energy_and_falls_along_minus_y_only() -> None:
    velocity, gravity = RNG.normal(size=(6, 3)), RNG.uniform(2, 9, 6)
    path = parabolic(T, RNG.normal(size=(6, 3)), velocity, gravity)
    speed = np.gradient(path, T[1], axis=1, edge_order=2)
    energy = 0.5 * (speed**2).sum(-1) + gravity[:, None] * path[..., 1]
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:, :1], energy.shape), rtol=1e-6)
    second = np.diff(path, 2, axis=1)
    np.testing.assert_allclose(second[..., [0, 2]], 0, atol=1e-12)


def test_line_is_a_parabola_without_gravity() -> None:
    start, velocity = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
    np.testing.assert_array_equal(
        linear(T, start, velocity), parabolic(T, start, velocity, np.zeros(4))
    )


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, [1, 0, 0]), (np.pi / 2, [0, 0, 1])])
def test_direction_names_azimuths_from_right_to_forward(yaw: float, expected: list[float]) -> None:
    np.testing.assert_allclose(direction(np.array(yaw), np.array(0.0)), expected, atol=1e-12)
