"""What a run of read_motion may be given."""

import dataclasses
from typing import Literal

from kinetoken.core.params import NonNegative, Positive
from kinetoken.physics.laws import CLASSES

Source = Literal["classifier", "i3d_magvit"]


@dataclasses.dataclass(frozen=True)
class ReadMotion:
    """Section read_motion."""

    source: Source  # the model that reads: the classifier of codes, beside the position head; or I3D + MAGVIT alone
    clips: Positive  # read, of the test split, in equal parts for each class
    neighbours: NonNegative  # most similar training clips whose classes are kept; by the classifier's embedding alone

    def __post_init__(self) -> None:
        if self.clips < len(CLASSES):
            raise ValueError(f"clips: at least {len(CLASSES)}, one for each law")
        if self.neighbours and self.source != "classifier":
            raise ValueError("neighbours: only the classifier of codes knows which clips are similar; set 0")
