"""Foreground-weighted reconstruction: what moves is a few per cent of the pixels and all of the message."""

import dataclasses

import torch
from torch import Tensor

from kinetoken.params import NonNegativeFloat, PositiveFloat


@dataclasses.dataclass(frozen=True)
class LossParams:
    """Weights of the reconstruction loss; part of section train_tokenizer."""

    foreground: NonNegativeFloat  # added weight of a pixel that differs fully from the background
    saturation: PositiveFloat  # deviation from the background, of full scale, that counts as full
    colour: PositiveFloat  # weight of an error in hue beside one of the same size in brightness


@torch.no_grad()
def foreground_weight(target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """(B, T, H, W, 3) clips in [0, 1] and their background, broadcast → (B, T, H, W), 1 on the background."""
    deviation = (target - background).abs_().mean(-1)
    return deviation.mul_(1 / params.saturation).clamp_(max=1).mul_(params.foreground).add_(1)


def reconstruction_loss(output: Tensor, target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """Weighted mean of the squared error, that in hue counted `colour` times. (B, T, H, W, 3) → ().

    The error is squared and not absolute: where the codes cannot say yet where the ball is, an absolute error is
    least on the bare background and teaches nothing. Hue is weighted up because a ball's hue is a tenth of its
    contrast: left alone, the codes fill with shape first and the hue stays out.
    """
    weight = foreground_weight(target, background, params)
    error = output - target
    square = error.square().mean(-1)  # (B, T, H, W)
    brightness = error.mean(-1).square()
    return (weight * (brightness + params.colour * (square - brightness))).mean() / weight.mean()
