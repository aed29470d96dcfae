"""Section train_i3d_magvit: the two streams, how they are joined, and what each loss weighs."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.backbones.params import Dinov3Params, FrameCnnParams, I3dParams, R3dParams, SlowFastParams
from kinetoken.muon import MuonParams
from kinetoken.params import Fraction, NonNegativeFloat, Positive, Range
from kinetoken.tokenizer.quantizers import QuantizerParams

BackboneSection = I3dParams | SlowFastParams | R3dParams | Dinov3Params | FrameCnnParams


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionParams:
    """How the backbone's features are brought to few numbers a time step."""

    size: Positive  # numbers a step
    quantize: bool  # each step to the nearest code of a learned codebook; otherwise only narrowed
    quantizer: QuantizerParams  # of kind `vq` or `simvq`, its code_dim the size

    def __post_init__(self) -> None:
        if self.quantize and self.quantizer.kind not in ("vq", "simvq"):
            raise ValueError(f"quantizer.kind: must be vq or simvq for features, is {self.quantizer.kind}")
        if self.quantize and self.quantizer.code_dim != self.size:
            raise ValueError(f"quantizer.code_dim is {self.quantizer.code_dim}, but size is {self.size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemporalParams:
    """What reads the steps in order."""

    kind: Literal["transformer", "mean"]  # mean: steps are only added up, each after a matrix of its own
    width: Positive
    layers: Positive
    heads: Positive

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is no multiple of {self.heads} heads")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForecastParams:
    """The future that is foretold from the past slices."""

    past_slices: Positive  # of tokens, and their frames
    filters: Positive  # linear filters over the past path, mixed anew for each clip
    width: Annotated[int, Range(ge=8)]  # channels of what reads a path off tokens, and of what writes it into them


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightParams:
    """What each part of the loss weighs beside the cross-entropy of the class."""

    place: NonNegativeFloat  # the ball's place in the frames seen, a pixel
    forecast: NonNegativeFloat  # and in those to come
    depth: NonNegativeFloat  # of both, pixels that an error of 1 in the logarithm of depth weighs as much as
    tokens: NonNegativeFloat  # cross-entropy of the tokens to come
    compression: NonNegativeFloat  # reconstruction of the features and commitment to their codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoStreamParams(MuonParams):
    """Section train_i3d_magvit."""

    backbone: BackboneSection
    frozen: bool  # the backbone keeps the weights that it came with
    video_share: Annotated[float, Range(gt=0, le=1)]  # of a batch; of the rest only codes are read
    compression: CompressionParams
    tokens: bool  # read the MAGVIT tokens too
    temporal: TemporalParams
    embedding: Positive
    hidden: Positive  # of the classification head
    dropout: Fraction
    forecast: ForecastParams
    weights: WeightParams
    frames_scored: Positive  # test clips whose foretold frames are drawn and compared

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError("batch_size must be 2 or more: half of a batch is whole clips, half pasts alone")
