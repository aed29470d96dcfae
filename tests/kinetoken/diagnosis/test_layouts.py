"""Layouts of codes: guessed where only one fits, refused where several do, overruled by --layout."""

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.layouts import Known, Layout, guessed, parsed, stretched

GRID = (4, 6, 8)
RESIDUAL = Known(quantizer="residual_vq")


def rows(*shape: int, high: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (5, *shape))


@pytest.mark.parametrize(("shape", "known", "layout"), [
    ((192,), Known(), "B,N"), ((192,), Known(GRID), "B,N"), (GRID, Known(), "B,T,H,W"), (GRID, Known(GRID), "B,T,H,W"),
    ((4, 48), Known(GRID), "B,T,N"), ((8, 8), Known(), "B,H,W"), ((16, 24), Known(), "B,H,W"),
    ((6, 8), Known((1, 6, 8)), "B,H,W"), ((4, 8, 8, 3), Known(), "B,T,H,W,Q"), ((3, 4, 8, 8), Known(), "B,Q,T,H,W"),
    ((*GRID, 5), Known(GRID), "B,T,H,W,Q"), ((5, *GRID), Known(GRID), "B,Q,T,H,W"), ((192, 2), Known(GRID), "B,N,Q"),
    ((2, 192), Known(GRID), "B,Q,N"), ((4, 150), RESIDUAL, "B,Q,T"), ((150, 4), RESIDUAL, "B,T,Q"),
    ((4, 6, 8, 2), Known(), "B,T,H,W,Q"), ((16, 16, 4), RESIDUAL, "B,H,W,Q"), ((10, 64, 4), RESIDUAL, "B,T,N,Q"),
    ((150,), Known((150, 1, 1)), "B,N"), ((150, 4), Known((150, 1, 1)), "B,T,Q"),
])
def test_the_one_layout_that_fits_is_taken(shape: tuple[int, ...], known: Known, layout: str) -> None:
    found = guessed(rows(*shape), known, "c.npy")
    assert str(found) == layout or (layout == "B,T,Q" and str(found) == "B,N,Q")
    said = known.grid is not None and layout in ("B,N", "B,T,H,W")
    assert bool(found.said) != said and ("--layout" in found.said or said)


@pytest.mark.parametrize(("shape", "options"), [
    ((4, 150), "B,H,W or B,T,N or B,Q,T"), ((150, 4), "B,H,W or B,T,N or B,T,Q"), ((8, 8, 4), "B,T,H,W or B,H,W,Q"),
    ((4, 8, 8, 8), "B,T,H,W,Q or B,Q,T,H,W"), ((64, 256), "B,H,W or B,T,N"),
])
def test_what_fits_several_ways_is_refused_with_all_of_them(shape: tuple[int, ...], options: str) -> None:
    with pytest.raises(UserError, match=f"c.npy: rows of .* fit several layouts; say which with --layout: {options}$"):
        guessed(rows(*shape), Known(), "c.npy")


@pytest.mark.parametrize(("shape", "grid"), [((8, 8, 4), (4, 8, 8)), ((3, 3), (4, 4, 4)), ((2, 2, 2, 2, 2, 2), None)])
def test_what_fits_no_way_is_refused(shape: tuple[int, ...], grid: tuple[int, int, int] | None) -> None:
    with pytest.raises(UserError, match="no layout.*; name the axes with --layout: B,T,H,W"):
        guessed(rows(*shape), Known(grid), "c.npy")


def test_bits_and_one_hot_codes_are_seen_and_packed() -> None:
    codes = rows(2, 3, 4, high=2**18)
    bits = codes[..., None] >> np.arange(17, -1, -1) & 1
    for values in (bits, bits * 2 - 1, bits.astype(bool), (bits * 2 - 1).astype(np.float32)):
        layout = guessed(values, Known(), "c.npy")
        assert str(layout) == "B,T,H,W,BITS" and "bits" in layout.said
        assert (layout.codes(values, "c.npy", 0)[..., 0] == codes.reshape(5, -1)).all()
    flat = guessed(bits.reshape(5, 24, 18), Known(codebook_size=2**18, grid=(2, 3, 4)), "c.npy")
    assert str(flat) == "B,N,BITS"
    hot = np.eye(50, dtype=np.uint8)[rows(24)]
    layout = guessed(hot, Known(), "c.npy")
    assert str(layout) == "B,N,ONEHOT" and (layout.codes(hot, "c.npy", 0)[..., 0] == rows(24)).all()
    hot[3, 5] = 1
    with pytest.raises(UserError, match="c.npy: row 13 is not one-hot"):
        layout.codes(hot, "c.npy", 10)
    with pytest.raises(UserError, match="c.npy: row 2 holds values that are no bits"):
        Layout(("N", "BITS")).codes(np.where(np.arange(5)[:, None, None] == 2, 3, bits.reshape(5, 24, 18)), "c.npy", 0)
    with pytest.raises(UserError, match="codes of 70 bits"):
        Layout(("N", "BITS")).codes(np.zeros((5, 3, 70), np.int8), "c.npy", 0)


def test_codebooks_come_last_whatever_axis_they_are() -> None:
    values = rows(4, 6, 8, 3)
    last = parsed("B,T,H,W,Q").codes(values, "c", 0)
    assert last.shape == (5, 192, 3) and (last == values.reshape(5, 192, 3)).all()
    assert (parsed("b, q, t, h, w").codes(np.moveaxis(values, -1, 1), "c", 0) == last).all()


@pytest.mark.parametrize(("text", "shape", "grid"), [
    ("B,T,H,W", GRID, GRID), ("B,N", (192,), (1, 1, 192)), ("B,T", (192,), (192, 1, 1)), ("B,T,N", (4, 48), (4, 1, 48)),
    ("B,H,W", (6, 8), (1, 6, 8)), ("B,Q,T", (4, 150), (150, 1, 1)), ("B,(T,H,W)", GRID, GRID),
])
def test_the_grid_of_a_layout(text: str, shape: tuple[int, ...], grid: tuple[int, int, int]) -> None:
    assert parsed(text).grid(shape, None, "c.npy") == grid


@pytest.mark.parametrize(
    "text", ["", "T,H,W", "B", "B,T,X", "B,T,T", "B,H", "B,BITS,T", "B,T,BITS,ONEHOT", "B,Q", "B,W,H"]
)
def test_a_layout_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="no layout of codes; known are B,T,H,W"):
        parsed(text)


def test_rows_that_end_earlier_stretch_the_grid_along_time() -> None:
    assert stretched((1, 2, 3), (30,), "c") == (5, 2, 3) and stretched((1, 2, 3), (7, 2, 3), "c") == (7, 2, 3)
    with pytest.raises(UserError, match="31 codes, no multiple of the grid's 6 a time slice"):
        stretched((1, 2, 3), (31,), "c")


def test_a_code_beyond_64_bits_is_named() -> None:
    with pytest.raises(UserError, match=r"row 11: code 18446744073709551615 is above 2\^63"):
        Layout(("N",)).codes(np.array([[1, 2], [2**64 - 1, 3]], np.uint64), "c", 10)
