"""The parts of a 3-D bottleneck ResNet, as I3D-R50 and SlowFast-R50 share them.

The names of modules are those of pytorchvideo 0.1.5 (models/resnet.py, stem.py, head.py), so that its checkpoints
load key by key. Each convolution with an extent in time is a `TimeConv3d`, which may be causal.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

Triple = tuple[int, int, int]
Depths = tuple[int, int, int, int]
Streams = list[Tensor]  # of each causal convolution of a network, the frames that its next ones still see

KINETICS_MEAN, KINETICS_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)  # of pixels in [0, 1], both networks
KINETICS_CLASSES = 400
SPATIAL_STRIDES = (1, 2, 2, 2)  # of the four stages


class TimeConv3d(nn.Conv3d):
    """A convolution without bias, padded with zeros so that a stride of 1 keeps the size.

    Causal, all of time's padding is of the past, and only as much as lets output k see up to the last of the
    `stride` frames that it stands for, k stride … (k + 1) stride − 1, and no further.
    """

    def __init__(
        self, entering: int, leaving: int, kernel: Triple, stride: Triple = (1, 1, 1), causal: bool = False
    ) -> None:
        around = (0 if causal else kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(entering, leaving, kernel, stride, around, bias=False)
        self.past = max(kernel[0] - stride[0], 0) if causal else 0  # frames of zeros before the first
        self.before: Tensor | None = None  # of a stream: the last `past` frames that came in
        self.streams = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, entering, T, H, W) → (B, leaving, T', H', W')."""
        if not self.past:
            return super().forward(x)
        if self.before is None:
            padded = functional.pad(x, (0, 0, 0, 0, self.past, 0))
        else:
            padded = torch.cat([self.before, x], 2)
        if self.streams:
            self.before = padded[:, :, -self.past :]
        return super().forward(padded)


@contextmanager
def streaming(network: nn.Module, before: Streams | None) -> Iterator[Streams]:
    """Run a causal network on the next frames of clips that arrive piece by piece.

    `before` is what the call before left, None at the beginning; what this one leaves fills the list that is given.
    A piece has a whole number of the network's strides over time. Raises ValueError for a state of another network.
    """
    convolutions = [m for m in network.modules() if isinstance(m, TimeConv3d) and m.past]
    if before is not None and len(before) != len(convolutions):
        raise ValueError(f"a state of {len(before)} convolutions for a network of {len(convolutions)}")
    left: Streams = []
    earlier: Iterable[Tensor | None] = repeat(None, len(convolutions)) if before is None else before
    for convolution, kept in zip(convolutions, earlier, strict=True):
        convolution.before, convolution.streams = kept, True
    try:
        yield left
        left += [m.before for m in convolutions if m.before is not None]
    finally:
        for convolution in convolutions:
            convolution.before, convolution.streams = None, False


class Stem(nn.Module):
    """(B, 3, T, H, W) → (B, C, T, H/4, W/4): a wide convolution, then a maximum over space."""

    def __init__(self, channels: int, time_kernel: int, causal: bool) -> None:
        super().__init__()
        self.conv = TimeConv3d(3, channels, (time_kernel, 7, 7), (1, 2, 2), causal)
        self.norm = nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

    def forward(self, clips: Tensor) -> Tensor:
        x: Tensor = self.pool(functional.relu(self.norm(self.conv(clips))))
        return x


class Bottleneck(nn.Module):
    """A convolution over time into fewer channels, one over space, one out again; norms between."""

    def __init__(
        self, entering: int, inner: int, leaving: int, time_kernel: int, stride: int, causal: bool
    ) -> None:
        super().__init__()
        self.conv_a = TimeConv3d(entering, inner, (time_kernel, 1, 1), causal=causal)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = TimeConv3d(inner, inner, (1, 3, 3), (1, stride, stride))
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = TimeConv3d(inner, leaving, (1, 1, 1))
        self.norm_c = nn.BatchNorm3d(leaving)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm_a(self.conv_a(x)))
        x = functional.relu(self.norm_b(self.conv_b(x)))
        x = self.norm_c(self.conv_c(x))
        return x


class ResBlock(nn.Module):
    """A bottleneck beside a shortcut, which is a projection where channels or size change."""

    def __init__(
        self, entering: int, inner: int, leaving: int, time_kernel: int, stride: int, causal: bool
    ) -> None:
        super().__init__()
        self.projects = entering != leaving or stride != 1
        if self.projects:
            self.branch1_conv = TimeConv3d(entering, leaving, (1, 1, 1), (1, stride, stride))
            self.branch1_norm = nn.BatchNorm3d(leaving)
        self.branch2 = Bottleneck(entering, inner, leaving, time_kernel, stride, causal)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_norm(self.branch1_conv(x)) if self.projects else x
        return functional.relu(shortcut + self.branch2(x))


class Stage(nn.Module):
    """`depth` blocks; the first enters, and strides over space. `time_kernels` repeat over the blocks."""

    def __init__(
        self, depth: int, entering: int, leaving: int, time_kernels: Sequence[int], stride: int, causal: bool
    ) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResBlock(
                leaving if block else entering, leaving // 4, leaving, time_kernel, 1 if block else stride, causal
            )
            for block, time_kernel in enumerate(islice(cycle(time_kernels), depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.res_blocks:
            x = block(x)
        return x


class Head(nn.Module):
    """pooled features (B, C) → logits (B, classes), through a dropout of one half while training."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.proj = nn.Linear(features, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.proj(functional.dropout(pooled, 0.5, self.training))
        return logits


def window_mean(x: Tensor, window: Triple) -> Tensor:
    """(B, C, T, h, w) → (B, C): means over windows as large as the networks were trained with, then over windows.

    A smaller map has one window.
    """
    size = [min(least, full) for least, full in zip(window, x.shape[2:], strict=True)]
    return functional.avg_pool3d(x, size, stride=1).mean((2, 3, 4))


def initialise(network: nn.Module) -> None:
    """As the reference: He et al. (2015, arXiv:1502.01852) for convolutions; a block's last norm begins at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.norm_c.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
