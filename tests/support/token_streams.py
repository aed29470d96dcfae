"""Small streams of tokens, the params of a small network, and how it is trained on them."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from kinetoken.gasm_cast.network import GasmCast, smoothed_loss
from kinetoken.gasm_cast.sizes import TokenSizes
from kinetoken.gasm_cast.variants import FusionParams

FULL = FusionParams(
    variant="gasm_cast", layers=3, heads=8, bottleneck=256, graph_width=256, patch_radius=2.0, patch_similar=8,
    segment_radius=1.0, segment_similar=2, maps=8, curves=3, dropout=0.0, label_smoothing=0.1,
    gradient_checkpointing=False,
)
SMALL = dataclasses.replace(
    FULL, heads=2, bottleneck=12, graph_width=8, patch_radius=1.0, patch_similar=2, segment_similar=1, maps=2
)
SMALL_SIZE = TokenSizes(
    classes=3, frames=4, segments=4, semantic_grid=(4, 4), semantic_width=20, motion_grid=(2, 2), motion_width=16
)
SHARED_SEGMENTS = dataclasses.replace(SMALL_SIZE, frames=8)  # two frames in each segment


def small(**changes: Any) -> FusionParams:
    return dataclasses.replace(SMALL, **changes)


def network(sizes: TokenSizes = SMALL_SIZE, seed: int = 0, zeros: bool = False, **changes: Any) -> GasmCast:
    """A small network; unless `zeros`, what starts at zero is drawn at random, as after some training."""
    torch.manual_seed(seed)
    made = GasmCast(sizes, small(**changes))
    if not zeros:
        for p in made.parameters():
            if not p.any():
                torch.nn.init.normal_(p, std=0.3)
    return made.eval()


def tokens(sizes: TokenSizes = SMALL_SIZE, clips: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random semantic and motion tokens."""
    draw = torch.Generator().manual_seed(seed)
    semantic = torch.randn(clips, sizes.frames, sizes.patches, sizes.semantic_width, generator=draw)
    return semantic, torch.randn(clips, sizes.segments, sizes.cells, sizes.motion_width, generator=draw)


def trained(made: GasmCast, semantic: Tensor, motion: Tensor, labels: Tensor, steps: int) -> GasmCast:
    """The network after so many steps of AdamW on random batches."""
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.01, weight_decay=0.0)
    draw = torch.Generator().manual_seed(1)
    made.train()
    for _ in range(steps):
        index = torch.randint(len(labels), (64,), generator=draw)
        loss = smoothed_loss(made(semantic[index], motion[index]), labels[index], made.params.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.eval()


def accuracy(made: GasmCast, semantic: Tensor, motion: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (made(semantic, motion).argmax(1) == labels).double().mean().item()
