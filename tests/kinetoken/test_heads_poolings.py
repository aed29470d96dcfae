"""Poolings: what they keep, and that no slice sees a later one."""

import pytest
import torch

from kinetoken.heads.poolings import POOLINGS, CodeEncoder, Size, SoftArgmax, SpatialMean, code_coordinates
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.quantizers import quantizer_params

GRID = (4, 8, 8)
COORDINATES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def random_codes(seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 50, (3, *GRID), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_slices_do_not_see_later_ones(name: str) -> None:
    torch.manual_seed(0)
    pooling = POOLINGS[name](COORDINATES, GRID, Size(channels=6, blocks=2, maps=3))
    codes, changed = random_codes(), random_codes()
    changed[:, 2:] = random_codes(seed=2)[:, 2:]
    whole, other, prefix = pooling(codes), pooling(changed), pooling(codes[:, :2])
    assert whole.shape == (3, 4, pooling.features)
    assert torch.equal(whole[:, :2], other[:, :2])
    assert not torch.equal(whole[:, 2:], other[:, 2:])
    torch.testing.assert_close(prefix, whole[:, :2])


def test_spatial_mean_loses_place_and_soft_argmax_keeps_it() -> None:
    torch.manual_seed(0)
    size = Size(channels=6, blocks=1, maps=3)
    mean, argmax = SpatialMean(COORDINATES, GRID, size), SoftArgmax(COORDINATES, GRID, size)
    here = torch.zeros(1, *GRID, dtype=torch.int64)
    here[:, :, 2, 3] = 7
    there = here.roll((3, 2), (2, 3))
    torch.testing.assert_close(mean(here), mean(there))
    assert (argmax(here) - argmax(there)).abs().max() > 1e-4
    torch.testing.assert_close(
        mean(here)[0, 0], (63 * COORDINATES[0] + COORDINATES[7]) / 64
    )


def test_soft_argmax_tells_the_place_of_the_cell_it_looks_at() -> None:
    pooling = SoftArgmax(COORDINATES, GRID, Size(channels=50, blocks=0, maps=1))
    with torch.no_grad():  # one map that looks where code 7 is
        for parameter in pooling.parameters():
            parameter.zero_()
        pooling.encoder.index.weight.copy_(torch.eye(50))
        pooling.maps.weight[0, 7] = 100.0
    codes = torch.zeros(1, *GRID, dtype=torch.int64)
    codes[0, 0, 0, 7], codes[0, 1, 7, 0] = 7, 7
    where = pooling(codes)[0, :, :2]
    torch.testing.assert_close(where[0], torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(where[1], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(where[2], torch.zeros(2), atol=1e-5, rtol=0)  # nowhere: the middle


def test_encoder_sees_the_neighbours_and_the_slice_before() -> None:
    torch.manual_seed(0)
    encoder = CodeEncoder(COORDINATES, GRID, channels=5, blocks=1)
    codes = random_codes()[:1]
    changed = codes.clone()
    changed[0, 1, 4, 4] = (codes[0, 1, 4, 4] + 1) % 50
    differs = (encoder(codes) != encoder(changed))[0].any(1)  # (K, H', W')
    assert not differs[0].any()
    assert not differs[3].any()
    assert differs[1, 3:6, 3:6].all()
    assert differs[2, 3:6, 3:6].all()
    assert differs.sum() == 18


def test_coordinates_are_the_tokenizers() -> None:
    shape = NetworkParams(
        stem="patch", causal=True, fine_channels=4, fine_blocks=0, coarse_channels=4, coarse_blocks=0,
    )
    tokenizer = Tokenizer(shape, quantizer_params("fsq", levels=(3, 5)), 16)
    table = code_coordinates(tokenizer)
    assert table.shape == (15, 2)
    assert len(torch.unique(table, dim=0)) == 15
    codes = torch.arange(8).reshape(1, 2, 2, 2)
    torch.testing.assert_close(table[codes[0]].permute(3, 0, 1, 2)[None], tokenizer.codes_to_latents(codes).float())
