"""Tokens against moving pixels, reconstructions against clips: axes exchanged, mirrored, flattened otherwise."""

import numpy as np
import pytest
from einops import rearrange, repeat
from vector_quantize_pytorch import FSQ

from kinetoken.diagnosis.checks.alignment import arrangements, better_match
from kinetoken.diagnosis.checks.order import ORDERS
from tests.support.peers import found, peer, quantized

LEVELS = {"levels": [8, 5, 5, 5]}
MADE = peer(200)
CODES = quantized(FSQ([8, 5, 5, 5]), MADE.latents)
SWAPPED, PLACE = "axes swapped", "tokens out of place"


def test_every_arrangement_is_another_and_covers_all_places() -> None:
    for grid, count in (((4, 8, 8), 15 + 4), ((2, 3, 4), 7 + 5), ((8, 8, 8), 47), ((1, 4, 4), 7), ((5, 1, 1), 1)):
        each = [one.places for one in arrangements(grid)]
        size = int(np.prod(grid))
        assert all(sorted(places) == list(range(size)) for places in each)
        assert len({places.tobytes() for places in each} | {np.arange(size).tobytes()}) == len(each) + 1
        assert len(each) == count, grid


@pytest.mark.parametrize(("made", "said"), [
    (lambda codes: codes.transpose(0, 1, 3, 2), "rows and columns exchanged"),
    (lambda codes: codes[:, ::-1], "time reversed"),
    (lambda codes: codes[:, :, ::-1], "rows reversed"), (lambda codes: codes[..., ::-1], "columns reversed"),
])
def test_codes_with_axes_exchanged(made: "object", said: str) -> None:
    finding = found(made(CODES), LEVELS, clips=MADE.clips)[SWAPPED]  # type: ignore[operator]
    assert said in finding.evidence and finding.severity == pytest.approx(7 / 8, abs=0.13)


@pytest.mark.parametrize("order", [order for order in ORDERS if order.axes != (0, 2, 1)], ids=str)
def test_codes_flattened_otherwise_beside_their_clips(order: "object") -> None:
    axes = order.axes  # type: ignore[attr-defined]
    sick = CODES.transpose(0, *(1 + axis for axis in axes)).reshape(CODES.shape)
    finding = found(sick, LEVELS, clips=MADE.clips)[PLACE]
    assert f"flattened in the order {order}" in finding.evidence and finding.confidence == "likely"


def painted(latents: np.ndarray) -> np.ndarray:
    """Clips (n, T, H, W, 3) of the mean of each cell, as a decoder without detail paints them."""
    grey = repeat(np.clip(60 + 50 * latents[..., 0], 0, 255), "n t h w -> n (t 2) (h 4) (w 4) 3")
    return np.rint(grey).astype(np.uint8)


def test_reconstructions_of_exchanged_indices() -> None:
    fair = painted(MADE.latents)
    assert not {SWAPPED, PLACE} & set(found(CODES, LEVELS, clips=MADE.clips, reconstructions=fair))
    swapped = painted(MADE.latents.transpose(0, 1, 3, 2, 4))
    finding = found(CODES, LEVELS, clips=MADE.clips, reconstructions=swapped)[SWAPPED]
    assert "rows and columns exchanged" in finding.evidence and "in the reconstructions" in finding.evidence
    wrong = rearrange(MADE.latents, "n t h w d -> n h w t d").reshape(MADE.latents.shape)
    finding = found(CODES, LEVELS, clips=MADE.clips, reconstructions=painted(wrong))[PLACE]
    assert "rows, columns, time" in finding.evidence


def test_maps_without_anything_in_common_match_in_no_order() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = rng.random((2, 100, 4, 8, 8)).astype(np.float32)
        assert better_match(first, second) is None
        assert better_match(first, (first + 3 * second).astype(np.float32)) is None
    assert better_match(np.ones((100, 4, 8, 8), np.float32), first) is None
