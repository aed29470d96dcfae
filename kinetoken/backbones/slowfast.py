"""SlowFast with two ResNet-50s (Feichtenhofer et al. 2019, arXiv:1812.03982), as pytorchvideo's `slowfast_r50` has it.

The slow pathway sees every alpha-th frame in many channels, the fast one every frame in 1 / beta as many, and hands
what it finds to the slow one after each of four stages. At full size it is that network: the same keys, shapes and
outputs, 34.6 M parameters, weights of Kinetics-400. Reduced or causal it is another one, and its params say so.
"""

import torch
from einops import reduce
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.backbones.backbone import Backbone, PixelNorm, without_head
from kinetoken.backbones.loading import WeightFormat, fetch_url
from kinetoken.backbones.params import SlowFastParams
from kinetoken.backbones.resnet3d import (
    KINETICS_CLASSES,
    KINETICS_MEAN,
    KINETICS_STD,
    SPATIAL_STRIDES,
    Depths,
    Head,
    Stage,
    Stem,
    TimeConv3d,
    initialise,
    window_mean,
)

Pathways = tuple[Tensor, Tensor]  # slow, fast

SLOW_KERNELS, FAST_KERNELS = ((1,), (1,), (3,), (3,)), ((3,), (3,), (3,), (3,))  # over time, of each stage's blocks
FUSION_KERNEL, FUSION_RATIO = 7, 2  # over time; channels out of one channel of the fast pathway
HEAD_WINDOW = (8, 7, 7)  # of the slow pathway; the fast one's is alpha times as long

SLOWFAST_WEIGHTS = WeightFormat(
    architecture="pytorchvideo slowfast_r50",
    fetch=fetch_url("https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"),
    head=("blocks.6.proj.weight", "blocks.6.proj.bias"),
)


class FuseFastToSlow(nn.Module):
    """The fast pathway, brought to the slow one's time by a convolution with stride alpha, and joined to it."""

    def __init__(self, fast: int, alpha: int, causal: bool) -> None:
        super().__init__()
        joined = FUSION_RATIO * fast
        self.conv_fast_to_slow = TimeConv3d(fast, joined, (FUSION_KERNEL, 1, 1), (alpha, 1, 1), causal)
        self.norm = nn.BatchNorm3d(joined)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """slow (B, C, T, h, w), fast (B, F, alpha T, h, w) → (B, C + 2 F, T, h, w)."""
        return torch.cat([slow, functional.relu(self.norm(self.conv_fast_to_slow(fast)))], 1)


