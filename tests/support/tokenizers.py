"""Toy tokenizers of 4 frames of 16 × 16 pixels whose every answer is known, and small autoencoders of real classes."""

from typing import Any

import torch
from torch import Tensor, nn

from kinetoken.examination.adapter import facts_of
from kinetoken.examination.checking import CheckedTokenizer


class Toy:
    """What the toys share: the facts, and a picture in which nothing moves."""

    size, frames, fps, value_range = 16, 4, 4.0, (0.0, 1.0)
    codebook_size: int | None = 2

    def encode(self, video: Tensor) -> Any:
        return (video.mean(1) > 0.5).long()

    def decode(self, indices: Tensor) -> Any:
        return indices[:, None].expand(-1, 3, -1, -1, -1).float()


class Lossless(Toy):
    """Three codebooks, one a colour: each pixel's value itself."""

    codebook_size, layout, quantizer = 256, "B,T,H,W,Q", "product"
    codebook = torch.arange(256.0)[None, :, None].expand(3, -1, -1) / 255

    def encode(self, video: Tensor) -> Tensor:
        return (video * 255).round().to(torch.int32).movedim(1, -1)

    def decode(self, indices: Tensor) -> Tensor:
        return indices.movedim(-1, 1) / 255


class Blocks(Toy):
    """The mean colour of 2 × 4 × 4 pixels in sixteen levels a colour."""

    codebook_size, layout, quantizer = 16, "B,T,H,W,Q", "product"
    codebook = torch.arange(16.0)[None, :, None].expand(3, -1, -1) / 15

    def encode(self, video: Tensor) -> Tensor:
        return (nn.functional.avg_pool3d(video, (2, 4, 4)) * 15).round().long().movedim(1, -1)

    def decode(self, indices: Tensor) -> Tensor:
        return nn.functional.interpolate(indices.movedim(-1, 1) / 15, scale_factor=(2, 4, 4))


class Constant(Toy):
    """Every token of every clip is code 7."""

    codebook_size = 64

    def encode(self, video: Tensor) -> Tensor:
        return torch.full((len(video), 2, 4, 4), 7)

    def decode(self, indices: Tensor) -> Tensor:
        return torch.full((len(indices), 3, 4, 16, 16), 0.25)


class Continuous(Toy):
    """Latents, one a colour and a cell of 2 × 4 × 4 pixels; nothing is quantized."""

    quantized = False

    def encode(self, video: Tensor) -> Tensor:
        return nn.functional.avg_pool3d(video, (2, 4, 4))

    def decode(self, indices: Tensor) -> Tensor:
        return nn.functional.interpolate(indices, scale_factor=(2, 4, 4))


class OverTime(Toy):
    """A pixel's code says whether it is brighter than its mean over the whole clip: not causal."""

    def encode(self, video: Tensor) -> Tensor:
        grey = video.mean(1)
        return (grey > grey.mean(1, keepdim=True)).long()


class OverBatch(Toy):
    """The same against the mean over the batch."""

    def encode(self, video: Tensor) -> Tensor:
        grey = video.mean(1)
        return (grey >= grey.mean(0, keepdim=True)).long()


class Unsteady(Toy):
    """Codes are drawn anew in each call."""

    def encode(self, video: Tensor) -> Tensor:
        return torch.randint(0, 2, (len(video), 4, 16, 16))


def checked(adapter: object) -> CheckedTokenizer:
    return CheckedTokenizer(adapter, facts_of(adapter))


def small_encoder(dim: int) -> nn.Module:
    """(B, 3, T, H, W) → (B, dim, T/2, H/4, W/4)."""
    return nn.Conv3d(3, dim, (2, 4, 4), (2, 4, 4))


def small_decoder(dim: int) -> nn.Module:
    """The way back."""
    return nn.ConvTranspose3d(dim, 3, (2, 4, 4), (2, 4, 4))
