"""Where a past can be read from, and how much of a clip the past is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

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


def even_test_clips(codes: CodesTable, count: int) -> CodesTable:
    """The first test clips of each class, in equal numbers, in order of track_id.

    `count` in all at most, but at least one of each class.
    """
    test = codes.of_split("test")
    test = test.take(np.argsort(test.track_id, kind="stable"))
    each = max(count // len(codes.classes), 1)
    return test.take(np.sort(np.concatenate([np.flatnonzero(test.label == name)[:each] for name in codes.classes])))


def past_slices(codes: CodesTable) -> int:
    """The first three quarters of the time slices, at least one."""
    return max(codes.meta.grid[0] * 3 // 4, 1)
