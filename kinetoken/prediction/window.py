"""How much of a clip is given and how much is predicted, in time slices of codes and in frames."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """The first slices of a clip, and those after them that are predicted."""

    past_slices: int
    future_slices: int = 1
    slice_frames: int

    @property
    def slices(self) -> int:
        """Past and future together."""
        return self.past_slices + self.future_slices

    @property
    def past_frames(self) -> int:
        return self.past_slices * self.slice_frames

    @property
    def future_frames(self) -> int:
        return self.future_slices * self.slice_frames
