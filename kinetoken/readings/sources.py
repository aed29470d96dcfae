"""Where a past can be read from, and how much of a clip the past is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from kinetoken.codes import CodesTable
from kinetoken.readings.table import Readings
from kinetoken.scenes.clips import ClipStore


@dataclasses.dataclass(frozen=True)
class Sources:
    """Paths, for loading and for messages; `model` is of the kind that `ReadMotion.source` names."""

    codes: Path
    model: Path
    position: Path  # not read with I3D + MAGVIT, which locates the ball itself
    videos: Path


Reader = Callable[[CodesTable, ClipStore, Sources], Readings]  # of the clips of a codes table, all in the store


def past_slices(codes: CodesTable) -> int:
    """The first three quarters of the time slices, at least one."""
    return max(codes.meta.grid[0] * 3 // 4, 1)
