"""A backbone from its params: the table of all of them, each with the weights that fit it.

torchvision and timm take seconds to import, so each backbone's module is imported when it is built.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from kinetoken.backbones.backbone import Backbone
from kinetoken.backbones.loading import LoadReport, WeightFormat, load_backbone
from kinetoken.backbones.params import (
    BackboneParams,
    Dinov3Params,
    FrameCnnParams,
    I3dParams,
    R3dParams,
    SlowFastParams,
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the table holds of a backbone."""

    params: type[BackboneParams]
    build: Callable[[Any], tuple[Backbone, WeightFormat]]  # of those params, untrained


def _i3d(params: I3dParams) -> tuple[Backbone, WeightFormat]:
    from kinetoken.backbones.i3d import I3D_WEIGHTS, build_i3d

    return build_i3d(params), I3D_WEIGHTS


def _slowfast(params: SlowFastParams) -> tuple[Backbone, WeightFormat]:
    from kinetoken.backbones.slowfast import SLOWFAST_WEIGHTS, build_slowfast

    return build_slowfast(params), SLOWFAST_WEIGHTS


def _r3d(params: R3dParams) -> tuple[Backbone, WeightFormat]:
    from kinetoken.backbones.r3d import R3D_WEIGHTS, build_r3d

    return build_r3d(params), R3D_WEIGHTS


def _dinov3(params: Dinov3Params) -> tuple[Backbone, WeightFormat]:
    from kinetoken.backbones.dinov3 import DINOV3_WEIGHTS, build_dinov3

    return build_dinov3(params), DINOV3_WEIGHTS


def _frame_cnn(params: FrameCnnParams) -> tuple[Backbone, WeightFormat]:
    from kinetoken.backbones.frame_cnn import FRAME_CNN_WEIGHTS, build_frame_cnn

    return build_frame_cnn(params), FRAME_CNN_WEIGHTS


BACKBONES = {
    "i3d": Entry(I3dParams, _i3d),
    "i3d_causal": Entry(I3dParams, _i3d),
    "slowfast": Entry(SlowFastParams, _slowfast),
    "slowfast_causal": Entry(SlowFastParams, _slowfast),
    "r3d": Entry(R3dParams, _r3d),
    "dinov3": Entry(Dinov3Params, _dinov3),
    "frame_cnn": Entry(FrameCnnParams, _frame_cnn),
}


def build_backbone(params: BackboneParams) -> tuple[Backbone, LoadReport]:
    """The network in eval mode, its weights loaded or drawn from torch's global generator, and a report of which.

    Raises UserError where weights are asked for and cannot be loaded whole.
    """
    module, weights = BACKBONES[params.name].build(params)
    report = load_backbone(module, weights, pretrained=params.pretrained, checkpoint=params.checkpoint)
    return module.eval(), report
