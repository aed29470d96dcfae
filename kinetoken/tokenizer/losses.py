"""Foreground-weighted reconstruction: what moves is a few per cent of the pixels and all of the message."""

import dataclasses

import torch
from torch import Tensor

from kinetoken.params import NonNegativeFloat, PositiveFloat

CHARBONNIER = 0.01  # where the error turns from squared to absolute, of full scale


@dataclasses.dataclass(frozen=True)
class LossParams:
    """Weights of the reconstruction loss; part of section train_tokenizer."""

    foreground: NonNegativeFloat  # added weight of a pixel that differs fully from the background
    saturation: PositiveFloat  # deviation from the background, of full scale, that counts as full
    squared: NonNegativeFloat  # weight of the squared error, beside the absolute one's 1
    quantizer: NonNegativeFloat  # weight of the quantizer's own loss


def foreground_weight(target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """(B, T, H, W, 3) clips in [0, 1] and their background, broadcast → (B, T, H, W, 1), 1 on the background."""
    deviation = (target - background).abs().mean(-1, keepdim=True)
    return 1 + params.foreground * (deviation / params.saturation).clamp(max=1)


def reconstruction_loss(output: Tensor, target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """Weighted mean of a Charbonnier and a squared error. (B, T, H, W, 3) each → ().

    Charbonnier et al. (1994), Two deterministic half-quadratic regularization algorithms. The weights are
    those of the target and of the output's own deviation, so that a ball painted where there is none costs
    as much as a ball left out.
    """
    weight = torch.maximum(
        foreground_weight(target, background, params), foreground_weight(output.detach(), background, params)
    )
    square = (output - target) ** 2
    error = (square + CHARBONNIER**2).sqrt() - CHARBONNIER + params.squared * square
    return (weight * error).mean() / weight.mean()
