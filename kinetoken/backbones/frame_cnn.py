"""A small convolutional network that sees each frame by itself: what a network that knows no motion is held against.

It is nobody's published network, and no weights can be loaded into it.
"""

from pathlib import Path

from einops import rearrange
from torch import Tensor, nn

from kinetoken.backbones.backbone import Backbone, PixelNorm
from kinetoken.backbones.loading import WeightFormat
from kinetoken.backbones.params import FrameCnnParams
from kinetoken.backbones.resnet3d import KINETICS_MEAN, KINETICS_STD
from kinetoken.core.errors import UserError


class FrameCnn(Backbone):
    """clips (B, 3, T, H, W) in [0, 1], H and W multiples of 2^layers → features (B, T, width · 2^(layers − 1)).

    No step depends on any other frame, in eval mode; in training the norms' statistics are those of the batch.
    """

    def __init__(self, width: int = 32, layers: int = 4) -> None:
        """width: channels of the first layer; layers: each halves the frame and, after the first, doubles them."""
        super().__init__()
        sizes = [3, *(width * 2**layer for layer in range(layers))]
        self.cells, self.feature_size = 2**layers, sizes[-1]
        self.pixels = PixelNorm(KINETICS_MEAN, KINETICS_STD)
        self.body = nn.Sequential(*(
            nn.Sequential(nn.Conv2d(entering, leaving, 3, 2, 1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU())
            for entering, leaving in zip(sizes[:-1], sizes[1:], strict=True)
        ))
        for convolution in self.body.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    def steps(self, frames: int) -> int:
        return frames

    def feature_map(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, C, T, H / 2^layers, W / 2^layers). Raises ValueError for other sizes."""
        x: Tensor = self.pixels(clips)
        height, width = x.shape[-2:]
        if height % self.cells or width % self.cells:
            raise ValueError(f"frames of {height}×{width} pixels: expected multiples of {self.cells}")
        found: Tensor = self.body(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(found, "(b t) c h w -> b c t h w", b=len(clips))


def _no_weights() -> Path:
    raise UserError("there are no published weights of frame_cnn")


FRAME_CNN_WEIGHTS = WeightFormat(architecture="frame_cnn", fetch=_no_weights, head=())


def build_frame_cnn(params: FrameCnnParams) -> FrameCnn:
    """The untrained network; its weights come from torch's global generator."""
    return FrameCnn(params.width, params.layers)
