"""Four ways to look at a clip, one interface: causal, and incremental with a state carried from call to call.

An extractor turns frames into tokens, one step of time after another: each step stands for `stride` frames, and has
a grid of cells in the image. `tokens` takes whole clips, `step` the next frames of clips that arrive piece by piece;
both give the same.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kinetoken.backbones.resnet3d import Streams, streaming
from kinetoken.core.errors import UserError
from kinetoken.persistence.params import ExtractorParams, MagvitParams, ResNet3dParams, TransformerParams
from kinetoken.tokenizer.network import STRIDE, Past, Tokenizer

State = Any  # what an extractor carries from one step to the next; None before the first

CELL = 8  # px a side of a token's cell, of every extractor
PIXEL_MEAN, PIXEL_SPREAD = 0.3, 0.2  # of pixels in [0, 1], about


class Extractor(nn.Module):
    """clips (B, T, H, W, 3) uint8 → tokens (B, T / stride, cells, channels)."""

    stride: int  # frames in a step
    channels: int  # of a token
    side: int  # cells along a side of the image

    def kept(self, clips: Tensor) -> Tensor:
        """What training keeps of clips (B, T, H, W, 3), before anything that it trains: (B, T / n, ...)."""
        return clips

    def frames_kept(self) -> int:
        """n, the frames of one entry of `kept`."""
        return 1

    def tokens(self, kept: Tensor) -> Tensor:
        """What was kept, (B, T / n, ...) → (B, T / stride, cells, channels)."""
        raise NotImplementedError

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The next `stride` frames (B, stride, H, W, 3) → (B, cells, channels), and the state for the next call."""
        raise NotImplementedError


class TransformerExtractor(Extractor):
    """A vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) on each frame's 8×8 patches.

    Patches are embedded by three convolutions (Xiao et al. 2021, arXiv:2106.14881). Time is the head's.
    """

    stride = 1

    def __init__(self, params: TransformerParams, image_size: int) -> None:
        super().__init__()
        self.channels, self.side = params.channels, image_size // CELL
        c = params.channels
        self.embed = nn.Sequential(
            nn.Conv2d(3, c // 4, 4, 2, 1), nn.GELU(), nn.Conv2d(c // 4, c // 2, 4, 2, 1), nn.GELU(),
            nn.Conv2d(c // 2, c, 4, 2, 1),
        )
        self.place = nn.Parameter(0.02 * torch.randn(self.side**2, c))
        self.blocks = nn.Sequential(*(
            nn.TransformerEncoderLayer(c, params.heads, 2 * c, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(params.blocks)
        ))
        self.norm = nn.LayerNorm(c)

    def tokens(self, kept: Tensor) -> Tensor:
        b = len(kept)
        frames = rearrange(kept, "b t h w c -> (b t) c h w").float() / 255
        patches = self.embed((frames - PIXEL_MEAN) / PIXEL_SPREAD).flatten(2).transpose(1, 2)
        tokens: Tensor = self.norm(self.blocks(patches + self.place))
        return rearrange(tokens, "(b t) n c -> b t n c", b=b)

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        return self.tokens(frames)[:, 0], None


class MagvitExtractor(Extractor):
    """What the frozen tokenizer's decoder makes of the codes before it paints, and convolutions over each slice.

    The tokenizer is no part of the weights; it is given.
    """

    stride = STRIDE[0]

    def __init__(self, params: MagvitParams, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.channels, self.side = params.channels, tokenizer.image_size // STRIDE[1]
        self._tokenizer = [tokenizer]  # in a list, so that it does not count as a part
        c, coarse = params.channels, tokenizer.shape.coarse_channels
        self.enter = nn.Sequential(nn.LayerNorm(coarse), nn.Linear(coarse, c))
        self.place = nn.Parameter(0.02 * torch.randn(c, self.side, self.side))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, c), nn.Conv2d(c, c, 3, 1, 1), nn.GELU(), nn.Conv2d(c, c, 1))
            for _ in range(params.blocks)
        )
        self.norm = nn.LayerNorm(c)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer[0]

    def frames_kept(self) -> int:
        return self.stride

    def kept(self, clips: Tensor) -> Tensor:
        """clips (B, T, H, W, 3) → (B, T / 4, H', W', coarse)."""
        return self.kept_of_codes(self.tokenizer.encode(clips))

    def kept_of_codes(self, codes: Tensor) -> Tensor:
        """codes (B, T / 4, H', W') → (B, T / 4, H', W', coarse)."""
        return self.tokenizer.code_features(codes)

    def tokens(self, kept: Tensor) -> Tensor:
        b = len(kept)
        x = rearrange(self.enter(kept.float()), "b t h w c -> (b t) c h w") + self.place
        for block in self.blocks:
            x = x + block(x)
        tokens: Tensor = self.norm(rearrange(x, "(b t) c h w -> b t (h w) c", b=b))
        return tokens

    def step(self, frames: Tensor, state: Past | None) -> tuple[Tensor, Past]:
        _, features, state = self.tokenizer.step(frames, state)
        return self.tokens(features)[:, 0], state


class ResNet3dExtractor(Extractor):
    """The first two stages of a causal I3D or SlowFast, as `kinetoken/backbones` has them: a map of 8×8 px cells.

    Causal they are not the published networks, and no published weights fit them.
    """

    def __init__(self, params: ResNet3dParams, name: str, image_size: int) -> None:
        super().__init__()
        self.side = image_size // CELL
        if name == "i3d_causal":
            from kinetoken.backbones.i3d import I3D

            self.network: Any = I3D(params.width, params.depths, classes=None, causal=True)
            self.stride, stages = 2, 4
        else:
            from kinetoken.backbones.slowfast import SlowFast

            self.network = SlowFast(params.width, params.depths, classes=None, causal=True)
            self.stride, stages = self.network.alpha, 3
        self.network.blocks = self.network.blocks[:stages]  # the rest would not be used
        with torch.no_grad():  # in eval mode, so that no norm learns from it
            leaving = self.network.eval().feature_map(torch.zeros(1, 3, self.stride, CELL, CELL)).shape[1]
        self.network.train()
        self.channels = params.channels
        self.leave = nn.Sequential(nn.Linear(leaving, params.channels), nn.LayerNorm(params.channels))

    def tokens(self, kept: Tensor) -> Tensor:
        clips = rearrange(kept, "b t h w c -> b c t h w").float() / 255
        tokens: Tensor = self.leave(rearrange(self.network.feature_map(clips), "b c t h w -> b t (h w) c"))
        return tokens

    def step(self, frames: Tensor, state: Streams | None) -> tuple[Tensor, Streams]:
        with streaming(self.network, state) as left:
            tokens = self.tokens(frames)[:, 0]
        return tokens, left


def build_extractor(name: str, params: ExtractorParams, image_size: int, tokenizer: Tokenizer | None) -> Extractor:
    """The untrained extractor, its weights from torch's global generator.

    UserError for images that are not cut into 8×8 px cells, or `magvit` without a tokenizer.
    """
    if image_size % CELL:
        raise UserError(f"clips of {image_size}×{image_size} px: the extractors need a multiple of {CELL}")
    if isinstance(params, TransformerParams):
        return TransformerExtractor(params, image_size)
    if isinstance(params, ResNet3dParams):
        return ResNet3dExtractor(params, name, image_size)
    if tokenizer is None or not isinstance(params, MagvitParams):
        raise UserError("extractor magvit reads a tokenizer's codes, and none was given")
    return MagvitExtractor(params, tokenizer)
