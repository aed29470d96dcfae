"""How many tokens the two streams of a clip have, how wide they are, and where and when each lies."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive
from kinetoken.layers import cell_centres

Grid = tuple[int, int]  # rows, columns
Places = NDArray[np.float64]  # (N, 2) the centre (y, x) of each token in an image of height and width 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSizes:
    """What the backbones give of a clip: semantic tokens (B, frames, P, width), motion tokens (B, segments, M, width).

    P and M are the cells of the two grids. Raises UserError for sizes that do not go together.
    """

    classes: Positive
    frames: Positive
    segments: Positive  # of as many frames each
    semantic_grid: Grid
    semantic_width: Positive
    motion_grid: Grid
    motion_width: Positive

    def __post_init__(self) -> None:
        if self.segments > self.frames:
            raise UserError(f"segments: {self.segments} are more than {self.frames} frames")
        if self.frames % self.segments:
            raise UserError(f"frames: {self.frames} cannot be shared equally among {self.segments} segments")
        for name, fine, coarse in zip(("rows", "columns"), self.semantic_grid, self.motion_grid, strict=True):
            if min(fine, coarse) < 1 or fine % coarse:
                raise UserError(f"semantic_grid: {fine} {name} are no multiple of the motion grid's {coarse}")

    @property
    def patches(self) -> int:
        """P, semantic tokens a frame."""
        return self.semantic_grid[0] * self.semantic_grid[1]

    @property
    def cells(self) -> int:
        """M, motion tokens a segment."""
        return self.motion_grid[0] * self.motion_grid[1]


# DINOv3 ViT-B/16 on 8 frames of 224 px; R3D-18 without its last two strides over time on 16 frames of 112 px;
# Something-Something-V2
FULL_SIZE = TokenSizes(
    classes=174, frames=8, segments=8, semantic_grid=(14, 14), semantic_width=768, motion_grid=(7, 7), motion_width=512
)


def grid_of(image_size: int, patch: int) -> Grid:
    """Rows and columns of patches of a square image; UserError if they do not fill it."""
    if patch < 1 or image_size < patch or image_size % patch:
        raise UserError(f"image size {image_size} is no multiple of the patch size {patch}")
    return image_size // patch, image_size // patch


def grid_places(grid: Grid) -> Places:
    """(N, 2) centres (y, x) of the cells of an image of height and width 1, row-major."""
    # on the CPU even where a network is built without storage, on the device "meta"
    centres = cell_centres(*grid, 0, 1, dtype=torch.float64, device=torch.device("cpu"))
    return centres.flip(-1).numpy()


def step_times(steps: int) -> NDArray[np.float64]:
    """(T,) the middle of each of T equal steps of a clip of duration 1."""
    return (np.arange(steps) + 0.5) / steps
