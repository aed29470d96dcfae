"""Gaussian priors over the vectors of a clip's codes: the floor that a generator worth its training must beat.

They know which codes vary together over space and time, and nothing of what a ball is.
"""

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from kinetoken.training.loop import index_batches

Codes = NDArray[np.int32]

ROUNDING_ROWS = 65536


class GaussianPrior(nn.Module):
    """One Gaussian over the vectors of all codes of a clip, whatever the class asked for.

    Its covariance is that of the leading principal directions (Tipping and Bishop 1999), shrunk towards
    its own diagonal (Ledoit and Wolf 2004); a draw is rounded to the nearest code at each token.
    """

    mean: Tensor
    basis: Tensor
    spread: Tensor
    by_class = False

    def __init__(self, classes: int, grid: tuple[int, int, int], coordinates: int, components: int) -> None:
        """coordinates: length of a code's vector; components: principal directions kept."""
        super().__init__()
        groups, size = classes if self.by_class else 1, int(np.prod(grid)) * coordinates
        self.grid, self.coordinates = grid, coordinates
        self.register_buffer("mean", torch.zeros(groups, size))
        self.register_buffer("basis", torch.zeros(groups, components, size))
        self.register_buffer("spread", torch.zeros(groups, size))

    def fit(self, vectors: np.ndarray, target: np.ndarray, shrinkage: float) -> None:
        """vectors (N, P) of the training clips' codes, target (N,) their class."""
        for group in range(len(self.mean)):
            rows = vectors[target == group] if self.by_class else vectors
            centred = rows - rows.mean(0)
            covariance = centred.T @ centred / len(rows)  # (P, P)
            values, directions = np.linalg.eigh(covariance)
            kept = slice(-self.basis.shape[1], None)
            scaled = (directions[:, kept] * np.sqrt(np.maximum(values[kept], 0) * (1 - shrinkage))).T
            self.mean[group] = torch.from_numpy(rows.mean(0))
            self.basis[group] = torch.from_numpy(scaled)
            self.spread[group] = torch.from_numpy(np.sqrt(shrinkage * np.diag(covariance)))

    def draw(self, label: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` vectors for the class of index `label`, not yet rounded: (count, P) float32."""
        group = label if self.by_class else 0
        mean, basis, spread = (part[group].cpu().numpy() for part in (self.mean, self.basis, self.spread))
        common = rng.standard_normal((count, len(basis)), np.float32) @ basis
        return np.asarray(mean + common + spread * rng.standard_normal((count, len(mean)), np.float32))

    def sample(self, label: int, count: int, rng: np.random.Generator, table: Tensor) -> Codes:
        """The codes of `table` (codebook size, D) nearest to a draw: (count, T', H', W')."""
        drawn = torch.from_numpy(self.draw(label, count, rng))
        tokens = rearrange(drawn, "n (s d) -> (n s) d", d=self.coordinates)
        nearest = [
            torch.cdist(tokens[torch.from_numpy(rows)], table.cpu()).argmin(-1)
            for rows in index_batches(len(tokens), ROUNDING_ROWS)
        ]
        return torch.cat(nearest).numpy().astype(np.int32).reshape(count, *self.grid)


class ClassGaussianPrior(GaussianPrior):
    """A Gaussian for each class."""

    by_class = True
