"""From a grid of codes to one vector a time slice: what is kept of *where* decides what can be read.

A pooling is built from (coordinates (codebook_size, D), grid, Size) and maps codes (B, K, H', W') of any number
of slices K to features (B, K, F), F = `features`; in eval mode slice k never depends on later ones. With `over_time`
slice k is of all slices up to k together, so that whoever reads several of them must read the last one only:
running means differ by what each slice brought, and their order would come back in. A variant is an entry in
`POOLINGS`.

Some poolings take the mean of the codes' coordinates as they are, some of learned features of each cell by itself,
one of learned features that have seen the neighbours and the place; each says which.
"""

import dataclasses
from typing import Literal, Protocol

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.layers import cell_centres, expected_places

Grid = tuple[int, int, int]
CodeFeatures = Literal["coordinates", "index", "both"]  # how a code enters learned features

NOTICED = 3.0  # added at the start to the logit of a map where a code is not the cell's usual one

SCALES = (1, 2, 4, 8)  # cells a side that multi_scale averages over, as far as the grid has them


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a pooling is, and how a code enters it."""

    channels: int  # of the features of each cell
    blocks: int  # of convolutions over cells
    maps: int  # attention maps a slice
    code_features: CodeFeatures = "both"


class Pooling(Protocol):
    """What an entry of POOLINGS makes."""

    features: int
    over_time: bool  # slice k is of all slices up to k

    def __call__(self, codes: Tensor) -> Tensor: ...


def require_prefix(codes: np.ndarray, grid: Grid) -> None:
    """ValueError unless codes (N, K, H', W') are the first slices of clips of that grid."""
    if codes.ndim != 4 or codes.shape[2:] != grid[1:] or not 1 <= codes.shape[1] <= grid[0]:
        raise ValueError(f"codes of shape {codes.shape}: expected (N, 1…{grid[0]}, {grid[1]}, {grid[2]})")


def mean_so_far(slices: Tensor) -> Tensor:
    """(B, K, F) → (B, K, F): for each k the mean of slices 0 … k."""
    counts = torch.arange(1, slices.shape[1] + 1, device=slices.device)[:, None]  # (K, 1)
    return slices.cumsum(1) / counts


class CodeEntry(nn.Module):
    """How a code enters learned features: by its coordinates (of FSQ: its levels), by its index, or by both.

    The coordinates go through a linear map, the index through an embedding.
    """

    coordinates: Tensor

    def __init__(self, coordinates: Tensor, channels: int, code_features: CodeFeatures) -> None:
        super().__init__()
        self.register_buffer("coordinates", coordinates.clone())  # (codebook_size, D)
        self.index = None if code_features == "coordinates" else nn.Embedding(len(coordinates), channels)
        if self.index is not None:
            nn.init.normal_(self.index.weight, std=0.02)
        self.enter = None if code_features == "index" else nn.Linear(coordinates.shape[1], channels)

    def entered(self, codes: Tensor) -> Tensor:
        """codes (B, K, H', W') → (B, K, H', W', C), the sum of what enters."""
        known = [] if self.enter is None else [self.enter(self.coordinates[codes])]
        known += [] if self.index is None else [self.index(codes)]
        cells: Tensor = sum(known[1:], start=known[0])
        return cells


class CellFeatures(CodeEntry):
    """codes (B, K, H', W') → features of each cell by itself (B, K, H', W', C): no place, no neighbour, no time."""

    def forward(self, codes: Tensor) -> Tensor:
        return functional.gelu(self.entered(codes))


class CodeEncoder(CodeEntry):
    """codes (B, K, H', W') → features of each cell (B, K, C, H', W'), causal over slices.

    Each cell knows its place, and whether its code is the one that it most often holds in training (the background,
    where that is still): so attention begins at what is unusual. Each block sees the neighbouring cells of its own
    slice and of the one before.
    """

    usual: Tensor

    def __init__(
        self, coordinates: Tensor, grid: Grid, channels: int, blocks: int, code_features: CodeFeatures = "both"
    ) -> None:
        super().__init__(coordinates, channels, code_features)
        self.place = nn.Parameter(torch.randn(channels, grid[1], grid[2]) * 0.02)
        self.register_buffer("usual", torch.full(grid, -1))  # (T', H', W'); -1, no code, until `notice` tells
        self.mark = nn.Parameter(torch.randn(channels) * 0.3)  # of an unusual code
        self.blocks = nn.ModuleList(
            nn.Conv2d(2 * channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
            for _ in range(blocks)
        )

    def notice(self, codes: Tensor) -> None:
        """Take each cell's usual code from training clips (N, T', H', W')."""
        self.usual.copy_(codes.mode(0).values)

    def unusual(self, codes: Tensor) -> Tensor:
        """codes (B, K, H', W') → (B, K, H', W') of 1 where a code is not the usual one of its cell, else 0."""
        return (codes != self.usual[: codes.shape[1]]).to(self.mark.dtype)

    def forward(self, codes: Tensor) -> Tensor:
        slices = codes.shape[1]
        entered = self.entered(codes) + self.unusual(codes)[..., None] * self.mark
        x = rearrange(entered, "b k h w c -> (b k) c h w") + self.place
        for block in self.blocks:
            now = rearrange(functional.gelu(x), "(b k) c h w -> b k c h w", k=slices)
            before = functional.pad(now, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]  # of the slice before; none for the first
            x = x + block(rearrange([now, before], "two b k c h w -> (b k) (two c) h w"))
        return rearrange(functional.gelu(x), "(b k) c h w -> b k c h w", k=slices)


class MovingEncoder(CodeEncoder):
    """The same, of cells that also know how they differ from what was there before; codes enter by coordinates alone.

    Where each clip has a background of its own, no code says that something moves, but a change of codes does. So the
    difference of a code's coordinates from their mean over the slices so far enters too, with and without its sign.
    Embeddings of single codes are left out: few clips do not show most of them.
    """

    def __init__(self, coordinates: Tensor, grid: Grid, channels: int, blocks: int) -> None:
        super().__init__(coordinates, grid, channels, blocks, "coordinates")
        self.moved = nn.Linear(2 * coordinates.shape[1], channels)

    def entered(self, codes: Tensor) -> Tensor:
        known = self.coordinates[codes]  # (B, K, H', W', D)
        count = torch.arange(1, known.shape[1] + 1, device=codes.device)[:, None, None, None]
        moved = known - known.cumsum(1) / count
        cells: Tensor = super().entered(codes) + self.moved(torch.cat([moved, moved.abs()], -1))
        return cells


class SpatialMean(nn.Module):
    """The mean of the codes' coordinates over space: (B, K, D). It keeps time and no place; the first team's."""

    coordinates: Tensor
    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.register_buffer("coordinates", coordinates.clone())
        self.features = coordinates.shape[1]

    def forward(self, codes: Tensor) -> Tensor:
        return reduce(self.coordinates[codes], "b k h w d -> b k d", "mean")


class StandardisedMean(SpatialMean):
    """The same, each coordinate brought to mean 0 and spread 1 over the clips in training (Ioffe & Szegedy 2015,
    arXiv 1502.03167): averages differ in their second decimal, which no head sees that is not told their scale."""

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__(coordinates, grid, size)
        self.scale = nn.BatchNorm1d(self.features)

    def forward(self, codes: Tensor) -> Tensor:
        return _normalised(self.scale, super().forward(codes))


class CellMean(nn.Module):
    """The mean over space of learned features of each cell by itself, standardised: (B, K, C).

    All that averaging over space allows a head to learn: it keeps time and no place.
    """

    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.cells = CellFeatures(coordinates, size.channels, size.code_features)
        self.scale = nn.BatchNorm1d(size.channels)
        self.features = size.channels

    def forward(self, codes: Tensor) -> Tensor:
        return _normalised(self.scale, reduce(self.cells(codes), "b k h w c -> b k c", "mean"))


def _normalised(scale: nn.BatchNorm1d, pooled: Tensor) -> Tensor:
    """(B, K, F), over all slices alike."""
    normalised: Tensor = scale(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])
    return normalised


class GlobalMean(SpatialMean):
    """The mean of the codes' coordinates over space and all slices so far: (B, K, D). It keeps neither."""

    over_time = True

    def forward(self, codes: Tensor) -> Tensor:
        return mean_so_far(super().forward(codes))


