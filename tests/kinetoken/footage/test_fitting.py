"""Frames of any size: the middle square, averaged over the areas that the new pixels cover."""

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.footage.fitting import FrameFitter, averaged


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, (*shape, 3), np.uint8)


def test_whole_blocks_are_averaged_exactly() -> None:
    clips = drawn(2, 3, 32, 32)
    blocks = clips.reshape(2, 3, 8, 4, 8, 4, 3).astype(float).mean((3, 5))
    np.testing.assert_array_equal(averaged(clips, 8), np.floor(blocks + 0.5))


def test_enlarged_and_averaged_back_is_the_same() -> None:
    small = drawn(2, 8, 8)
    np.testing.assert_array_equal(averaged(averaged(small, 32), 8), small)
    np.testing.assert_array_equal(averaged(small, 32), small.repeat(4, 1).repeat(4, 2))


@pytest.mark.parametrize(("side", "size"), [(37, 8), (100, 64), (5, 8), (8, 8)])
def test_parts_of_pixels_count_by_their_area(side: int, size: int) -> None:
    """Against a sum over a fine grid that both sizes divide; a constant stays, and so does the mean."""
    image = drawn(side, side)
    fine = image.repeat(size, 0).repeat(size, 1).astype(float)
    expected = fine.reshape(size, side, size, side, 3).mean((1, 3))
    assert np.abs(averaged(image, size) - expected).max() <= 0.5 + 1e-3
    assert (averaged(np.full((side, side, 3), 137, np.uint8), size) == 137).all()


def test_the_middle_square_is_cut_out_and_named_once() -> None:
    notes: list[str] = []
    fitter = FrameFitter(16, "models/tokenizer", resize=True, notes=notes)
    wide = drawn(2, 32, 48)
    np.testing.assert_array_equal(fitter.fit(wide, "a.mp4"), averaged(wide[:, :, 8:40], 16))
    tall = drawn(2, 33, 16)
    np.testing.assert_array_equal(fitter.fit(tall, "b.mp4"), tall[:, 8:24])
    fitter.fit(wide, "c.mp4")
    assert notes == [
        "a.mp4: frames of 48×32, the middle 32×32 averaged down to 16×16",
        "b.mp4: frames of 16×33, the middle 16×16 kept",
    ]


def test_what_fits_is_left_alone_and_what_does_not_is_refused() -> None:
    notes: list[str] = []
    fitter = FrameFitter(16, "models/tokenizer", resize=False, notes=notes)
    clips = drawn(2, 16, 16)
    assert fitter.fit(clips, "a.npy").tobytes() == clips.tobytes() and not notes
    with pytest.raises(UserError, match=r"a.npy: frames are 24×16, models/tokenizer takes 16×16; --resize cuts"):
        fitter.fit(drawn(2, 16, 24), "a.npy")