class MultiPathway(nn.Module):
    """A block of each pathway, and what the slow one is given of the fast one after it."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: FuseFastToSlow | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, pathways: Pathways) -> Pathways:
        slow, fast = (block(x) for block, x in zip(self.multipathway_blocks, pathways, strict=True))
        return (slow if self.multipathway_fusion is None else self.multipathway_fusion(slow, fast)), fast


class SlowFast(Backbone):
    """clips (B, 3, T, H, W) in [0, 1], or both pathways' frames → features (B, T / alpha, 32 (width + width / beta)).

    T is a multiple of alpha. The reference's own input is 32 frames, 8 of them for the slow pathway.
    """

    def __init__(
        self, width: int = 64, depths: Depths = (3, 4, 6, 3), alpha: int = 4, beta: int = 8,
        classes: int | None = KINETICS_CLASSES, causal: bool = False,
    ) -> None:
        """width: channels of the slow stem; depths: blocks of the stages; classes: of the head, None builds without it.

        Raises ValueError unless beta divides the width.
        """
        super().__init__()
        if width % beta:
            raise ValueError(f"a width of {width} is not divided by beta, {beta}")
        self.alpha, self.causal = alpha, causal
        self.feature_size = 32 * (width + width // beta)
        self.pixels = PixelNorm(KINETICS_MEAN, KINETICS_STD)
        blocks: list[nn.Module] = [
            MultiPathway(
                Stem(width, 1, causal), Stem(width // beta, 5, causal), FuseFastToSlow(width // beta, alpha, causal)
            )
        ]
        entering = width
        for stage, (depth, stride) in enumerate(zip(depths, SPATIAL_STRIDES, strict=True)):
            leaving, fast = 4 * width * 2**stage, entering // beta
            blocks.append(MultiPathway(
                Stage(depth, entering + FUSION_RATIO * fast, leaving, SLOW_KERNELS[stage], stride, causal),
                Stage(depth, fast, leaving // beta, FAST_KERNELS[stage], stride, causal),
                FuseFastToSlow(leaving // beta, alpha, causal) if stage < 3 else None,
            ))
            entering = leaving
        self.blocks = nn.ModuleList(blocks)
        self.head = classes is not None
        if classes is not None:
            self.blocks.extend([nn.Identity(), Head(self.feature_size, classes)])  # the reference pools in block 5
        initialise(self)

    def steps(self, frames: int) -> int:
        return frames // self.alpha

    def pathway_maps(self, clips: Tensor | Pathways) -> Pathways:
        """slow (B, 32 width, T / alpha, h, w) and fast (B, 32 width / beta, T, h, w) of clips or of `two_pathways`."""
        both = two_pathways(clips, self.alpha, self.causal) if isinstance(clips, Tensor) else clips
        slow, fast = (self.pixels(frames) for frames in both)
        if fast.shape[2] != self.alpha * slow.shape[2]:
            raise ValueError(
                f"{slow.shape[2]} slow frames and {fast.shape[2]} fast ones: expected {self.alpha} fast for a slow one"
            )
        for block in self.blocks[:5]:
            slow, fast = block((slow, fast))
        return slow, fast

    def feature_map(self, clips: Tensor | Pathways) -> Tensor:
        """(B, 32 (width + width / beta), T / alpha, h, w): the slow map, then the fast one's mean over alpha frames."""
        slow, fast = self.pathway_maps(clips)
        return torch.cat([slow, reduce(fast, "b c (t alpha) h w -> b c t h w", "mean", alpha=self.alpha)], 1)

    def features(self, clips: Tensor | Pathways) -> Tensor:
        """(B, T / alpha, 32 (width + width / beta)), the mean of the map over space."""
        return reduce(self.feature_map(clips), "b c t h w -> b t c", "mean")

    def forward(self, clips: Tensor | Pathways) -> Tensor:
        """→ logits (B, classes). Raises ValueError where no head was built."""
        if not self.head:
            raise without_head("SlowFast")
        slow, fast = self.pathway_maps(clips)
        frames, *sides = HEAD_WINDOW
        pooled = [window_mean(slow, HEAD_WINDOW), window_mean(fast, (self.alpha * frames, sides[0], sides[1]))]
        logits: Tensor = self.blocks[6](torch.cat(pooled, 1))
        return logits


def two_pathways(clips: Tensor, alpha: int = 4, causal: bool = False) -> Pathways:
    """clips (B, 3, T, H, W) → slow (B, 3, T / alpha, H, W), and the clips themselves as the fast pathway.

    The slow frames are spread from the first frame to the last, as the reference's own (PySlowFast's
    `pack_pathway_output`): of 32 frames 0, 4, 8, 13, 17, 22, 26, 31. Causal, they are the last of each alpha frames,
    whatever comes after. Raises ValueError unless alpha divides T.
    """
    frames = clips.shape[2]
    if frames % alpha or not frames:
        raise ValueError(f"{frames} frames are no multiple of alpha, {alpha}")
    if causal:
        return clips[:, :, alpha - 1 :: alpha], clips
    chosen = torch.linspace(0, frames - 1, frames // alpha, device="cpu").long()
    return clips.index_select(2, chosen.to(clips.device)), clips


def build_slowfast(params: SlowFastParams) -> SlowFast:
    """The untrained network; its weights come from torch's global generator."""
    classes = KINETICS_CLASSES if params.head else None
    return SlowFast(params.width, params.depths, params.alpha, params.beta, classes, params.causal)
