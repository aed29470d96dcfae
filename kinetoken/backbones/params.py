"""A backbone's section of params.yaml: which network, how large, what it sees, where its weights come from."""

import dataclasses
from typing import ClassVar, Literal

from kinetoken.core.params import Positive

FourDepths = tuple[Positive, Positive, Positive, Positive]

PATCH = 16  # pixels a side of DINOv3's patches


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneParams:
    """What every backbone's section has. The published size is the only one that has published weights."""

    published: ClassVar[dict[str, object]] = {}  # fields that make up the size, as published

    name: str
    image_size: Positive  # side in pixels of the frames that come in
    frames: Positive  # of a clip that comes in
    pretrained: bool = False  # download the published weights
    checkpoint: str | None = None  # load them from this file instead

    def __post_init__(self) -> None:
        if self.pretrained and self.checkpoint is not None:
            raise ValueError("pretrained downloads weights and checkpoint names a file of them: set one of the two")
        if self.pretrained and self.reduced:
            sizes = ", ".join(f"{name} {value}" for name, value in self.published.items())
            raise ValueError(f"there are published weights for {sizes} only; set pretrained to false")

    @property
    def reduced(self) -> bool:
        """Is the network of another size than the one its name stands for?"""
        return any(getattr(self, name) != value for name, value in self.published.items())

    @property
    def title(self) -> str:
        """The name, and where the size is not the published one, the size: for reports."""
        sizes = [f"{name} {getattr(self, name)}" for name in self.published]
        return f"{self.name} reduced to {', '.join(sizes)}" if self.reduced else self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class I3dParams(BackboneParams):
    """I3D-R50; `i3d_causal` pads time with the past alone, and is not the published network."""

    published = {"width": 64, "depths": (3, 4, 6, 3)}

    name: Literal["i3d", "i3d_causal"]
    width: Positive  # channels of the stem
    depths: FourDepths  # blocks of each stage
    head: bool = False  # the classification head of 400 classes; without it the head's weights in a file are left out

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 2:
            raise ValueError("frames must be 2 or more")

    @property
    def causal(self) -> bool:
        return self.name == "i3d_causal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowFastParams(BackboneParams):
    """SlowFast-R50; `slowfast_causal` pads time with the past alone, and is not the published network."""

    published = {"width": 64, "depths": (3, 4, 6, 3), "alpha": 4, "beta": 8}

    name: Literal["slowfast", "slowfast_causal"]
    width: Positive  # channels of the slow pathway's stem
    depths: FourDepths  # blocks of each stage, in both pathways
    alpha: Positive  # frames of the fast pathway for one of the slow
    beta: Positive  # channels of the slow pathway for one of the fast
    head: bool = False  # the classification head of 400 classes; without it the head's weights in a file are left out

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.beta:
            raise ValueError(f"width must be a multiple of beta, {self.beta}, is {self.width}")
        if self.frames % self.alpha:
            raise ValueError(f"frames must be a multiple of alpha, {self.alpha}, are {self.frames}")

    @property
    def causal(self) -> bool:
        return self.name == "slowfast_causal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class R3dParams(BackboneParams):
    """torchvision's R3D-18, time kept in its last two stages."""

    published = {"width": 64, "depths": (2, 2, 2, 2)}

    name: Literal["r3d"]
    width: Positive  # channels of the stem
    depths: FourDepths  # blocks of each stage
    head: bool = False  # the classification head of 400 classes; without it the head's weights in a file are left out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dinov3Params(BackboneParams):
    """timm's DINOv3 ViT-B/16, frame by frame."""

    published = {"width": 768, "depth": 12, "heads": 12}

    name: Literal["dinov3"]
    width: Positive  # channels of a token
    depth: Positive  # blocks
    heads: Positive  # of attention, in each block

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (4 * self.heads):
            raise ValueError(f"width must be a multiple of 4 × heads, {4 * self.heads}, is {self.width}")
        if self.image_size % PATCH:
            raise ValueError(f"image_size must be a multiple of {PATCH}, is {self.image_size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameCnnParams(BackboneParams):
    """A small convolutional network for each frame by itself; it stands for no published one."""

    name: Literal["frame_cnn"]
    width: Positive  # channels of the first layer, doubled by each one after
    layers: Positive  # each halves the frame

    def __post_init__(self) -> None:
        if self.pretrained or self.checkpoint is not None:
            raise ValueError(
                "frame_cnn begins untrained, there are no weights for it: set pretrained to false, checkpoint to null"
            )
        if self.image_size % 2**self.layers:
            raise ValueError(f"image_size must be a multiple of 2^layers, {2**self.layers}, is {self.image_size}")

    @property
    def title(self) -> str:
        """The name and the size: there is no published one."""
        return f"frame_cnn of width {self.width}, {self.layers} layers"
