"""I3D with a ResNet-50 (Carreira & Zisserman 2017, arXiv:1705.07750), as pytorchvideo's `i3d_r50` has it.

At full size it is that network: the same keys, shapes and outputs, 28.0 M parameters, weights of Kinetics-400.
Reduced or causal it is another one, and its params say so by name.
"""

from torch import Tensor, nn

from kinetoken.backbones.backbone import Backbone, PixelNorm, without_head
from kinetoken.backbones.loading import WeightFormat, fetch_url
from kinetoken.backbones.params import I3dParams
from kinetoken.backbones.resnet3d import (
    KINETICS_CLASSES,
    KINETICS_MEAN,
    KINETICS_STD,
    SPATIAL_STRIDES,
    Depths,
    Head,
    Stage,
    Stem,
    initialise,
    window_mean,
)

TIME_KERNELS = ((3,), (3, 1), (3, 1), (1, 3))  # of each stage's blocks, repeated
HEAD_WINDOW = (4, 7, 7)

I3D_WEIGHTS = WeightFormat(
    architecture="pytorchvideo i3d_r50",
    fetch=fetch_url("https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth"),
    head=("blocks.6.proj.weight", "blocks.6.proj.bias"),
)


class I3D(Backbone):
    """clips (B, 3, T, H, W) in [0, 1] → features (B, T // 2, 32 width).

    T is 2 or more; the last frame of an odd T makes no step of its own.
    """

    def __init__(
        self, width: int = 64, depths: Depths = (3, 4, 6, 3), classes: int | None = KINETICS_CLASSES,
        causal: bool = False,
    ) -> None:
        """width: channels of the stem; depths: blocks of the stages; classes: of the head, None builds without it."""
        super().__init__()
        self.feature_size = 32 * width
        self.pixels = PixelNorm(KINETICS_MEAN, KINETICS_STD)
        leaving = [4 * width * 2**stage for stage in range(4)]
        stages = [
            Stage(depth, entering, out, kernels, stride, causal)
            for depth, entering, out, kernels, stride in zip(
                depths, [width, *leaving[:-1]], leaving, TIME_KERNELS, SPATIAL_STRIDES, strict=True
            )
        ]
        over_time = nn.MaxPool3d((2, 1, 1))
        self.blocks = nn.ModuleList([Stem(width, 5, causal), stages[0], over_time, *stages[1:]])
        self.head = classes is not None
        if classes is not None:
            self.blocks.append(Head(self.feature_size, classes))
        initialise(self)

    def steps(self, frames: int) -> int:
        return frames // 2

    def feature_map(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, 32 width, T // 2, H / 32, W / 32), sizes rounded up."""
        if clips.ndim == 5 and clips.shape[2] < 2:
            raise ValueError("I3D needs two frames or more")
        x: Tensor = self.pixels(clips)
        for block in self.blocks[:6]:
            x = block(x)
        return x

    def forward(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → logits (B, classes). Raises ValueError where no head was built."""
        if not self.head:
            raise without_head("I3D")
        logits: Tensor = self.blocks[6](window_mean(self.feature_map(clips), HEAD_WINDOW))
        return logits


def build_i3d(params: I3dParams) -> I3D:
    """The untrained network; its weights come from torch's global generator."""
    return I3D(params.width, params.depths, KINETICS_CLASSES if params.head else None, params.causal)
