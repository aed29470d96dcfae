"""What moves in clips of unknown making: found against the clip's own median, without gaps."""

import numpy as np
import pytest

from kinetoken.footage.motion import moving_pixels, picture_behind, still_pictures, track_moving
from kinetoken.scenes.tracking import track_ball


def clips(frames: int = 9, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Two clips of a bright square before walls of their own, (2, T, H, W, 3), and its middle (2, T, 2) px."""
    rng = np.random.default_rng(0)
    walls = rng.uniform(0.1, 0.4, (2, 1, size, size, 3)).astype(np.float32)
    pixels, places = np.repeat(walls, frames, 1), np.zeros((2, frames, 2))
    for clip in range(2):
        for frame in range(frames):
            row, column = 5 + 2 * clip, 3 + 2 * frame
            pixels[clip, frame, row : row + 3, column : column + 3] = 1.0
            places[clip, frame] = column + 1, row + 1
    return pixels, places


def test_the_middle_of_what_moves_is_found_before_any_wall() -> None:
    pixels, places = clips()
    found = track_moving(pixels, None)
    np.testing.assert_allclose(np.stack([found.u, found.v], -1), places, atol=0.1)


def test_a_known_background_changes_nothing_of_the_tracker() -> None:
    pixels, _ = clips()
    background = np.full(pixels.shape[2:], 0.3, np.float32)
    for one, other in zip(vars(track_moving(pixels, background)).values(),
                          vars(track_ball(pixels, background)).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_nothing_moves_the_place_is_between_those_before_and_after() -> None:
    pixels, places = clips()
    still = picture_behind(pixels, None)
    pixels[0, 3:5] = still[0]
    pixels[0, :1] = still[0]
    pixels[1] = still[1]
    found = track_moving(pixels, still)
    np.testing.assert_allclose(found.u[0, 2:6], places[0, 2:6, 0], atol=0.1)
    assert found.u[0, 0] == found.u[0, 1]
    assert (found.u[1] == 15.5).all() and (found.radius[1] == 2.0).all(), "nothing ever moves"
    assert np.isfinite(np.log(found.radius)).all()


@pytest.mark.parametrize("shared", [False, True])
def test_the_picture_behind_is_each_clips_median_unless_one_is_known(shared: bool) -> None:
    pixels, _ = clips()
    known = pixels[0, 0] if shared else None
    behind = picture_behind(pixels, known)
    if shared:
        assert behind is known
        return
    coded = np.asarray(np.rint(pixels * 255), np.uint8)
    np.testing.assert_allclose(behind[:, 0], still_pictures(coded), atol=1 / 255)
    assert moving_pixels(coded, still_pictures(coded)).sum((2, 3)).tolist() == [[9] * 9] * 2
