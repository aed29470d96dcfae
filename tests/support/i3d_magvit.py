"""A tiny I3D + MAGVIT network for tests, and clips with the codes of an untrained tokenizer."""

import dataclasses
from typing import Any

import torch

from kinetoken.backbones.params import I3dParams, SlowFastParams
from kinetoken.core.stage import CPU, Context
from kinetoken.heads.position import PositionHead
from kinetoken.i3d_magvit.network import I3DMagvit, I3DMagvitShape
from kinetoken.i3d_magvit.params import CompressionParams, ForecastParams, I3DMagvitParams, TemporalParams, WeightParams
from kinetoken.i3d_magvit.training import ClipSet
from kinetoken.scenes.camera import Camera
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.quantizers import build_quantizer
from tests.support.quantizers import FSQ

QUIET = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
CLASSES = ("circular", "helical", "linear", "parabolic")
I3D = I3dParams(
    name="i3d", image_size=16, frames=16, pretrained=False, checkpoint=None, width=2, depths=(1, 1, 1, 1), head=False,
)
SLOWFAST = SlowFastParams(
    name="slowfast", image_size=16, frames=16, pretrained=False, checkpoint=None, width=4, depths=(1, 1, 1, 1), alpha=4,
    beta=2, head=False,
)
COMPRESSION = CompressionParams(
    size=8, quantize=True, kind="vq", codebook_size=16, commitment=0.25, decay=0.9, kmeans_start=True,
    dead_code_threshold=0.5,
)
PARAMS = I3DMagvitParams(
    seed=1, epochs=2, batch_size=16, learning_rate=0.004, warmup_fraction=0.05, weight_decay=0.02, gradient_clip=1.0,
    ema_decay=0.0, patience=0, muon_learning_rate=0.02, backbone=I3D, frozen=False, video_share=0.5,
    compression=COMPRESSION, tokens=True, drawn=12, copies=2,
    temporal=TemporalParams(kind="transformer", width=16, layers=1, heads=2), embedding=24, hidden=16, dropout=0.1,
    forecast=ForecastParams(past_slices=3, filters=4, width=16),
    weights=WeightParams(place=0.3, forecast=0.3, depth=30.0, tokens=0.3, compression=0.2), frames_scored=6,
)
SHAPE = I3DMagvitShape(
    classes=CLASSES, frames=16, image_size=32, grid=(4, 4, 4), levels=(8, 5, 5, 5), codebook_size=1000, coordinates=4
)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "unquantized": {"compression": dataclasses.replace(COMPRESSION, quantize=False)},
    "simvq": {"compression": dataclasses.replace(COMPRESSION, kind="simvq")},
    "no_tokens": {"tokens": False, "video_share": 1.0},
    "no_transformer": {"temporal": dataclasses.replace(PARAMS.temporal, kind="mean")},
    "slowfast": {"backbone": SLOWFAST},
    "frozen": {"frozen": True},
    "every_clip_seen": {"video_share": 1.0},
}


def variant(name: str) -> I3DMagvitParams:
    """The tiny params with what the name says changed."""
    return dataclasses.replace(PARAMS, **VARIANTS[name])


def network(params: I3DMagvitParams = PARAMS, shape: I3DMagvitShape = SHAPE, reads: bool = False) -> I3DMagvit:
    """An untrained network, always the same, on codes of FSQ; `reads`: by a position head that never trained."""
    torch.manual_seed(params.seed)
    codes = torch.arange(shape.codebook_size).reshape(-1, 1, 1, 1)
    vectors = build_quantizer(FSQ).codes(codes)[..., 0, 0, 0]
    head = position_head(vectors, shape) if reads else None
    made = I3DMagvit(params, shape, Codebook(vectors, shape.levels), head)
    torch.nn.init.ones_(made.say)  # beside tokens it starts at nothing: let frames speak
    return made


def position_head(vectors: torch.Tensor, shape: I3DMagvitShape = SHAPE) -> PositionHead:
    """One that says something else of every clip, of codes with these vectors."""
    camera = Camera(float(shape.image_size), (shape.image_size - 1) / 2, 0.2)
    head = PositionHead(vectors.float(), shape.grid, shape.slice_frames, camera, channels=6, blocks=1, width=8)
    head.typical.fill_(1.0)
    torch.nn.init.normal_(head.correct[-1].weight, std=0.1)  # type: ignore[arg-type]  # starts at zero: let it speak
    return head.eval()


def some_clips(count: int, seed: int = 0, shape: I3DMagvitShape = SHAPE) -> ClipSet:
    """Clips of noise, with codes, labels and paths of noise."""
    draw = torch.Generator().manual_seed(seed)
    size = shape.image_size
    return ClipSet(
        torch.randint(0, 256, (count, shape.frames, size, size, 3), generator=draw, dtype=torch.uint8),
        torch.randint(0, shape.codebook_size, (count, *shape.grid), generator=draw),
        torch.arange(count) % len(shape.classes),
        torch.randn(count, shape.frames, 3, generator=draw).cumsum(1) / 8,
    )
