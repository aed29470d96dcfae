"""The order of tokens and rows by codes alone, against plain counts and real codes put in another order."""

import numpy as np
import pytest
from vector_quantize_pytorch import FSQ

from kinetoken.diagnosis.checks import Passage, checked
from kinetoken.diagnosis.checks.order import ORDERS, Order
from tests.support.peers import costly, facts_of, found, peer, quantized

LEVELS = {"levels": [8, 5, 5, 5]}
MADE = peer(300)
CODES = quantized(FSQ([8, 5, 5, 5]), MADE.latents)
PLACE, DRIFT, CHUNKS = "tokens out of place", "drift over the file", "encoded in chunks"


def flattened(codes: np.ndarray, order: Order) -> np.ndarray:
    """Codes flattened in an order of axes and read as time, rows, columns."""
    return codes.transpose(0, *(1 + axis for axis in order.axes)).reshape(codes.shape)


def test_an_order_undoes_what_it_names() -> None:
    for order in ORDERS:
        assert np.array_equal(order.read(flattened(CODES, order)), CODES), str(order)
        deep = flattened(CODES, order)[..., None].repeat(2, -1)
        assert np.array_equal(order.read(deep)[..., 1], CODES)


@pytest.mark.parametrize("order", [order for order in ORDERS if order.axes != (0, 2, 1)], ids=str)
def test_codes_flattened_in_another_order(order: Order) -> None:
    finding = found(flattened(CODES, order), LEVELS)[PLACE]
    same = Order(tuple({0: 0, 1: 2, 2: 1}[axis] for axis in order.axes))  # rows and columns are alike
    assert str(order) in finding.evidence or str(same) in finding.evidence
    assert finding.severity is not None and finding.severity > 0.8
    assert PLACE not in found(CODES, LEVELS)


def test_neighbours_are_counted_as_they_are() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (60, 3, 4, 5))
    numbers = checked(facts_of(codes, {"codebook_size": 4})).numbers["neighbours"]
    assert numbers["time"] == (codes[:, 1:] == codes[:, :-1]).mean()
    assert numbers["rows"] == (codes[:, :, 1:] == codes[:, :, :-1]).mean()
    assert numbers["columns"] == (codes[..., 1:] == codes[..., :-1]).mean()
    share = np.bincount(codes.ravel()) / codes.size
    assert numbers["rows_floor"] == pytest.approx((share**2).sum())
    image = checked(facts_of(codes[:, 0], {"codebook_size": 4}, layout="B,H,W")).numbers["neighbours"]
    assert "time" not in image and image["columns"] == (codes[:, 0, :, 1:] == codes[:, 0, :, :-1]).mean()


def test_padding_is_no_neighbour_and_batches_add_up() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (40, 4, 2, 2)).astype(np.int32)
    codes[::2, 3] = -1
    whole, parts = Passage((4, 2, 2), (0,)), Passage((4, 2, 2), (0,))
    whole.add(codes)
    for start in range(0, 40, 7):
        parts.add(codes[start : start + 7])
    assert whole.pairs.tolist() == [40 * 8 + 20 * 4, 40 * 6 + 20 * 2, 40 * 6 + 20 * 2]
    assert np.array_equal(whole.agreement, parts.agreement) and whole.rows == parts.rows == 40


@pytest.mark.parametrize(("length", "slices"), [(2, 8), (4, 12), (5, 20)])
def test_clips_encoded_in_chunks(length: int, slices: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 200, (80, 1, 4, 4))

    def walk(parts: int, long: int) -> np.ndarray:
        change = rng.random((80, parts, long, 4, 4)) < 0.3
        change[:, :, 0] = rng.random((80, parts, 4, 4)) < (0.9 if parts > 1 else 0.3)
        codes = np.where(change, rng.integers(0, 200, change.shape), -1).reshape(80, slices, 4, 4)
        for time in range(slices):
            before = codes[:, time - 1] if time else base[:, 0]
            codes[:, time] = np.where(codes[:, time] < 0, before, codes[:, time])
        return codes

    finding = found(walk(slices // length, length), {"codebook_size": 200})[CHUNKS]
    assert f"every {length} of {slices} time slices" in finding.evidence and finding.severity == 0
    assert CHUNKS not in found(walk(1, slices), {"codebook_size": 200})


def test_codes_that_drift_over_the_file() -> None:
    codes = np.random.default_rng(0).integers(0, 60, (600, 2, 4, 4))
    late = np.arange(600)[:, None, None, None] / 600
    moved = np.where(np.random.default_rng(1).random(codes.shape) < 0.5 * late, codes % 20, codes)
    finding = found(moved, {"codebook_size": 60})[DRIFT]
    assert finding.severity == 0 and finding.confidence == "possible"
    numbers = checked(facts_of(moved, {"codebook_size": 60})).numbers["drift"]
    assert numbers["variation"] == pytest.approx(0.32, abs=0.05) and numbers["variation_floor"] < 0.15
    assert DRIFT not in found(codes, {"codebook_size": 60})


def test_rows_sorted_by_label_do_not_drift() -> None:
    label = np.repeat([0, 1, 2], 200)
    codes = np.random.default_rng(0).integers(0, 20, (600, 2, 4, 4)) + 20 * label[:, None, None, None]
    assert DRIFT not in found(codes, {"codebook_size": 60}, labels=label)
    assert not costly(codes, {"codebook_size": 60})


def test_rows_of_one_code_are_counted_whatever_the_padding() -> None:
    codes = np.random.default_rng(0).integers(0, 9, (30, 2, 3, 3)).astype(np.int32)
    codes[[3, 28, 29]] = 0
    codes[[5, 6]] = 4
    for padded in (False, True):
        if padded:
            codes[3:12, 1, 2:] = -1
            codes[6, 0, 1:] = codes[6, 1] = -1
        seen = Passage((2, 3, 3), (0,))
        for start in range(0, 30, 8):
            seen.add(codes[start : start + 8])
        assert (seen.zero_rows, seen.other_constant_rows, seen.tail) == (3, 2, 28)
        kept = np.delete(np.arange(30), [3, 28, 29])
        assert seen.other_zeros == (codes[kept] == 0).sum() and seen.other_tokens == (codes[kept] >= 0).sum()
        assert seen.pairs[0] == ((codes[:, 0] >= 0) & (codes[:, 1] >= 0)).sum()