class AllTokens(nn.Module):
    """Learned features of each cell by itself, all of them in order: (B, K, H' W' C). It keeps everything."""

    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.cells = CellFeatures(coordinates, size.channels, size.code_features)
        self.features = grid[1] * grid[2] * size.channels

    def forward(self, codes: Tensor) -> Tensor:
        cells: Tensor = self.cells(codes)
        return rearrange(cells, "b k h w c -> b k (h w c)")


class TemporalMean(AllTokens):
    """The mean of learned features of each cell over all slices so far: (B, K, H' W' C). It keeps place, not time."""

    over_time = True

    def forward(self, codes: Tensor) -> Tensor:
        return mean_so_far(super().forward(codes))


class MultiScale(nn.Module):
    """Means of learned features of each cell over 1×1, 2×2, 4×4 and 8×8 parts of a slice: (B, K, C (1 + 4 + 16 + 64)).

    A pyramid after Lazebnik et al. (2006, CVPR). It keeps place, as coarsely as each part of the head needs it;
    a smaller grid has fewer scales.
    """

    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.cells = CellFeatures(coordinates, size.channels, size.code_features)
        self.scales = tuple(scale for scale in SCALES if scale <= min(grid[1:]))
        self.features = size.channels * sum(scale**2 for scale in self.scales)

    def forward(self, codes: Tensor) -> Tensor:
        cells = rearrange(self.cells(codes), "b k h w c -> (b k) c h w")
        means = [functional.adaptive_avg_pool2d(cells, scale).flatten(1) for scale in self.scales]
        return rearrange(torch.cat(means, 1), "(b k) f -> b k f", k=codes.shape[1])


