"""Section train_gasm_cast: two backbones, what they are shown, how their tokens are fused, and how all of it trains."""

import dataclasses
from typing import Annotated

from kinetoken.actions.sampling import Intake, Views
from kinetoken.backbones.params import PATCH, Dinov3Params, R3dParams
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegative, Positive, Range
from kinetoken.gasm_cast.sizes import TokenSizes, grid_of
from kinetoken.gasm_cast.variants import FusionParams
from kinetoken.training.loop import TrainingParams

R3D_STRIDE = 16  # pixels of R3D-18's input to a cell of its map, and 2 frames to a step of it
R3D_GROWTH = 8  # channels of its map to one of its stem


@dataclasses.dataclass(frozen=True, kw_only=True)
class GasmCastParams(TrainingParams):
    """Section train_gasm_cast."""

    semantic: Dinov3Params  # `frames` of those that motion is given, evenly chosen
    motion: R3dParams
    frozen: bool = False  # the backbones keep their weights and the statistics of their norms
    backbone_rate: Annotated[float, Range(gt=0, le=1)] = 1.0  # the share of the learning rate that backbones train with
    cache_tokens: bool = False  # frozen only: tokens are made once, from evaluation views, and training reads those
    tokens_mib: Positive = 1024  # the most memory that they may take
    fusion: FusionParams
    views: Views  # `segments` are motion's frames; both image sizes are averaged down from `crop`
    intake: Intake
    order_blind: bool  # train the variant order_blind beside it, to see what order is worth
    order_blind_epochs: NonNegative  # of its training; 0: as many
    scoring_batch: Positive = 32  # clips that are scored at once

    def __post_init__(self) -> None:
        if self.cache_tokens and not self.frozen:
            raise ValueError("cache_tokens needs frozen: tokens of backbones that train change with every step")
        if self.views.segments != self.motion.frames:
            raise ValueError(f"views.segments are {self.views.segments}, but motion.frames are {self.motion.frames}")
        if self.motion.frames % self.semantic.frames:
            raise ValueError(
                f"semantic.frames: {self.semantic.frames} cannot be chosen evenly from motion's {self.motion.frames}"
            )
        for name, backbone in (("semantic", self.semantic), ("motion", self.motion)):
            if self.views.crop % backbone.image_size:
                raise ValueError(
                    f"{name}.image_size: views.crop of {self.views.crop} pixels cannot be averaged down to "
                    f"{backbone.image_size}"
                )
        if self.motion.image_size % R3D_STRIDE:
            raise ValueError(f"motion.image_size must be a multiple of {R3D_STRIDE}, is {self.motion.image_size}")
        try:
            self.sizes(classes=2)
        except UserError as error:
            raise ValueError(str(error)) from None

    def sizes(self, classes: int) -> TokenSizes:
        """How many tokens the two streams have."""
        return TokenSizes(
            classes=classes, frames=self.semantic.frames, segments=(self.motion.frames + 1) // 2,
            semantic_grid=grid_of(self.semantic.image_size, PATCH), semantic_width=self.semantic.width,
            motion_grid=grid_of(self.motion.image_size, R3D_STRIDE), motion_width=R3D_GROWTH * self.motion.width,
        )
