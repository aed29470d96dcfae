"""Section train_i3d_magvit: the two streams, how they are joined, and what each loss weighs."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.backbones.params import Dinov3Params, FrameCnnParams, I3dParams, R3dParams, SlowFastParams
from kinetoken.core.params import Fraction, NonNegative, NonNegativeFloat, Positive, Range
from kinetoken.tokenizer.quantizers import QuantizerParams
from kinetoken.training.muon import MuonParams

BackboneSection = I3dParams | SlowFastParams | R3dParams | Dinov3Params | FrameCnnParams


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionParams:
    """How the backbone's features are brought to few numbers a time step, and those to one code of a learned codebook.

    The fields of the codebook are those of a tokenizer's quantizer that mean something for features.
    """

    size: Positive  # numbers a step
    quantize: bool  # each step to its nearest code; otherwise only narrowed
    kind: Literal["vq", "simvq"]
    codebook_size: Annotated[int, Range(ge=2)]
    commitment: NonNegativeFloat = 0.25  # pull of the narrowed features towards their codes
    decay: Annotated[float, Range(ge=0, lt=1)] = 0.9  # vq: of the codebook's moving averages
    kmeans_start: bool = True  # vq: the codebook starts from the first batch, not at random
    dead_code_threshold: NonNegativeFloat = 0.1  # vq: steps a batch under which a code moves onto a step; 0 is off

    @property
    def quantizer(self) -> QuantizerParams:
        return QuantizerParams(
            kind=self.kind, levels=(), codebook_size=self.codebook_size, code_dim=self.size, weight=1.0,
            commitment=self.commitment, entropy=0.0, decay=self.decay, kmeans_start=self.kmeans_start,
            dead_code_threshold=self.dead_code_threshold, rotation=False, contrastive=0.0,
        )


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

    place: NonNegativeFloat = 0.15  # the ball's place in the frames seen, a pixel; of both streams and of frames alone
    forecast: NonNegativeFloat = 0.2  # and in those to come
    depth: NonNegativeFloat = 30.0  # of both, pixels that an error of 1 in the logarithm of depth weighs as much as
    tokens: NonNegativeFloat = 0.15  # cross-entropy of the tokens to come
    compression: NonNegativeFloat = 0.2  # reconstruction of the features and commitment to their codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class I3DMagvitParams(MuonParams):
    """Section train_i3d_magvit."""

    backbone: BackboneSection
    frozen: bool  # the backbone keeps the weights that it came with
    video_share: Annotated[float, Range(gt=0, le=1)]  # of a batch, whole and as pasts; of the rest only codes are read
    compression: CompressionParams
    tokens: bool  # read the MAGVIT tokens too
    drawn: NonNegative  # paths drawn beside each batch where a position head reads, off as far as it is
    copies: Positive  # paths derived from each training track by symmetry, of which they are drawn, if all are laws
    temporal: TemporalParams
    embedding: Positive
    hidden: Positive  # of the classification head
    dropout: Fraction
    forecast: ForecastParams
    weights: WeightParams = WeightParams()
    frames_scored: Positive  # test clips whose foretold frames are drawn and compared

    def __post_init__(self) -> None:
        if not self.tokens and self.video_share < 1:
            raise ValueError(f"video_share: must be 1 without tokens, nothing else being seen, is {self.video_share}")
