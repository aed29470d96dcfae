"""Clips chosen for the page, and what stands beside them, by hand."""

import numpy as np
import pytest

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.report.samples import apart_px, codes_of, first_rows, psnr_db, reconstruction_cards, trail
from kinetoken.scenes.clips import Clips

GREY = np.full((32, 32, 3), 0.2, np.float32)


def test_first_rows_are_test_clips_of_each_class() -> None:
    label = np.array(["b", "a", "a", "b", "a", "b"])
    split = np.array(["train", "test", "test", "test", "test", "test"])
    assert first_rows(label, split, 1).tolist() == [1, 3]
    assert first_rows(label, split, 9).tolist() == [1, 2, 3, 4, 5]


def test_codes_are_found_by_track() -> None:
    meta = CodesMeta((1, 1, 1), 10, "fsq", (), "")
    codes = np.array([3, 4], np.int32).reshape(2, 1, 1, 1)
    table = CodesTable(np.array([5, 7], np.int32), np.array(["a", "a"]), np.array(["test"] * 2), codes, meta)
    found = codes_of(table, np.array([7, 5], np.int32))
    assert found is not None and found.ravel().tolist() == [4, 3]
    assert codes_of(table, np.array([6], np.int32)) is None


def clip_of_moving_square() -> np.ndarray:
    """(4, 32, 32, 3): a bright square that goes right by 6 pixels a frame."""
    pixels = np.full((4, 32, 32, 3), 51, np.uint8)
    for frame in range(4):
        pixels[frame, 10:14, 4 + 6 * frame : 8 + 6 * frame] = 250
    return pixels


def test_trail_shows_all_places_and_fades_the_past() -> None:
    path = trail(clip_of_moving_square(), GREY)
    assert path.shape == (1, 32, 32, 3)
    shades = [int(path[0, 12, 5 + 6 * frame, 0]) for frame in range(4)]
    assert 51 < shades[0] < shades[1] < shades[2] < shades[3] == 250
    assert (path[0, 20:] == 51).all()


def test_distance_and_psnr_by_hand() -> None:
    pixels = clip_of_moving_square()
    assert apart_px(pixels[0], pixels[2], GREY) == pytest.approx(12.0, abs=1e-3)
    assert psnr_db(pixels, pixels) == 99.0
    assert psnr_db(np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)) == pytest.approx(0.0)


def test_cards_hold_original_copy_difference_and_path() -> None:
    pixels = clip_of_moving_square()[None]
    clips = Clips(np.array([7], np.int32), np.array(["linear"]), np.array(["test"]), pixels, 16.0)
    card = reconstruction_cards(clips, pixels, GREY)[0]
    assert card.title == "linear, track 7" and card.note == "99.0 dB"
    assert len({one.source for one in card.sprites}) == 4
    assert [one.frames for one in card.sprites] == [4, 4, 4, 1]
