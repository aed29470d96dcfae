"""From fused tokens to class scores, place and order kept.

Averaging over space would lose where things are and averaging over time in which order, so a stream is read as what
there is on average and where some learned maps look, step by step, and the steps through learned curves of time.
"""

import math

import torch
from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.sizes import Places
from kinetoken.layers import expected_places


class StreamReader(nn.Module):
    """Tokens (B, T, N, C) → features (B, `features`): for each of `curves` weightings of time, what and where.

    What: the mean of the normalized tokens. Where: the expected places under `maps` softmaxes over the tokens of a
    step (soft-argmax). The curves start as the cosines of a DCT: the mean, then
    beginning against end, then middle against both.
    """

    places: Tensor

    def __init__(self, places: Places, width: int, steps: int, maps: int, curves: int) -> None:
        """Raises UserError for more curves than steps."""
        super().__init__()
        if curves > steps:
            raise UserError(f"curves: {curves} are more than {steps} steps of time")
        self.register_buffer("places", torch.tensor(2 * places - 1, dtype=torch.float32), persistent=False)  # (N, 2)
        self.norm = nn.LayerNorm(width)
        self.maps = nn.Linear(width, maps, bias=False)
        self.curves = nn.Parameter(time_cosines(curves, steps))
        self.features = curves * (width + 2 * maps)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        weights = self.maps(normed).softmax(2)  # (B, T, N, maps)
        where = expected_places(weights.mT, self.places)  # (B, T, maps, 2)
        steps = torch.cat([normed.mean(2), where.flatten(2)], -1)  # (B, T, F)
        return (self.curves @ steps).flatten(1)


class FusionHead(nn.Module):
    """Fused tokens of one or two streams → logits (B, classes)."""

    def __init__(self, readers: dict[str, StreamReader], classes: int, dropout: float) -> None:
        super().__init__()
        self.readers = nn.ModuleDict(readers)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(sum(reader.features for reader in readers.values()), classes)

    def forward(self, tokens: dict[str, Tensor]) -> Tensor:
        features = torch.cat([reader(tokens[name]) for name, reader in self.readers.items()], -1)
        logits: Tensor = self.classes(self.dropout(features))
        return logits


def time_cosines(curves: int, steps: int) -> Tensor:
    """(curves, steps): the first cosines of a DCT-II, scaled so that each is a mean of its step's values."""
    k, t = torch.arange(curves)[:, None], torch.arange(steps) + 0.5
    return torch.cos(math.pi * k * t / steps) / steps
