"""Graph attention inside one stream: each token asks its neighbours, near ones and similar ones.

Veličković et al. (2018, GAT, arXiv:1710.10903), with scaled dot products as scores. A graph joins the patches of
one frame, or the segments of a clip at one place. Who is a neighbour comes from distance and similarity; how much
an edge counts is learned, a function of both for each head.
"""

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.attention import Kept, attend, start_at_zero

BUMPS = 8  # values of distance, from 0 to the largest, at which a head's curves over distance are learned


class GraphAttention(nn.Module):
    """tokens (B, G, N, C) of G graphs a clip → the same with what the neighbours say added; the identity at first.

    Token i has an edge to j if they are at most `radius` apart or j is among the `similar` tokens of its graph most
    similar to i (cosine of the normalized tokens; equals all count). An edge's logit for a head is

        query · key / √c + near(distance) + alike(distance) · similarity,

    near and alike learned, linear between BUMPS values of log(1 + distance), 0 and 1 at first; without an edge the
    weight is exactly 0. Each token is its own neighbour.
    """

    near_basis: Tensor
    adjacent: Tensor

    def __init__(
        self, positions: NDArray[np.float64], width: int, inner: int, heads: int, radius: float, similar: int
    ) -> None:
        """`positions` (N, D) in the unit of `radius`; `inner` is the width of queries, keys and values.

        Raises UserError if `inner` is no multiple of `heads`, or there are fewer than `similar` other tokens.
        """
        super().__init__()
        if inner % heads:
            raise UserError(f"graph_width: {inner} is no multiple of {heads} heads")
        if similar >= len(positions):
            raise UserError(f"neighbours: {similar} similar ones of {len(positions) - 1} other tokens in a graph")
        self.heads, self.similar = heads, similar
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        self.register_buffer("adjacent", torch.tensor(distance <= radius + 1e-6), persistent=False)  # (N, N)
        basis = torch.tensor(distance_basis(distance), dtype=torch.float32)  # (N, N, BUMPS)
        self.register_buffer("near_basis", basis, persistent=False)
        self.near = nn.Parameter(torch.zeros(BUMPS, heads))
        self.alike = nn.Parameter(torch.ones(BUMPS, heads))
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * inner, bias=False)
        self.up = start_at_zero(nn.Linear(inner, width))

    def forward(self, tokens: Tensor, keep: Kept = None) -> Tensor:
        normed = self.norm(tokens)
        queries, keys, values = self.query_key_value(normed).chunk(3, -1)
        found = attend(queries, keys, values, self.heads, self.edge_logits(normed), keep)
        spoken: Tensor = self.up(F.gelu(found))
        return tokens + spoken

    def edge_logits(self, normed: Tensor) -> Tensor:
        """What the edges add to the scores of normalized tokens (B, G, N, C): (B, G, heads, N, N), −inf for no edge."""
        unit = F.normalize(normed, dim=-1)
        similarity = unit @ unit.mT  # (B, G, N, N)
        near = rearrange(self.near_basis @ self.near, "i j h -> h i j")
        alike = rearrange(self.near_basis @ self.alike, "i j h -> h i j")
        logits = near + alike * similarity[:, :, None]
        return logits.masked_fill(~self.edges(similarity)[:, :, None], -torch.inf)

    def edges(self, similarity: Tensor) -> Tensor:
        """(B, G, N, N) bool: True where row i has an edge to column j."""
        if not self.similar:
            return self.adjacent.expand_as(similarity)
        least = similarity.topk(self.similar + 1, -1).values[..., -1:]  # one more, for itself
        return self.adjacent | (similarity >= least)


def distance_basis(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (…) → (…, BUMPS) hat functions of log(1 + distance) that sum to 1."""
    scale = np.log1p(distance)
    at = scale / max(scale.max(), 1e-12) * (BUMPS - 1)
    hats: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(at[..., None] - np.arange(BUMPS)))
    return hats
