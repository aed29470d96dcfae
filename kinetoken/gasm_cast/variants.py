"""The params of the fusion network, and its variants: what each comparison changes, in one table."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.core.params import NonNegative, NonNegativeFloat, Positive, Range
from kinetoken.gasm_cast.levels import LEVELS

Stream = Literal["semantic", "motion"]
Share = Annotated[float, Range(ge=0, lt=1)]
VariantName = Literal[
    "gasm_cast", "plain", "concatenation", "no_graph", "semantic_only", "motion_only", "order_blind"
]


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a comparison changes."""

    streams: tuple[Stream, ...] = ("semantic", "motion")
    graph: bool = True
    cross: Literal["bottleneck", "native", "none"] = "bottleneck"
    ordered: bool = True  # False: frames are averaged


VARIANTS: dict[VariantName, Variant] = {
    "gasm_cast": Variant(),
    "plain": Variant(cross="native"),  # no bottleneck
    "concatenation": Variant(cross="none"),  # the streams meet in the head only
    "no_graph": Variant(graph=False),
    "semantic_only": Variant(("semantic",), cross="none"),
    "motion_only": Variant(("motion",), cross="none"),
    # the tokens of a 3-D network have seen their neighbours in time, so that even their average tells a clip from its
    # mirror image; frames that were encoded one by one do not, once averaged
    "order_blind": Variant(("semantic",), cross="none", ordered=False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionParams:
    """The fusion network; part of section train_gasm_cast."""

    variant: VariantName
    layers: Annotated[int, Range(ge=1, le=len(LEVELS))]  # of cross-attention: the first of LEVELS
    heads: Positive  # of every attention
    bottleneck: Positive  # width of cross-attention
    graph_width: Positive  # of graph attention
    patch_radius: NonNegativeFloat = 1.5  # patches at most so many patches apart are neighbours
    patch_similar: NonNegative = 3  # and so many most similar ones of the frame
    segment_radius: NonNegativeFloat = 1.0  # the same for segments
    segment_similar: NonNegative = 2
    maps: Positive = 8  # that say where, a stream
    curves: Positive = 4  # of time that the head reads
    dropout: Share  # of the head's features
    label_smoothing: Share
    gradient_checkpointing: bool = False
