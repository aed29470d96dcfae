"""Sizes that go together, and where tokens lie."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.sizes import FULL_SIZE, grid_of, grid_places, step_times


def test_full_size() -> None:
    assert (FULL_SIZE.patches, FULL_SIZE.cells) == (196, 49)
    assert grid_of(224, 16) == FULL_SIZE.semantic_grid


@pytest.mark.parametrize(("changes", "message"), [
    ({"segments": 16}, "segments: 16 are more than 8 frames"),
    ({"segments": 3}, "frames: 8 cannot be shared equally among 3 segments"),
    ({"motion_grid": (4, 7)}, "14 rows are no multiple of the motion grid's 4"),
    ({"semantic_grid": (14, 13)}, "13 columns are no multiple"),
    ({"semantic_grid": (0, 14)}, "0 rows"),
])
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(FULL_SIZE, **changes)


@pytest.mark.parametrize(("size", "patch"), [(225, 16), (8, 16), (0, 16), (64, 0)])
def test_an_image_that_patches_do_not_fill_is_refused(size: int, patch: int) -> None:
    with pytest.raises(UserError, match=f"image size {size} is no multiple of the patch size {patch}"):
        grid_of(size, patch)


def test_places_and_times() -> None:
    np.testing.assert_allclose(grid_places((1, 2)), [[0.5, 0.25], [0.5, 0.75]])
    np.testing.assert_allclose(grid_places((14, 14)).mean(0), [0.5, 0.5])
    np.testing.assert_allclose(step_times(4), [0.125, 0.375, 0.625, 0.875])
    # frames and segments share one clock: a segment's time is the mean of its frames'
    np.testing.assert_allclose(step_times(8).reshape(4, 2).mean(1), step_times(4))
