"""The head: it tells places and order, and which of them a smaller one would lose."""

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.head import FusionHead, StreamReader, time_cosines
from kinetoken.gasm_cast.sizes import grid_places

PLACES = grid_places((4, 4))


def reader(curves: int = 2, maps: int = 1) -> StreamReader:
    torch.manual_seed(0)
    return StreamReader(PLACES, width=8, steps=4, maps=maps, curves=curves)


def test_a_map_says_where_its_token_is() -> None:
    made = reader(curves=1)
    bright = torch.tensor([9.0, -9.0] * 4)
    tokens = -bright.expand(1, 4, 16, 8).clone()
    tokens[:, :, 11] = bright  # second row from below, last column
    with torch.no_grad():
        made.maps.weight.copy_(bright[None])
    where = made(tokens)[0, 8:]
    torch.testing.assert_close(where, torch.tensor(2 * PLACES[11] - 1, dtype=torch.float32))


def test_order_is_kept_beyond_the_first_curve_and_place_by_the_maps() -> None:
    tokens = torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(0))
    features, mirrored = reader()(tokens), reader()(tokens.flip(1))
    mean, slope = features.chunk(2, -1)
    torch.testing.assert_close(mirrored, torch.cat([mean, -slope], -1))
    moved = reader()(tokens.flip(2)) - features
    what, where = moved.unflatten(1, (2, 10)).split([8, 2], -1)
    assert what.abs().max() < 1e-6 and where.abs().max() > 1e-3


def test_curves_are_the_cosines_of_a_dct() -> None:
    from scipy.fft import dct

    series = np.random.default_rng(0).normal(size=(5, 8))
    np.testing.assert_allclose(
        series @ time_cosines(3, 8).numpy().T, dct(series, type=2)[:, :3] / 16, atol=1e-6
    )


def test_both_streams_reach_the_classes() -> None:
    head = FusionHead({"a": reader(), "b": reader(maps=3)}, classes=5, dropout=0.0)
    tokens = torch.randn(2, 4, 16, 8)
    logits = head({"a": tokens, "b": tokens})
    assert logits.shape == (2, 5) and head.classes.in_features == 2 * (8 + 2) + 2 * (8 + 6)
    assert not torch.allclose(logits, head({"a": tokens, "b": tokens.flip(1)}))


def test_more_curves_than_steps_are_refused() -> None:
    with pytest.raises(UserError, match="curves: 5 are more than 4 steps"):
        reader(curves=5)
