"""From the pixels of a clip to the tokens of each stream: what it shows, frame by frame, and how it moves."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from kinetoken.actions.sampling import even_places
from kinetoken.backbones.backbone import averaged_down
from kinetoken.backbones.build import build_backbone
from kinetoken.backbones.loading import LoadReport
from kinetoken.backbones.params import Dinov3Params, R3dParams
from kinetoken.gasm_cast.network import motion_tokens


class TokenStream(nn.Module):
    """pixels (B, T, H, W, 3) uint8 → tokens; a frozen one keeps its weights and its norms' statistics."""

    loaded: LoadReport

    def __init__(self, image_size: int, *, frozen: bool) -> None:
        super().__init__()
        self.image_size, self.frozen = image_size, frozen

    def freeze(self) -> None:
        """No gradients for a frozen one; to be called when its backbone is there."""
        if self.frozen:
            self.requires_grad_(False)

    def train(self, mode: bool = True) -> "TokenStream":
        """As every module, but a frozen one stays in eval mode."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.tokens(pixels)

    def tokens(self, pixels: Tensor) -> Tensor:
        """pixels (B, T, H, W, 3) uint8 → tokens (B, steps, places, width)."""
        raise NotImplementedError

    def fitted(self, pixels: Tensor) -> Tensor:
        """pixels (B, T, H, W, 3) uint8 → clips (B, 3, T, h, w) in [0, 1], averaged down to the backbone's size."""
        return averaged_down(pixels, self.image_size).to(next(self.parameters()).dtype)


class SemanticStream(TokenStream):
    """DINOv3 on every second frame or so: (B, T, H, W, 3) → (B, `frames`, P, width)."""

    def __init__(self, params: Dinov3Params, frames: int, *, frozen: bool) -> None:
        """`frames`: T, of the clips that come in."""
        super().__init__(params.image_size, frozen=frozen)
        self.chosen = chosen_frames(frames, params.frames)
        self.backbone, self.loaded = build_backbone(params)
        if not self.loaded.trained:
            open_blocks(self.backbone)
        self.freeze()

    def tokens(self, pixels: Tensor) -> Tensor:
        # all frames as one clip, so that torch.export leaves the number of clips open
        images = rearrange(self.fitted(pixels[:, self.chosen]), "b c t h w -> 1 (b t) c h w")
        tokens: Tensor = self.backbone.tokens(images)  # type: ignore[operator]
        return rearrange(tokens, "1 (b t) p c -> b t p c", t=len(self.chosen))


class MotionStream(TokenStream):
    """R3D-18 on all frames: (B, T, H, W, 3) → (B, T / 2, M, width)."""

    def __init__(self, params: R3dParams, *, frozen: bool) -> None:
        super().__init__(params.image_size, frozen=frozen)
        self.backbone, self.loaded = build_backbone(params)
        self.freeze()

    def tokens(self, pixels: Tensor) -> Tensor:
        return motion_tokens(self.backbone.feature_map(self.fitted(pixels)))


def open_blocks(vit: nn.Module) -> None:
    """Let what each block adds count in full. DINOv3 begins with a 100,000th of it (LayerScale, Touvron et al. 2021,
    arXiv:2103.17239), which suits a deep network and a long training; a short one would end before blocks did anything.
    """
    for name, scale in vit.named_parameters():
        if name.endswith(("gamma_1", "gamma_2")):
            nn.init.ones_(scale)


def chosen_frames(frames: int, chosen: int) -> Sequence[int]:
    """Which of `frames` are looked at: one of each of `chosen` equal parts, the one nearest the part's middle.

    Of two in the middle the one nearer the clip's: 1, 3, 5, 7, 8, 10, 12, 14 of 16. A clip played backwards is then
    seen in the same frames; with every second one, an average over frames would tell which end came first.
    """
    return [int(place) for place in even_places(frames, chosen, 1)[0]]