class Attention(nn.Module):
    """What M learned attention maps find among a slice's cells: (B, K, M C).

    The maps, and what they weigh, are learned features of each cell by itself: content alone, so no place is kept
    (Ilse et al. 2018, arXiv 1802.04712).
    """

    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.cells = CellFeatures(coordinates, size.channels, size.code_features)
        self.maps = nn.Linear(size.channels, size.maps)
        self.features = size.maps * size.channels

    def forward(self, codes: Tensor) -> Tensor:
        cells = rearrange(self.cells(codes), "b k h w c -> b k (h w) c")
        weights: Tensor = self.maps(cells).softmax(2)  # (B, K, H' W', M)
        found: Tensor = weights.mT @ cells  # (B, K, M, C)
        return rearrange(found, "b k m c -> b k (m c)")


class SoftArgmax(nn.Module):
    """Where M learned attention maps look, and what they find there: (B, K, M (2 + C)).

    Features of cells that know their place and have seen their neighbours and the slice before. The maps begin at codes
    that are unusual for their cell: from a wide range of motions no map finds the ball by the classes alone.
    """

    places: Tensor
    over_time = False

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.encoder = self._encoder(coordinates, grid, size)
        self.maps = nn.Conv2d(size.channels, size.maps, 1)
        self.noticed = nn.Parameter(torch.full((size.maps, 1), NOTICED))
        self.register_buffer("places", cell_centres(grid[1], grid[2], -1, 1, "centres"), persistent=False)
        self.features = size.maps * (2 + size.channels)

    def notice(self, codes: Tensor) -> None:
        """Take each cell's usual code from training clips (N, T', H', W')."""
        self.encoder.notice(codes)

    def _encoder(self, coordinates: Tensor, grid: Grid, size: Size) -> CodeEncoder:
        return CodeEncoder(coordinates, grid, size.channels, size.blocks, size.code_features)

    def forward(self, codes: Tensor) -> Tensor:
        cells = self.encoder(codes)  # (B, K, C, H', W')
        flat = rearrange(cells, "b k c h w -> (b k) c h w")
        unusual = rearrange(self.encoder.unusual(codes), "b k h w -> (b k) 1 (h w)")
        weights = (rearrange(self.maps(flat), "n m h w -> n m (h w)") + self.noticed * unusual).softmax(-1)
        where = expected_places(weights, self.places)  # (B K, M, 2)
        what = weights @ rearrange(flat, "n c h w -> n (h w) c")  # (B K, M, C)
        return rearrange(torch.cat([where, what], -1), "(b k) m f -> b k (m f)", k=codes.shape[1])


class MovingArgmax(SoftArgmax):
    """Where M learned attention maps look, and what they find there, of cells that know what changed: `MovingEncoder`.

    For clips that share no background.
    """

    def notice(self, codes: Tensor) -> None:
        """No code is a cell's usual one where each clip has a background of its own: all maps begin alike."""

    def _encoder(self, coordinates: Tensor, grid: Grid, size: Size) -> CodeEncoder:
        return MovingEncoder(coordinates, grid, size.channels, size.blocks)


POOLINGS = {
    "spatial_mean": SpatialMean, "standardised_mean": StandardisedMean, "cell_mean": CellMean,
    "global_mean": GlobalMean, "temporal_mean": TemporalMean, "attention": Attention, "soft_argmax": SoftArgmax,
    "moving_argmax": MovingArgmax,
    "multi_scale": MultiScale, "none": AllTokens,
}
