"""What the published size costs: counted, not run, and the yardstick for every reduced network."""

import dataclasses

import torch

from kinetoken.actions.sampling import Intake, Views
from kinetoken.backbones.params import Dinov3Params, R3dParams
from kinetoken.gasm_cast.counting import end_to_end_macs_saved, fusion_costs, fusion_macs_saved, multiply_adds
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.sizes import FULL_SIZE
from kinetoken.gasm_cast.system import GasmCastSystem
from kinetoken.gasm_cast.variants import FusionParams

FULL = GasmCastParams(
    seed=51, epochs=20, batch_size=32, learning_rate=0.0005, warmup_fraction=0.05, weight_decay=0.05,
    gradient_clip=1.0, ema_decay=0.0, patience=5, frozen=True, backbone_rate=0.1, cache_tokens=False, tokens_mib=1024,
    order_blind=False, order_blind_epochs=0, scoring_batch=16,
    semantic=Dinov3Params(
        name="dinov3", image_size=224, frames=8, pretrained=False, checkpoint=None, width=768, depth=12, heads=12
    ),
    motion=R3dParams(
        name="r3d", image_size=112, frames=16, pretrained=False, checkpoint=None, width=64, depths=(2, 2, 2, 2),
        head=False,
    ),
    fusion=FusionParams(
        variant="gasm_cast", layers=3, heads=8, bottleneck=256, graph_width=256, patch_radius=2.0, patch_similar=8,
        segment_radius=1.0, segment_similar=2, maps=8, curves=3, dropout=0.5, label_smoothing=0.1,
        gradient_checkpointing=True,
    ),
    views=Views(segments=16, short_side=256, crop=224, zoom=1.0, jitter=0.2, clips=2, crops=3),
    intake=Intake(broken="skip", max_broken=0.01, workers=8, cache_mib=0),
)


def full_size(like: FusionParams) -> GasmCastParams:
    """The published size, its fusion of this one's variant, with as many layers."""
    return dataclasses.replace(
        FULL, fusion=dataclasses.replace(FULL.fusion, variant=like.variant, layers=like.layers)
    )


def part_costs(params: GasmCastParams, classes: int) -> dict[str, int]:
    """Multiply-adds of one view of one clip, by part: semantic, motion, fusion; "" is all. Built without storage."""
    with torch.device("meta"):
        system = GasmCastSystem(params, [str(place) for place in range(classes)])
        side = params.views.crop
        pixels = torch.empty(1, params.motion.frames, side, side, 3, dtype=torch.uint8)
    counts = multiply_adds(system, pixels)
    return {name: counts[name] for name in ("", "semantic", "motion", "fusion") if name in counts}


def full_size_metrics(like: FusionParams) -> dict[str, float]:
    """Trainable parameters of the fusion network of this variant at full size, and what its bottleneck saves there."""
    params = full_size(like)
    counts = part_costs(params, FULL_SIZE.classes)
    return {
        "trainable_parameters_full": fusion_costs(FULL_SIZE, params.fusion).parameters,
        "fusion_macs_saved": fusion_macs_saved(FULL_SIZE, params.fusion),
        "end_to_end_macs_saved": end_to_end_macs_saved(FULL_SIZE, params.fusion, counts[""] - counts["fusion"]),
    }
