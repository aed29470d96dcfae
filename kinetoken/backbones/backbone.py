"""What every backbone gives: normalised pixels, a map of features, and a vector of features a step of time."""

from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional


class Backbone(nn.Module):
    """clips (B, 3, T, H, W), RGB in [0, 1] → features that keep time.

    Step k of K = `steps(T)` is about the frames k T/K … (k + 1) T/K − 1. Its receptive field is wider, and reaches
    into the future unless the backbone is a causal one.
    """

    feature_size: int  # C
    pixels: "PixelNorm"

    def steps(self, frames: int) -> int:
        """T', the number of steps that a clip of so many frames comes out as."""
        raise NotImplementedError

    def feature_map(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, C, T', h, w)."""
        raise NotImplementedError

    def features(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, T', C), the mean of the map over space."""
        return reduce(self.feature_map(clips), "b c t h w -> b t c", "mean")


def averaged_down(pixels: Tensor, side: int) -> Tensor:
    """pixels (B, T, H, H, 3) uint8 → clips (B, 3, T, side, side) in [0, 1]; `side` must divide H."""
    clips = rearrange(pixels, "b t h w c -> b c t h w").float() / 255
    scale = pixels.shape[2] // side
    return functional.avg_pool3d(clips, (1, scale, scale)) if scale > 1 else clips


class PixelNorm(nn.Module):
    """Pixels in [0, 1] less a mean, over a spread, each of three channels; it leaves no keys in a state dict."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None, None], persistent=False)  # (3, 1, 1, 1)
        self.register_buffer("std", torch.tensor(std)[:, None, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → the same shape. Raises ValueError for another shape, or for integers."""
        if clips.ndim != 5 or clips.shape[1] != 3 or 0 in clips.shape:
            raise ValueError(f"clips of shape {tuple(clips.shape)}: expected (B, 3, T, H, W)")
        if not clips.is_floating_point():
            raise ValueError(f"clips of {clips.dtype}: expected floats in [0, 1]; divide bytes by 255")
        return (clips - self.mean) / self.std


def without_head(name: str) -> ValueError:
    """What a call for logits raises where no classification head was built."""
    return ValueError(f"this {name} was built without its classification head; it gives features only")
