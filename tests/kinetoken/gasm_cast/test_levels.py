"""Levels: which tokens meet, that pooling and its way back agree, and what a position's code tells."""

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.levels import LEVELS, Grain, position_code
from kinetoken.gasm_cast.sizes import grid_places

PATCHES, CELLS = grid_places((4, 4)), grid_places((2, 2))


def grain(level: str, groups: int = 1) -> Grain:
    """The semantic stream of 4 frames of 4×4 patches."""
    return Grain(LEVELS[level].cells(PATCHES, CELLS), PATCHES, steps=4, groups=groups)


def numbered() -> torch.Tensor:
    """(1, 4, 16, 1): token p of frame t is 100 t + p."""
    return (100 * torch.arange(4.0)[:, None] + torch.arange(16.0))[None, :, :, None]


def test_segment_level_keeps_tokens_and_parts_time() -> None:
    grouped = grain("segment", groups=2).gather(numbered())
    assert grouped.shape == (1, 2, 32, 1)
    assert torch.equal(grouped[0, 1, :, 0], torch.cat([200 + torch.arange(16.0), 300 + torch.arange(16.0)]))


def test_pattern_level_pools_the_patches_of_a_motion_cell() -> None:
    pooled = grain("pattern").gather(numbered())[0, 0, :, 0]
    squares = numbered()[0, :, :, 0].reshape(4, 2, 2, 2, 2).mean((2, 4))  # 2×2 patches each
    assert torch.equal(pooled, squares.flatten())
    motion = Grain(LEVELS["pattern"].cells(CELLS, CELLS), CELLS, steps=4, groups=1)
    tokens = torch.randn(2, 4, 4, 3)
    assert torch.equal(motion.gather(tokens), tokens.reshape(2, 1, 16, 3))  # motion's own cells as they are


def test_clip_level_has_one_token_a_frame_in_order() -> None:
    assert grain("clip").gather(numbered())[0, 0, :, 0].tolist() == [7.5, 107.5, 207.5, 307.5]


@pytest.mark.parametrize(("level", "groups"), [("segment", 2), ("segment", 4), ("pattern", 1), ("clip", 1)])
def test_the_way_back_gives_each_token_its_own_cell(level: str, groups: int) -> None:
    made = grain(level, groups)
    spread = made.spread(made.gather(numbered()))
    assert spread.shape == (1, 4, 16, 1)
    # pooled again it is the same, and frames are not mixed
    assert torch.equal(made.gather(spread), made.gather(numbered()))
    assert torch.equal(spread.long() // 100, numbered().long() // 100)


def test_coordinates_are_the_means_of_their_tokens() -> None:
    coordinates = grain("pattern").coordinates
    assert coordinates.shape == (1, 16, 3)
    torch.testing.assert_close(coordinates[0, :4, 0], torch.full((4,), 0.125))  # the first frame's time
    torch.testing.assert_close(coordinates[0, :4, 1:], torch.tensor(CELLS, dtype=torch.float32))
    torch.testing.assert_close(grain("clip").coordinates[0, :, 1:], torch.full((4, 2), 0.5))


def test_cells_of_unequal_size_are_refused() -> None:
    with pytest.raises(UserError, match="1 to 3 tokens"):
        Grain(np.array([0, 1, 1, 1]), CELLS, steps=2, groups=1)


def test_position_codes_differ_wherever_positions_do() -> None:
    coordinates = grain("segment", groups=4).coordinates.flatten(0, 1)
    code = position_code(coordinates, width=32)
    assert code.shape == (64, 32) and (code[:, 30:] == 0).all() and code.abs().max() <= 1
    apart = torch.cdist(code, code) + 9 * torch.eye(64)
    assert apart.min() > 0.1
    # the longest wave alone orders a coordinate: no two halves of the clip look alike
    time = position_code(torch.stack([torch.linspace(0, 1, 20), *2 * [torch.full((20,), 0.5)]], -1), 6)
    assert (time[:, 1].diff() < 0).all()
