"""The tracker on discs whose place and size are known."""

import numpy as np
import pytest

from kinetoken.scenes.tracking import centroid_errors, deviation, track_ball

BACKGROUND = np.full((64, 64, 3), 0.25, np.float32)


def disc(u: float, v: float, radius: float, shade: float = 0.9) -> np.ndarray:
    grid = np.arange(64)
    away = np.hypot(grid[None, :] - u, grid[:, None] - v)
    cover = np.clip(radius - away + 0.5, 0, 1)[..., None]
    return (BACKGROUND * (1 - cover) + shade * cover).astype(np.float32)


@pytest.mark.parametrize(("u", "v", "radius"), [(20.3, 40.8, 3.0), (45.0, 12.5, 5.2), (31.5, 31.5, 2.2)])
def test_finds_place_and_size(u: float, v: float, radius: float) -> None:
    found = track_ball(disc(u, v, radius), BACKGROUND)
    assert float(found.u) == pytest.approx(u, abs=0.05)
    assert float(found.v) == pytest.approx(v, abs=0.05)
    assert float(found.radius) == pytest.approx(radius, rel=0.05)


def test_small_deviations_count_nothing() -> None:
    assert deviation(BACKGROUND + 0.09, BACKGROUND).max() == 0


def test_a_lost_ball_counts_as_the_image_centre_and_as_missed() -> None:
    original = np.stack([disc(20, 40, 4), disc(20, 40, 4)])
    decoded = np.stack([disc(20.5, 40, 4), BACKGROUND])
    error, missed = centroid_errors(decoded, original, BACKGROUND, np.array([20.0, 20.0]), np.array([40.0, 40.0]))
    assert missed.tolist() == [False, True]
    assert error[0] == pytest.approx(0.5, abs=0.03)
    assert error[1] == pytest.approx(np.hypot(11.5, 8.5))


def test_an_empty_frame_has_no_radius() -> None:
    found = track_ball(BACKGROUND, BACKGROUND)
    assert (float(found.u), float(found.v), float(found.radius), float(found.mass)) == (31.5, 31.5, 0.0, 0.0)
