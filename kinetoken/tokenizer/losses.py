"""What the tokenizer is trained by: foreground-weighted reconstruction, and a contrast between views of a clip.

What moves is a few per cent of the pixels and all of the message, so it weighs more than the background.
"""

import dataclasses
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from kinetoken.core.params import NonNegative, NonNegativeFloat, PositiveFloat

CONTRAST_TEMPERATURE = 0.1


@dataclasses.dataclass(frozen=True)
class LossParams:
    """Weights of the reconstruction loss; part of section train_tokenizer."""

    foreground: NonNegativeFloat  # added weight of a pixel that differs fully from the background
    saturation: PositiveFloat  # deviation from the background, of full scale, that counts as full
    margin: NonNegative  # px around what differs that weigh as much: else a ball painted too large costs little
    colour: PositiveFloat  # weight of an error in hue beside one of the same size in brightness


@torch.no_grad()
def foreground_weight(target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """(B, T, H, W, 3) clips in [0, 1] and their background, broadcast → (B, T, H, W), 1 on the background."""
    deviation = (target - background).abs_().mean(-1)
    if params.margin:
        deviation = _dilated(deviation, params.margin)
    return deviation.mul_(1 / params.saturation).clamp_(max=1).mul_(params.foreground).add_(1)


def _dilated(image: Tensor, margin: int) -> Tensor:
    """(B, T, H, W), the greatest value within `margin` pixels up, down, left and right (a square)."""
    for dim in (2, 3):
        size, widest = image.shape[dim], image.clone()
        for shift in range(1, min(margin, size - 1) + 1):
            for near, far in ((shift, 0), (0, shift)):
                kept = widest.narrow(dim, near, size - shift)
                torch.maximum(kept, image.narrow(dim, far, size - shift), out=kept)
        image = widest
    return image


def reconstruction_loss(output: Tensor, target: Tensor, background: Tensor, params: LossParams) -> Tensor:
    """Weighted mean of the squared error, that in hue counted `colour` times. (B, T, H, W, 3) → ().

    The error is squared and not absolute: where the codes cannot say yet where the ball is, an absolute error is
    least on the bare background and teaches nothing. Hue is weighted up because a ball's hue is a tenth of its
    contrast: left alone, the codes fill with shape first and the hue stays out.
    """
    weight = foreground_weight(target, background, params)
    loss: Tensor = _WeightedError.apply(output, target, weight / weight.sum(), params.colour)
    return loss


class _WeightedError(torch.autograd.Function):
    """Σ w·(b² + c·(s − b²)) of errors with mean b and mean square s over colours, and its gradient in one go.

    Written out, because the passes over memory of the automatic gradient take as long as the network does.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, target: Tensor, weight: Tensor, colour: float) -> Tensor:  # noqa: ANN401
        error = output - target
        brightness = error.mean(-1)
        square = torch.linalg.vecdot(error, error).mul_(colour / 3)
        square.addcmul_(brightness, brightness, value=1 - colour)
        weight = weight.to(error.dtype)
        loss = torch.vdot(weight.flatten(), square.flatten())
        if ctx.needs_input_grad[0]:
            hue_and_brightness = error.mul_(colour).add_(brightness.mul_(1 - colour).unsqueeze(-1))
            ctx.save_for_backward(hue_and_brightness.mul_((weight * (2 / 3)).unsqueeze(-1)))
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None


def contrastive_loss(latents: Tensor, others: Tensor) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, arXiv:1807.03748), both ways round as in SimCLR (arXiv:2002.05709).

    Latents (B, D, T, H, W) of two views → (). A time slice, all its places kept, must be told from every other
    slice of the batch by its other view. What all slices share (the background) is taken off first: it would
    make all of them alike.
    """
    left, right = _directions(latents), _directions(others)
    similarity = left @ right.T / CONTRAST_TEMPERATURE  # (B T, B T)
    same = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)) / 2


def _directions(latents: Tensor) -> Tensor:
    """(B, D, T, H, W) → (B T, D H W) of unit length, mean taken off."""
    slices = rearrange(latents.float(), "b d t h w -> (b t) (d h w)")
    return F.normalize(slices - slices.mean(0), dim=-1)
