"""R3D-18 (Tran et al. 2018, arXiv:1711.11248): torchvision's network, with time kept in its last two stages.

The published network takes 16 frames to 2 steps; without the strides over time in `layer3` and `layer4`, which hold
no weights, the same weights give 8. Whether features at those steps are as good as the published ones at theirs is
for whoever reads them to measure.
"""

from einops import reduce
from torch import Tensor, nn
from torchvision.models.video import R3D_18_Weights
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple, VideoResNet

from kinetoken.backbones.backbone import Backbone, PixelNorm, without_head
from kinetoken.backbones.loading import WeightFormat, fetch_url
from kinetoken.backbones.params import R3dParams
from kinetoken.backbones.resnet3d import KINETICS_CLASSES, Depths

PUBLISHED = R3D_18_Weights.KINETICS400_V1
PUBLISHED_WIDTH = 64  # the parent's, of its stem

R3D_WEIGHTS = WeightFormat(
    architecture="torchvision r3d_18", fetch=fetch_url(PUBLISHED.url), head=("fc.weight", "fc.bias")
)


class KeepsTime(Conv3DSimple):
    """The library's 3×3×3 convolution, whose stride is over space alone."""

    def __init__(
        self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__(in_planes, out_planes, midplanes, stride, padding)
        self.stride = self.get_downsample_stride(stride)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        return 1, stride, stride


class R3D(Backbone, VideoResNet):
    """clips (B, 3, T, H, W) in [0, 1] → features (B, T / 2, 8 width), an odd T rounded up."""

    stem: nn.Sequential
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self, width: int = PUBLISHED_WIDTH, depths: Depths = (2, 2, 2, 2), classes: int | None = KINETICS_CLASSES
    ) -> None:
        """width: channels of the stem; depths: blocks of the stages; classes: of the head, None builds without it."""
        self.width = width  # the parent's __init__ calls _make_layer
        makers = [Conv3DSimple, Conv3DSimple, KeepsTime, KeepsTime]
        super().__init__(BasicBlock, makers, list(depths), lambda: _stem(width), classes or 1)
        self.feature_size = 8 * width
        self.head = classes is not None
        self.fc = nn.Identity() if classes is None else _linear(self.feature_size, classes)
        constants = PUBLISHED.transforms()
        self.pixels = PixelNorm(constants.mean, constants.std)

    def _make_layer(
        self, block: type[BasicBlock], conv_builder: type[Conv3DSimple], planes: int, blocks: int, stride: int = 1
    ) -> nn.Sequential:
        """The parent's, of channels in proportion to the width."""
        if stride == 1:
            self.inplanes = self.width  # the first stage follows the stem
        layer: nn.Sequential = super()._make_layer(
            block, conv_builder, planes // PUBLISHED_WIDTH * self.width, blocks, stride
        )
        return layer

    def steps(self, frames: int) -> int:
        return (frames + 1) // 2

    def feature_map(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, 8 width, T / 2, H / 16, W / 16), sizes rounded up."""
        x: Tensor = self.stem(self.pixels(clips))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x

    def forward(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → logits (B, classes). Raises ValueError where no head was built."""
        if not self.head:
            raise without_head("R3D")
        logits: Tensor = self.fc(reduce(self.feature_map(clips), "b c t h w -> b c", "mean"))
        return logits


def _stem(width: int) -> nn.Sequential:
    """The library's BasicStem, of any width."""
    conv = nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True))


def _linear(features: int, classes: int) -> nn.Linear:
    linear = nn.Linear(features, classes)
    nn.init.normal_(linear.weight, 0, 0.01)  # as the parent draws it
    nn.init.zeros_(linear.bias)
    return linear


def build_r3d(params: R3dParams) -> R3D:
    """The untrained network; its weights come from torch's global generator."""
    return R3D(params.width, params.depths, KINETICS_CLASSES if params.head else None)
