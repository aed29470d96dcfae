"""Segments, views and crops: closed forms and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.actions.sampling import (
    Views,
    crop_corners,
    even_places,
    look_evenly,
    look_training,
    random_places,
)
from kinetoken.core.errors import UserError
from kinetoken.core.params import build


def _views(**changes: object) -> Views:
    given: dict[str, object] = {
        "segments": 4, "short_side": 32, "crop": 32, "zoom": 1.0, "jitter": 0.0, "clips": 1, "crops": 1,
    }
    return build(Views, {**given, **changes}, "views")


def _pixels(frames: int = 4, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


@given(st.integers(1, 20), st.integers(0, 120), st.integers(1, 5))
def test_every_view_has_one_frame_of_each_segment(segments: int, extra: int, clips: int) -> None:
    frames = segments + extra
    edges = np.arange(segments + 1) * frames / segments
    drawn = random_places(frames, segments, np.random.default_rng(extra))
    for places in (drawn, *even_places(frames, segments, clips)):
        assert ((places + 1 > edges[:-1] - 1e-9) & (places < edges[1:] + 1e-9)).all()
        assert places.dtype == np.int64 and places[0] >= 0 and places[-1] < frames and (np.diff(places) >= 0).all()
    assert (np.diff(even_places(frames, segments, 1)) > 0).all()


@given(st.integers(1, 10), st.integers(0, 60), st.integers(1, 4))
def test_a_clip_played_backwards_is_looked_at_in_the_same_places(pairs: int, extra: int, clips: int) -> None:
    """Or a model blind to order could tell by which end is missing from what it sees."""
    frames = 2 * pairs + extra
    places = even_places(frames, 2 * pairs, clips)
    np.testing.assert_array_equal(places, frames - 1 - places[::-1, ::-1])


def test_so_it_is_in_training() -> None:
    rng = np.random.default_rng(1)
    drawn = np.stack([random_places(11, 4, rng) for _ in range(20_000)])
    share = np.stack([np.bincount(column, minlength=11) for column in drawn.T]) / len(drawn)  # (segment, frame)
    assert np.abs(share - share[::-1, ::-1]).max() < 0.015
    assert np.abs(share.sum(0) - 4 / 11).max() < 0.015  # every frame as likely as any other


def test_places_are_where_they_should_be() -> None:
    assert even_places(24, 8, 1).tolist() == [[1, 4, 7, 10, 13, 16, 19, 22]]
    assert even_places(16, 8, 1).tolist() == [[1, 3, 5, 7, 8, 10, 12, 14]]
    assert even_places(24, 4, 2).tolist() == [[1, 7, 13, 19], [4, 10, 16, 22]]
    for look in (lambda: even_places(8, 9, 1), lambda: random_places(8, 9, np.random.default_rng(0))):
        with pytest.raises(ValueError, match="9 segments of 8 frames"):
            look()


def test_three_crops_run_along_the_longer_side() -> None:
    assert crop_corners(240, 427, 224, 3) == [(8, 0), (8, 101), (8, 203)]
    assert crop_corners(427, 240, 224, 3) == [(0, 8), (101, 8), (203, 8)]
    assert crop_corners(240, 427, 224, 1) == [(8, 101)]


def test_evaluation_views_are_cut_from_the_frames_as_they_are() -> None:
    clips = np.stack([_pixels(), _pixels()[::-1]])
    views = look_evenly(clips, _views(clips=2, crops=3))
    assert views.shape == (6, 4, 32, 32, 3)
    for place, left in enumerate((0, 8, 16)):
        np.testing.assert_array_equal(views[place], clips[0][:, :, left : left + 32])
        np.testing.assert_array_equal(views[3 + place], clips[1][:, :, left : left + 32])


def test_a_training_view_is_a_square_of_the_frames() -> None:
    """Found somewhere in the picture the right way round, the same place in all frames, and never mirrored."""
    pixels, found = _pixels(), set()
    for seed in range(200):
        view = look_training(pixels, _views(crop=24), np.random.default_rng(seed))
        matches = [
            (top, left) for top in range(9) for left in range(25)
            if np.array_equal(view, pixels[:, top : top + 24, left : left + 24])
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) > 100
    assert {top for top, _ in found} == set(range(9))


def test_zoom_keeps_left_and_right() -> None:
    """A ramp that brightens to the right and downwards still does, zoomed and relit."""
    ramp = (np.arange(32)[None, :, None] * 2 + np.arange(32)[:, None, None] * 4 + np.zeros(3)).astype(np.uint8)
    for seed in range(100):
        view = look_training(ramp[None], _views(zoom=0.6, jitter=0.3), np.random.default_rng(seed)).astype(int)
        assert view.shape == (1, 32, 32, 3)
        assert view[0, 16, -4, 0] > view[0, 16, 3, 0] and view[0, -4, 16, 0] > view[0, 3, 16, 0]


def test_light_changes_alike_in_all_frames() -> None:
    pixels = np.repeat(_pixels(1), 4, axis=0)
    view = look_training(pixels, _views(jitter=0.3), np.random.default_rng(0))
    assert all(np.array_equal(view[0], frame) for frame in view[1:])
    means = [look_training(pixels, _views(jitter=0.3), np.random.default_rng(s)).mean() for s in range(50)]
    assert 5 < np.std(means) < 40


def test_params_are_checked() -> None:
    with pytest.raises(UserError, match="crop 40 is larger than short_side 32"):
        _views(crop=40)
    with pytest.raises(UserError, match=r"views.crops: must be one of 1, 3"):
        _views(crops=2)
