"""Foreground-weighted reconstruction: what moves is a few per cent of the pixels and all of the message."""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from kinetoken.params import NonNegativeFloat, PositiveFloat


@dataclasses.dataclass(frozen=True)
class LossParams:
    """Weights of the reconstruction loss; part of section train_tokenizer."""

    foreground: NonNegativeFloat  # added weight of a pixel that differs fully from the background
    saturation: PositiveFloat  # deviation from the background, of full scale, that counts as full
    turn: PositiveFloat  # error, of full scale, above which it counts absolutely and not squared
    quantizer: NonNegativeFloat  # weight of the quantizer's own loss


@torch.no_grad()
def foreground_weight(target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """(B, T, H, W, 3) clips in [0, 1] and their background, broadcast → (B, T, H, W, 1), 1 on the background."""
    deviation = (target - background).abs_().mean(-1, keepdim=True)
    return deviation.mul_(1 / params.saturation).clamp_(max=1).mul_(params.foreground).add_(1)


def reconstruction_loss(output: Tensor, target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """Weighted mean of the Huber error over its turn, so that it reads like an absolute error. (B, T, H, W, 3) → ().

    Huber (1964), Robust estimation of a location parameter.
    """
    weight = foreground_weight(target, background, params)
    error = F.huber_loss(output, target, reduction="none", delta=params.turn)
    return (weight * error).mean() / (weight.mean() * params.turn)
