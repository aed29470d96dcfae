"""Poolings: what they keep, and that no slice sees a later one."""

import pytest
import torch

from kinetoken.heads.poolings import (
    POOLINGS,
    CellFeatures,
    CodeEncoder,
    CodeFeatures,
    MovingEncoder,
    Size,
    SoftArgmax,
    SpatialMean,
)

GRID = (4, 8, 8)
COORDINATES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def random_codes(seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 50, (3, *GRID), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_slices_do_not_see_later_ones(name: str) -> None:
    torch.manual_seed(0)
    pooling = POOLINGS[name](COORDINATES, GRID, Size(channels=6, blocks=2, maps=3)).eval()
    codes, changed = random_codes(), random_codes()
    changed[:, 2:] = random_codes(seed=2)[:, 2:]
    whole, other, prefix = pooling(codes), pooling(changed), pooling(codes[:, :2])
    assert whole.shape == (3, 4, pooling.features)
    assert torch.equal(whole[:, :2], other[:, :2])
    assert not torch.equal(whole[:, 2:], other[:, 2:])
    torch.testing.assert_close(prefix, whole[:, :2])


# ---- what each keeps


def pooled(name: str, codes: torch.Tensor) -> torch.Tensor:
    """What is known after the last slice: the features of all slices, or the last ones of a pooling over time."""
    torch.manual_seed(0)
    pooling = POOLINGS[name](COORDINATES, GRID, Size(channels=6, blocks=2, maps=3))
    features = pooling(codes)
    return features[:, -1] if pooling.over_time else features


def with_cells_mixed(codes: torch.Tensor, seed: int = 3) -> torch.Tensor:
    """The cells of all slices in another order, the same one for each slice."""
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
    return codes.flatten(2)[:, :, order].unflatten(2, GRID[1:])


def with_cells_of_each_slice_mixed(codes: torch.Tensor) -> torch.Tensor:
    return torch.cat([with_cells_mixed(codes[:, k : k + 1], seed=k) for k in range(GRID[0])], 1)


def with_slices_mixed(codes: torch.Tensor) -> torch.Tensor:
    return codes[:, [2, 0, 3, 1]]


def with_tokens_mixed(codes: torch.Tensor) -> torch.Tensor:
    """All tokens of a clip in another order, across cells and slices."""
    order = torch.randperm(256, generator=torch.Generator().manual_seed(4))
    return codes.flatten(1)[:, order].unflatten(1, GRID)


MIXED = {
    "cells": with_cells_mixed, "cells of each slice": with_cells_of_each_slice_mixed, "slices": with_slices_mixed,
    "tokens": with_tokens_mixed,
}
BLIND_TO = {  # what each pooling cannot tell, by what it is
    "spatial_mean": {"cells", "cells of each slice"},
    "standardised_mean": {"cells", "cells of each slice"},
    "cell_mean": {"cells", "cells of each slice"},
    "global_mean": {"cells", "cells of each slice", "slices", "tokens"},
    "temporal_mean": {"slices"},
    "attention": {"cells", "cells of each slice"},
    "multi_scale": set[str](),
    "none": set[str](),
    "soft_argmax": set[str](),
    "moving_argmax": set[str](),
}


@pytest.mark.parametrize("name", sorted(POOLINGS))
@pytest.mark.parametrize("mixed", MIXED)
def test_a_pooling_is_blind_to_what_it_must_not_know_and_to_nothing_else(name: str, mixed: str) -> None:
    codes = random_codes()
    before, after = pooled(name, codes), pooled(name, MIXED[mixed](codes))
    if mixed in BLIND_TO[name]:
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    else:
        assert (after - before).abs().max() > 1e-3


def test_means_are_means() -> None:
    size, codes = Size(channels=6, blocks=0, maps=3), random_codes()
    values = COORDINATES[codes]  # (3, 4, 8, 8, 3)
    for last in range(4):
        torch.testing.assert_close(
            POOLINGS["global_mean"](COORDINATES, GRID, size)(codes)[:, last], values[:, : last + 1].mean((1, 2, 3))
        )
        temporal = POOLINGS["temporal_mean"](COORDINATES, GRID, size)
        torch.testing.assert_close(
            temporal(codes)[:, last], temporal.cells(codes)[:, : last + 1].mean(1).flatten(1)
        )


@pytest.mark.parametrize("name", ["standardised_mean", "cell_mean"])
def test_standardised_means_have_mean_zero_and_spread_one_in_training(name: str) -> None:
    pooling = POOLINGS[name](COORDINATES, GRID, Size(channels=6, blocks=0, maps=3)).train()
    pooled = pooling(random_codes()).flatten(0, 1)
    assert pooled.shape[1] == pooling.features == (6 if name == "cell_mean" else 3)
    torch.testing.assert_close(pooled.mean(0), torch.zeros(pooling.features), atol=1e-4, rtol=0)
    spread = (pooling.scale.running_var - 0.9) / 0.1 * 11 / 12  # of the averages of these 12 slices
    expected = (spread / (spread + pooling.scale.eps)).sqrt()
    torch.testing.assert_close(pooled.std(0, correction=0), expected, atol=0.02, rtol=0)


def test_multi_scale_holds_the_mean_of_the_whole_the_quarters_and_the_cells() -> None:
    pooling = POOLINGS["multi_scale"](COORDINATES, GRID, Size(channels=6, blocks=0, maps=3))
    codes = random_codes()
    cells, features = pooling.cells(codes).permute(0, 1, 4, 2, 3), pooling(codes)  # (3, 4, 6, 8, 8)
    assert pooling.features == 6 * (1 + 4 + 16 + 64)
    torch.testing.assert_close(features[..., :6], cells.mean((3, 4)))
    quarters = features[..., 6:30].unflatten(-1, (6, 2, 2))
    torch.testing.assert_close(quarters[..., 1, 0], cells[..., 4:, :4].mean((3, 4)))
    torch.testing.assert_close(features[..., -6 * 64 :], cells.flatten(2))
    assert POOLINGS["multi_scale"](COORDINATES, (2, 4, 4), Size(6, 0, 3)).features == 6 * (1 + 4 + 16)


def test_attention_weighs_the_cells_by_what_they_hold() -> None:
    pooling = POOLINGS["attention"](COORDINATES, GRID, Size(channels=50, blocks=0, maps=1))
    with torch.no_grad():  # one map that looks where code 7 is
        for parameter in pooling.parameters():
            parameter.zero_()
        pooling.cells.index.weight.copy_(10 * torch.eye(50))
        pooling.maps.weight[0, 7] = 10.0
    codes = torch.zeros(1, *GRID, dtype=torch.int64)
    codes[0, 0, 5, 2] = 7
    found = pooling(codes)[0]
    torch.testing.assert_close(found[0], 10 * torch.eye(50)[7], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], 10 * torch.eye(50)[0], atol=1e-5, rtol=0)  # nowhere: all cells alike


