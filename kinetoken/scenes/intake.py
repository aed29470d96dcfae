"""What a user's own file of tracks means: its units, its gaps, its length."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.core.params import Positive, Range

SLICE_FRAMES = 4  # frames that become one slice of codes: tracks have a multiple of them
SECTION = "generate_trajectories.<dataset>.own"  # for messages
METRE = {"m": 1, "cm": 100, "mm": 1000}  # units in a metre
SECOND = {"s": 1, "ms": 1000}  # units in a second


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackFileParams:
    """Section generate_trajectories.<dataset>.own, read where source is a file of tracks."""

    unit: Literal["m", "cm", "mm", "px"] = "m"  # of x, y, z
    time_unit: Literal["s", "ms"] = "s"  # of t
    gaps: Literal["refuse", "interpolate"] = "refuse"  # frames that are missing within a track
    longest_gap: Positive = 3  # frames; interpolate fills no longer ones
    window: Annotated[int, Range(ge=SLICE_FRAMES)] | None = None  # frames; every track is cut into as many as fit

    def __post_init__(self) -> None:
        if self.unit == "px":
            raise ValueError(
                "unit: px is refused, as tracks in pixels have no depth; give x, y and z in m, cm or mm, or apply the "
                "models to the clips themselves (docs/inference.md)"
            )
        if self.window is not None and self.window % SLICE_FRAMES:
            raise ValueError(
                f"window: {self.window} is no multiple of {SLICE_FRAMES}, the frames of one slice of codes; "
                f"try {self.window - self.window % SLICE_FRAMES}"
            )
