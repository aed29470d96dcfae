"""At which grain the streams meet: in a segment, as patterns, as a whole clip; from simple to complex."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.sizes import Places, step_times

Cells = NDArray[np.int64]  # (N,) the cell that each token of a frame or segment belongs to
COORDINATES = 3  # t, y, x
CODE_OCTAVES = 4  # wave lengths of a position's code: from twice the clip or image to an eighth of it


def each_token(own: Places, motion: Places) -> Cells:
    """Each token is a cell of its own."""
    return np.arange(len(own))


def nearest_motion_cell(own: Places, motion: Places) -> Cells:
    """The cell of the motion grid that each token lies in."""
    nearest: Cells = np.linalg.norm(own[:, None] - motion[None], axis=-1).argmin(1)
    return nearest


def all_together(own: Places, motion: Places) -> Cells:
    """One cell."""
    return np.zeros(len(own), np.int64)


@dataclasses.dataclass(frozen=True)
class Level:
    """Which tokens are pooled before they meet, and whether only those of the same segment do."""

    cells: Callable[[Places, Places], Cells]
    by_segment: bool


LEVELS = {
    # which patch moves how: every patch meets every motion token of its own segment (CAST's S2T, arXiv:2311.18825)
    "segment": Level(each_token, by_segment=True),
    # which thing takes which course: patches pooled to motion's grid, and as a course leads through many cells and
    # segments, all of the clip meet (CAST's T2S keeps to one place, where a moving thing does not stay)
    "pattern": Level(nearest_motion_cell, by_segment=False),
    # what happens when: one token a frame meets one a segment
    "clip": Level(all_together, by_segment=False),
}


class Grain(nn.Module):
    """One stream's tokens (B, T, N, C) as a level sees them, G groups of n: (B, G, n, C); and the way back.

    `coordinates` (G, n, 3) is when and where each lies: t, y, x in [0, 1].
    """

    members: Tensor
    cell_of: Tensor
    coordinates: Tensor

    def __init__(self, cells: Cells, places: Places, steps: int, groups: int) -> None:
        """Raises UserError if the cells differ in how many tokens they hold."""
        super().__init__()
        counts = np.bincount(cells)
        if counts.min() != counts.max():
            raise UserError(f"the cells of a level hold {counts.min()} to {counts.max()} tokens; they must be equal")
        members = np.argsort(cells, kind="stable").reshape(len(counts), -1)  # (cells, tokens of each)
        self.groups, self.pools = groups, len(counts) < len(cells)
        self.register_buffer("members", torch.tensor(members), persistent=False)
        self.register_buffer("cell_of", torch.tensor(cells), persistent=False)
        when = np.broadcast_to(step_times(steps)[:, None, None], (steps, len(places), 1))
        where = np.broadcast_to(places[None], (steps, len(places), 2))
        coordinates = torch.tensor(np.concatenate([when, where], -1), dtype=torch.float32)  # (T, N, 3)
        self.register_buffer("coordinates", self.gather(coordinates[None])[0], persistent=False)

    def gather(self, tokens: Tensor) -> Tensor:
        """(B, T, N, C) → (B, G, n, C), means over the tokens of each cell."""
        if self.pools:
            tokens = tokens[:, :, self.members].mean(3)
        return rearrange(tokens, "b (g t) n c -> b g (t n) c", g=self.groups)

    def spread(self, pooled: Tensor) -> Tensor:
        """(B, G, n, C) → (B, T, N, C): each token gets what its cell has."""
        cells = rearrange(pooled, "b g (t n) c -> b (g t) n c", n=len(self.members))
        return cells[:, :, self.cell_of] if self.pools else cells


def position_code(coordinates: Tensor, width: int) -> Tensor:
    """(…, 3) t, y, x in [0, 1] → (…, width) sines and cosines of each, CODE_OCTAVES octaves of wave lengths.

    Fixed, so that a position and not a token's number says where it lies.
    """
    waves = width // (2 * COORDINATES)  # of each coordinate
    pace = torch.pi * torch.logspace(0, CODE_OCTAVES, waves, base=2.0, device=coordinates.device)
    angles = coordinates[..., None] * pace  # (…, 3, waves)
    code = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
    return F.pad(code, (0, width - code.shape[-1]))