@pytest.mark.parametrize(("code_features", "same_coordinates", "same_index"), [
    ("coordinates", True, False), ("index", False, True), ("both", False, False),
])
def test_a_code_enters_by_what_the_param_says(
    code_features: CodeFeatures, same_coordinates: bool, same_index: bool
) -> None:
    """Codes 0 and 1 with equal coordinates; then with equal embeddings: does the cell tell them apart?"""
    torch.manual_seed(0)
    twins = COORDINATES.clone()
    twins[1] = twins[0]
    zero, one = torch.zeros(1, 1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, 1, dtype=torch.int64)
    cells = CellFeatures(twins, 6, code_features)
    assert torch.equal(cells(zero), cells(one)) is same_coordinates
    cells = CellFeatures(COORDINATES, 6, code_features)
    if cells.index is not None:
        torch.nn.init.zeros_(cells.index.weight)
    assert torch.equal(cells(zero), cells(one)) is same_index


# ---- the first team's, and the strong one


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


def test_a_moving_encoder_is_told_what_changed() -> None:
    """A clip in which nothing changes enters by its codes alone; a change enters in its slice and fades in later ones.
    """
    torch.manual_seed(0)
    encoder = MovingEncoder(COORDINATES, GRID, channels=5, blocks=0)
    plain = encoder.enter(COORDINATES)
    still = torch.full((1, *GRID), 3)
    still[0, :, 4, 4] = 7
    torch.testing.assert_close(encoder.entered(still), plain[still] + encoder.moved.bias)
    moving = still.clone()
    moving[0, 1, 4, 4] = 3
    known = (encoder.entered(moving) - plain[moving] - encoder.moved.bias).abs().amax(-1)[0]
    assert (known[:, 4, 4] > 1e-4).tolist() == [False, True, True, True]
    known[:, 4, 4] = 0
    assert float(known.max()) < 1e-5
