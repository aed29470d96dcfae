"""Section detect_persistence: which extractors, how large, how trained, and what a frame costs."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.backbones.params import FourDepths
from kinetoken.core.params import Fraction, NonNegative, NonNegativeFloat, Positive, PositiveFloat, Range
from kinetoken.training.loop import TrainingParams

ExtractorName = Literal["magvit", "transformer", "i3d_causal", "slowfast_causal"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractorParams(TrainingParams):
    """What every extractor's section has: how it and the head on it train, and its tokens' size."""

    channels: Annotated[int, Range(ge=8)]  # of a token


@dataclasses.dataclass(frozen=True, kw_only=True)
class MagvitParams(ExtractorParams):
    """Tokens of what the tokenizer's decoder makes of its codes, slice by slice."""

    blocks: NonNegative  # of convolution over a slice's tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerParams(ExtractorParams):
    """A vision transformer on the patches of each frame."""

    blocks: Positive
    heads: Positive

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(f"channels must be a multiple of heads, {self.heads}, is {self.channels}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet3dParams(ExtractorParams):
    """The causal form of a 3-D ResNet up to its second stage, whose map is an eighth of the frame a side."""

    width: Positive  # of the stem; 64 in the published networks
    depths: FourDepths  # blocks of each stage; 3, 4, 6, 3 published


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadParams:
    """Of the head, the same on every extractor."""

    width: Annotated[int, Range(ge=8)]
    heads: Positive  # of attention over space and over time
    place_weight: NonNegativeFloat = 0.3  # of the error of the candidate's place, smooth L1 in px
    presence_weight: NonNegativeFloat = 1.0  # of the cross-entropy of whether it is in sight
    short_frames: Positive = 8  # of most clips in training
    whole_share: Fraction = 0.125  # of the batches that see whole clips

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}, is {self.width}")


@dataclasses.dataclass(frozen=True)
class PersistenceParams:
    """Section detect_persistence."""

    seed: NonNegative
    extractors: tuple[ExtractorName, ...]  # those that are trained
    frame_cost: PositiveFloat  # what watching a whole clip costs, where a wrong decision costs 1
    confidence: Annotated[float, Range(gt=0.5, lt=1)]  # of the simple rule
    shown: Positive  # clips whose attention is drawn
    control_epochs: Positive  # of the network whose labels are dealt out at random
    head: HeadParams
    magvit: MagvitParams
    transformer: TransformerParams
    i3d_causal: ResNet3dParams
    slowfast_causal: ResNet3dParams

    def __post_init__(self) -> None:
        if not self.extractors or len(set(self.extractors)) < len(self.extractors):
            raise ValueError("extractors: name at least one, each once")

    def of(self, name: str) -> ExtractorParams:
        """The section of one extractor."""
        params: ExtractorParams = getattr(self, name)
        return params
