"""A vector quantizer over the features of a backbone: few numbers a step, each step one code.

It quantizes features, a vector a step; it is no MAGVIT tokenizer, which quantizes patches of pixels.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.i3d_magvit.params import CompressionParams
from kinetoken.tokenizer.quantizers import Quantizer, build_quantizer


class FeatureQuantizer(nn.Module):
    """features (B, K, C) → (B, K, size), with a way back by which it is known what was lost."""

    def __init__(self, features: int, params: CompressionParams) -> None:
        super().__init__()
        # over clips, not within one: what all clips share, the still room, would be most of what is kept
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.down = nn.Linear(features, params.size)
        self.up = nn.Linear(params.size, features)
        self.quantizer: Quantizer | None = build_quantizer(params.quantizer) if params.quantize else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """→ compressed (B, K, size), and the loss (): reconstruction of the standardised features, and commitment.

        The loss teaches the maps and the codebook and leaves the features alone: else they would be drawn towards what
        is easily reconstructed, which is to be alike in all clips.
        """
        wanted = self._standardised(features)
        narrow, held = self.down(wanted), self.down(wanted.detach())
        loss = narrow.new_zeros(())
        if self.quantizer is not None:
            quantized, _, loss = self.quantizer(rearrange(held, "b k d -> b d k 1 1"))
            held = rearrange(quantized, "b d k 1 1 -> b k d")
            narrow = narrow + (held - narrow).detach()  # straight through
        return narrow, loss + functional.mse_loss(self.up(held), wanted.detach())

    def _standardised(self, features: Tensor) -> Tensor:
        """(B, K, C), each feature of mean 0 and variance 1 over clips and steps."""
        flat: Tensor = self.norm(rearrange(features, "b k c -> (b k) c"))
        return rearrange(flat, "(b k) c -> b k c", k=features.shape[1])

    @torch.no_grad()
    def indices(self, features: Tensor) -> Tensor:
        """(B, K, C) → the code of each step (B, K) int64. Raises ValueError where nothing is quantized."""
        if self.quantizer is None:
            raise ValueError("features are not quantized here")
        image = rearrange(self.down(self._standardised(features)), "b k c -> b c k 1 1")
        codes: Tensor = rearrange(self.quantizer(image)[1], "b k 1 1 -> b k")
        return codes
