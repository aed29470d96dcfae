"""From a grid of codes to one vector a time slice: what is kept of *where* decides what can be read.

A pooling is built from (coordinates (codebook_size, D), grid, Size) and maps codes (B, K, H', W') of any number
of slices K to features (B, K, F), F = `features`; slice k never depends on later ones. A variant is an entry in
`POOLINGS`.
"""

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.heads.places import centred_grid

if TYPE_CHECKING:
    from kinetoken.tokenizer.network import Tokenizer

Grid = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a pooling is."""

    channels: int  # of the features of each cell
    blocks: int  # of convolutions over cells
    maps: int  # attention maps a slice


class Pooling(Protocol):
    """What an entry of POOLINGS makes."""

    features: int

    def __call__(self, codes: Tensor) -> Tensor: ...


def code_coordinates(tokenizer: "Tokenizer") -> Tensor:
    """(codebook_size, D) the quantized latent of every code, on the CPU."""
    device = next(tokenizer.parameters()).device
    every = torch.arange(tokenizer.codebook_size, device=device)[:, None, None, None]
    with torch.no_grad():
        return rearrange(tokenizer.codes_to_latents(every), "n d 1 1 1 -> n d").float().cpu()


def require_prefix(codes: np.ndarray, grid: Grid) -> None:
    """ValueError unless codes (N, K, H', W') are the first slices of clips of that grid."""
    if codes.ndim != 4 or codes.shape[2:] != grid[1:] or not 1 <= codes.shape[1] <= grid[0]:
        raise ValueError(f"codes of shape {codes.shape}: expected (N, 1…{grid[0]}, {grid[1]}, {grid[2]})")


class CodeEncoder(nn.Module):
    """codes (B, K, H', W') → features of each cell (B, K, C, H', W'), causal over slices.

    A code enters by its coordinates (of FSQ: its levels) and by an embedding of its index; each block sees the
    neighbouring cells of its own slice and of the one before.
    """

    coordinates: Tensor

    def __init__(self, coordinates: Tensor, grid: Grid, channels: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("coordinates", coordinates.clone())  # (codebook_size, D)
        self.index = nn.Embedding(len(coordinates), channels)
        nn.init.normal_(self.index.weight, std=0.02)
        self.enter = nn.Linear(coordinates.shape[1], channels)
        self.place = nn.Parameter(torch.randn(channels, grid[1], grid[2]) * 0.02)
        self.blocks = nn.ModuleList(
            nn.Conv2d(2 * channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
            for _ in range(blocks)
        )

    def forward(self, codes: Tensor) -> Tensor:
        slices = codes.shape[1]
        cells = self.enter(self.coordinates[codes]) + self.index(codes)  # (B, K, H', W', C)
        x = rearrange(cells, "b k h w c -> (b k) c h w") + self.place
        for block in self.blocks:
            now = rearrange(functional.gelu(x), "(b k) c h w -> b k c h w", k=slices)
            before = functional.pad(now, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]  # of the slice before; none for the first
            x = x + block(rearrange([now, before], "two b k c h w -> (b k) (two c) h w"))
        return rearrange(functional.gelu(x), "(b k) c h w -> b k c h w", k=slices)


class SpatialMean(nn.Module):
    """The mean of the codes' coordinates over space: (B, K, D). It keeps no place."""

    coordinates: Tensor

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.register_buffer("coordinates", coordinates.clone())
        self.features = coordinates.shape[1]

    def forward(self, codes: Tensor) -> Tensor:
        return reduce(self.coordinates[codes], "b k h w d -> b k d", "mean")


class SoftArgmax(nn.Module):
    """Where M learned attention maps look, and what they find there: (B, K, M (2 + C)).

    The expected place under a softmax over cells: Levine et al. (2016, arXiv 1504.00702).
    """

    def __init__(self, coordinates: Tensor, grid: Grid, size: Size) -> None:
        super().__init__()
        self.encoder = CodeEncoder(coordinates, grid, size.channels, size.blocks)
        self.maps = nn.Conv2d(size.channels, size.maps, 1)
        self.register_buffer("places", centred_grid(grid[1], grid[2]), persistent=False)
        self.features = size.maps * (2 + size.channels)

    def forward(self, codes: Tensor) -> Tensor:
        cells = self.encoder(codes)  # (B, K, C, H', W')
        flat = rearrange(cells, "b k c h w -> (b k) c h w")
        weights = rearrange(self.maps(flat), "n m h w -> n m (h w)").softmax(-1)
        where = weights @ self.places  # (B K, M, 2)
        what = weights @ rearrange(flat, "n c h w -> n (h w) c")  # (B K, M, C)
        return rearrange(torch.cat([where, what], -1), "(b k) m f -> b k (m f)", k=codes.shape[1])


POOLINGS = {"spatial_mean": SpatialMean, "soft_argmax": SoftArgmax}
