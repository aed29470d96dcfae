"""DINOv3 ViT-B/16 (Siméoni et al. 2025, arXiv:2508.10104): timm's `vit_base_patch16_dinov3`, frame by frame.

Of its tokens the class and register tokens are stripped; what is left lies on a grid of 16×16-pixel patches. Files in
timm's layout load, and those in Meta's own, which differ in names and in what timm computes or leaves out.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from einops import rearrange
from torch import Tensor

from kinetoken.backbones.backbone import Backbone, PixelNorm
from kinetoken.backbones.loading import State, WeightFormat
from kinetoken.backbones.params import PATCH, Dinov3Params
from kinetoken.core.errors import UserError

VARIANT = "vit_base_patch16_dinov3"
TRAINED_ON = "lvd1689m"
META_NAMES = {"storage_tokens": "reg_token", "ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}
META_LEFT_OUT = ("mask_token", "rope_embed.periods", "attn.qkv.bias", "attn.qkv.bias_mask")  # ends of keys
ZERO_BIAS = 1e-6  # over this a bias does something


class Dinov3(Backbone):
    """clips (B, 3, T, H, W) in [0, 1], H and W multiples of 16 → features (B, T, width), each frame by itself."""

    vit: Any  # timm's Eva

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, image_size: int = 224) -> None:
        """width: channels of a token; depth: blocks; image_size: side in pixels, which other sizes may follow."""
        super().__init__()
        self.vit = timm.create_model(
            VARIANT, pretrained=False, num_classes=0, img_size=image_size, embed_dim=width, depth=depth, num_heads=heads
        )
        self.feature_size = width
        constants = self.vit.pretrained_cfg
        self.pixels = PixelNorm(constants["mean"], constants["std"])

    def steps(self, frames: int) -> int:
        return frames

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches in a frame of so many pixels. Raises ValueError for parts of a patch."""
        if height % PATCH or width % PATCH or not height or not width:
            raise ValueError(f"frames of {height}×{width} pixels: expected multiples of {PATCH}")
        return height // PATCH, width // PATCH

    def tokens(self, frames: Tensor) -> Tensor:
        """frames (B, T, 3, H, W) → patch tokens (B, T, P, width), P = rows × columns of `grid(H, W)`, row by row."""
        clips = self.pixels(rearrange(frames, "b t c h w -> b c t h w"))
        self.grid(*clips.shape[-2:])
        images = rearrange(clips, "b c t h w -> (b t) c h w")
        every: Tensor = self.vit.forward_features(images)  # (B T, prefix + P, width)
        return rearrange(every[:, self.vit.num_prefix_tokens :], "(b t) p c -> b t p c", b=len(frames))

    def feature_map(self, clips: Tensor) -> Tensor:
        """clips (B, 3, T, H, W) → (B, width, T, H / 16, W / 16)."""
        rows, _ = self.grid(*clips.shape[-2:])
        tokens = self.tokens(rearrange(clips, "b c t h w -> b t c h w"))
        return rearrange(tokens, "b t (h w) c -> b c t h w", h=rows)


def from_meta(state: State) -> tuple[State, tuple[str, ...]]:
    """A state dict in Meta's layout in timm's, and the keys left out of it; one in timm's layout as it is.

    Left out are the mask token of pre-training, the rotary periods, which timm computes, and the biases of queries,
    keys and values with their masks: those are zero in the published weights. Raises UserError if they are not.
    """
    if "storage_tokens" not in state:
        return state, ()
    left_out = tuple(key for key in state if key.endswith(META_LEFT_OUT))
    for key in left_out:
        if key.endswith("qkv.bias"):
            queries, _, values = state[key].chunk(3)  # the keys' are masked
            if torch.cat([queries, values]).abs().max() > ZERO_BIAS:
                raise UserError(f"{key} is not zero: {VARIANT} has no biases there")
    kept = {key: tensor for key, tensor in state.items() if key not in left_out}
    for theirs, ours in META_NAMES.items():
        kept = {key.replace(theirs, ours): tensor for key, tensor in kept.items()}
    return kept, left_out


def _fetch() -> Path:
    from huggingface_hub import hf_hub_download  # what timm downloads with

    published: Any = timm.get_pretrained_cfg(f"{VARIANT}.{TRAINED_ON}")
    return Path(hf_hub_download(published.hf_hub_id, "model.safetensors"))


DINOV3_WEIGHTS = WeightFormat(
    architecture="timm DINOv3", fetch=_fetch, part="vit", head=("head.weight", "head.bias"), convert=from_meta
)


def build_dinov3(params: Dinov3Params) -> Dinov3:
    """The untrained network; its weights come from torch's global generator."""
    return Dinov3(params.width, params.depth, params.heads, params.image_size)
