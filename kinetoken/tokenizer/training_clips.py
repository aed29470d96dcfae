"""Training clips: batches from the store and the variety drawn into them.

Clips met later hold things the tokenizer was not trained on (clutter, other balls, noise), so some of that
is drawn into a share of the training clips. All draws come from torch's generator, which the loop seeds by
(seed, epoch): a resumed run draws the same.
"""

import dataclasses

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from kinetoken.clips import Pixels
from kinetoken.params import Fraction, NonNegativeFloat
from kinetoken.tokenizer.losses import LossParams, reconstruction_loss
from kinetoken.training import Batch, Step

SHAPES = 3  # at most, in a clip that gets some
SHAPE_REACH = (1.5, 4.0)  # px, half the side or the radius
SHAPE_SPEED = 1.5  # px a frame, at most; half of the shapes stand still
PRESENT = 0.02  # deviation from the background, of full scale, above which another clip's pixel is its ball


@dataclasses.dataclass(frozen=True)
class AugmentationParams:
    """Shares of training clips that get each kind of variety; part of section train_tokenizer."""

    other_ball: Fraction  # the ball and shadow of another clip of the batch
    shapes: Fraction  # small squares and discs, still or moving
    background: Fraction  # another brightness and a soft texture
    noise: Fraction  # Gaussian noise, in the input only
    brightness: NonNegativeFloat  # background's gain: 1 ± this
    texture: NonNegativeFloat  # standard deviation of the texture, of full scale
    noise_std: NonNegativeFloat  # greatest standard deviation of the noise, of full scale


class ClipBatches:
    """Batches of uint8 clips {"clips": (B, T, H, W, 3)} from pixels in memory."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = torch.from_numpy(pixels)

    def __len__(self) -> int:
        return len(self._pixels)

    def gather(self, indices: np.ndarray) -> Batch:
        return {"clips": self._pixels[torch.from_numpy(indices)]}


def static_background(pixels: Pixels, sample: int = 64) -> Tensor:
    """(H, W, 3) in [0, 1]: the median over frames of `sample` clips spread over (N, T, H, W, 3) uint8."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, sample).astype(np.int64))
    frames = rearrange(pixels[rows], "n t h w c -> (n t) h w c")
    return torch.from_numpy(np.median(frames, axis=0).astype(np.float32) / 255)


def training_step(background: Tensor, loss: LossParams, augmentation: AugmentationParams) -> Step:
    """The step for `training.fit`: vary a batch, reconstruct it, compare with the noiseless target."""

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        clips = batch["clips"].float() / 255
        given, target, behind = vary(clips, background.to(clips.device), augmentation)
        output, quantizer_loss = module(given)
        reconstruction = reconstruction_loss(output, target, behind, loss)
        parts = {"reconstruction": reconstruction, "quantizer": quantizer_loss}
        return reconstruction + loss.quantizer * quantizer_loss, parts

    return step


def vary(clips: Tensor, background: Tensor, params: AugmentationParams) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (B, T, H, W, 3) in [0, 1], background (H, W, 3) → input, target, each clip's own background.

    The background comes as (B, 1, H, W, 3); the target is the input without noise.
    """
    target = clips
    if params.other_ball > 0:
        target = _with_other_ball(target, background, params.other_ball)
    behind = repeat(background, "h w c -> b 1 h w c", b=len(clips))
    if params.background > 0:
        change = _background_change(behind, params)
        target, behind = (target + change).clamp(0, 1), (behind + change).clamp(0, 1)
    if params.shapes > 0:
        target = _with_shapes(target, params.shapes)
    if params.noise == 0:
        return target, target, behind
    strength = params.noise_std * torch.rand(len(clips), 1, 1, 1, 1, device=clips.device)
    chosen = _chosen(len(clips), params.noise, clips.device)
    return torch.where(chosen, target + strength * torch.randn_like(target), target).clamp(0, 1), target, behind


def _chosen(count: int, share: float, device: torch.device) -> Tensor:
    """(B, 1, 1, 1, 1) bool, true for about that share."""
    return torch.rand(count, 1, 1, 1, 1, device=device) < share


def _with_other_ball(clips: Tensor, background: Tensor, share: float) -> Tensor:
    others = clips.roll(1, 0)
    present = (others - background).abs().amax(-1, keepdim=True) > PRESENT
    return torch.where(present & _chosen(len(clips), share, clips.device), others, clips)


def _background_change(behind: Tensor, params: AugmentationParams) -> Tensor:
    """(B, 1, H, W, 3) to be added; zero for the clips that keep their background."""
    count, _, height, width, _ = behind.shape
    gain = params.brightness * (2 * torch.rand(count, 1, 1, 1, 1, device=behind.device) - 1)
    coarse = params.texture * torch.randn(count, 3, 8, 8, device=behind.device)
    texture = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    change = behind * gain + rearrange(texture, "b c h w -> b 1 h w c")
    return change * _chosen(count, params.background, behind.device)


def _with_shapes(clips: Tensor, share: float) -> Tensor:
    """Up to `SHAPES` squares or discs of one colour each, on straight paths, in about that share of the clips."""
    count, frames, height, width, _ = clips.shape
    device = clips.device
    draws = torch.rand(SHAPES, count, 9, device=device)
    chosen = _chosen(count, share, device)
    times = torch.arange(frames, device=device) - (frames - 1) / 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    for draw in draws:  # (B, 9)
        moving = (draw[:, 4] < 0.5).float() * SHAPE_SPEED
        u = draw[:, :1] * width + (moving * (2 * draw[:, 2] - 1))[:, None] * times  # (B, T)
        v = draw[:, 1:2] * height + (moving * (2 * draw[:, 3] - 1))[:, None] * times
        reach = (SHAPE_REACH[0] + (SHAPE_REACH[1] - SHAPE_REACH[0]) * draw[:, 5])[:, None, None, None]
        across, down = columns - u[..., None], rows - v[..., None]  # (B, T, W), (B, T, H)
        square = torch.maximum(down.abs()[..., :, None], across.abs()[..., None, :])
        disc = (down.square()[..., :, None] + across.square()[..., None, :]).sqrt()
        distance = torch.where((draw[:, 6] < 0.5)[:, None, None, None], square, disc)  # (B, T, H, W)
        # the smallest draw decides how many shapes a chosen clip has
        here = chosen & (draw[:, 7] < 0.6)[:, None, None, None, None]
        coverage = ((reach - distance + 0.5).clamp(0, 1))[..., None] * here
        colour = torch.stack([draw[:, 8], draw[:, 6] * 2 % 1, draw[:, 5]], -1)[:, None, None, None]
        clips = clips + coverage * (colour - clips)
    return clips
