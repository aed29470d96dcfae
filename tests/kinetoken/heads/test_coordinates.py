"""Path features against the closed forms of the laws."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.heads.coordinates import NUISANCE, law_fit_correct, nuisance_table, path_features
from kinetoken.physics import laws
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import read_tracks

FPS = 64.0
TIMES = np.arange(64) / FPS


def one(value: float) -> np.ndarray:
    return np.array([value])


def test_helix_has_its_curvature_and_torsion() -> None:
    radius, pitch = 0.3, 0.8
    path = laws.helical(
        TIMES, np.zeros((1, 3)), one(radius), one(6.0), one(0.4), one(1.0), one(0.3), one(pitch)
    )
    features = path_features(path, FPS)
    rise = pitch / (2 * np.pi)
    assert features["curvature"][0] == pytest.approx(radius / (radius**2 + rise**2), rel=0.01)
    assert features["torsion"][0] == pytest.approx(rise / (radius**2 + rise**2), rel=0.01)
    assert features["speed"][0] == pytest.approx(6.0 * np.hypot(radius, rise), rel=0.01)


def test_circle_lies_in_a_plane_and_does_not_twist() -> None:
    path = laws.helical(TIMES, np.zeros((1, 3)), one(0.3), one(6.0), one(0.4), one(1.0), one(0.3), one(0.0))
    features = path_features(path, FPS)
    assert features["out_of_plane"][0] < 1e-9
    assert features["torsion"][0] < 1e-6
    assert features["curvature"][0] == pytest.approx(1 / 0.3, rel=0.01)
    assert features["turning"][0] == pytest.approx(62 * 6.0 / FPS, rel=1e-6)  # rad; 63 steps meet at 62 frames
    assert features["turning_mean"][0] == pytest.approx(6.0 / FPS, rel=1e-6)


def test_throw_falls_with_its_gravity_and_a_line_is_straight() -> None:
    start, velocity = np.array([[0.1, 0.2, 3.0]]), np.array([[1.0, 2.0, 0.5]])
    thrown = path_features(laws.parabolic(TIMES, start, velocity, one(4.5)), FPS)
    assert thrown["acceleration_up"][0] == pytest.approx(-4.5, rel=1e-6)
    assert thrown["acceleration_turning"][0] < 1e-6
    straight = path_features(laws.linear(TIMES, start, velocity), FPS)
    assert straight["straightness"][0] == pytest.approx(1)
    assert straight["curvature"][0] < 1e-6
    assert straight["turning"][0] < 1e-6
    first, last = np.array([1.0, 2.0 - 4.5 / (2 * FPS), 0.5]), np.array([1.0, 2.0 - 4.5 * 62.5 / FPS, 0.5])
    between = np.arccos(first @ last / np.linalg.norm(first) / np.linalg.norm(last))
    assert thrown["turning"][0] == pytest.approx(between, rel=1e-6)  # a throw turns one way, in a plane


def test_too_short_a_path_is_refused() -> None:
    with pytest.raises(UserError, match="at least 4"):
        path_features(np.zeros((2, 3, 3)), FPS)


def test_nuisance_holds_the_start_and_not_the_path(trajectory_params: Trajectories) -> None:
    tracks = draw_tracks(trajectory_params)
    table = nuisance_table(tracks)
    assert table.shape == (len(tracks), len(NUISANCE) + 3)
    np.testing.assert_allclose(table[:, -3:], tracks.points[:, 0])
    tracks.points[:, 1:] += 1.0
    np.testing.assert_array_equal(nuisance_table(tracks), table)


def test_a_law_that_noise_hides_is_not_known(tiny_data: Path) -> None:
    """Without its bends a path is a line: what is then called a circle is read wrongly, and lines rightly."""
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    tracks = tracks.take(np.arange(24))
    assert law_fit_correct(tracks, 64, seed=0).mean() > 0.8
    straight = dataclasses.replace(tracks, points=np.linspace(tracks.points[:, 0], tracks.points[:, -1], 16, axis=1))
    right = law_fit_correct(straight, 64, seed=0)
    assert right[tracks.label == "linear"].mean() > 0.8 and right[tracks.label != "linear"].mean() < 0.3
