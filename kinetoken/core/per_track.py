"""What all tables with a row a track have in common: whose row it is, its class and its split."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError

Ids = NDArray[np.integer[Any]]

LEARNING = ("train", "val", "test")  # splits, without which nothing is trained, chosen or scored


class PerTrack:
    """N rows, one a track: track_id (N,), label (N,) class names, split (N,) names."""

    track_id: Ids
    label: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order used for labels everywhere: sorted."""
        return tuple(sorted(set(self.label)))

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) index of each row's class in `classes`."""
        return np.searchsorted(np.array(self.classes), self.label).astype(np.int64)


def rows_by_track(
    wanted: Ids, track_id: Ids, absent: Callable[[int], str] = "no track {}".format
) -> NDArray[np.int64]:
    """Rows (M,) at which the ids `wanted` (M,) stand in a table's `track_id` (N,), both in any order.

    Of rows with the same id the first counts. UserError with the sentence `absent` of the first id that is not there.
    """
    order = np.argsort(track_id, kind="stable")
    rows = order[np.minimum(np.searchsorted(track_id, wanted, sorter=order), len(order) - 1)]
    if (missing := wanted[track_id[rows] != wanted]).size:
        raise UserError(absent(int(missing[0])))
    return rows


def require_splits(table: PerTrack, source: object, splits: Sequence[str] = LEARNING) -> None:
    """UserError naming the first of the splits that has no row."""
    for split in splits:
        if not (table.split == split).any():
            raise UserError(f"{source}: split '{split}' is empty")


def require_of_each_class(table: PerTrack, source: object, split: str, least: int = 1) -> None:
    """UserError naming the first class with fewer than `least` clips in the split."""
    for name in table.classes:
        found = int(((table.label == name) & (table.split == split)).sum())
        if found < least:
            few = "no clip" if least == 1 else f"{found} clips"
            needed = "" if least == 1 else f", {least} needed"
            raise UserError(f"{source}: class '{name}' has {few} in split '{split}'{needed}")


def require_classes(table: PerTrack, source: object) -> None:
    """UserError unless there are two classes or more, all of them with clips in train, val and test."""
    require_splits(table, source)
    if len(table.classes) < 2:
        raise UserError(f"{source}: one class only ('{table.classes[0]}'); a classifier needs two or more")
    for split in LEARNING:
        require_of_each_class(table, source, split)


def require_same_tracks(table: PerTrack, source: object, *others: tuple[PerTrack, object]) -> None:
    """UserError naming the first of `others` that does not hold the tracks of `table` (from `source`).

    Row for row the same, each of the same class and split.
    """
    for other, path in others:
        again = "; run the stages that made both again"
        if not np.array_equal(table.track_id, other.track_id):
            raise UserError(f"{path}: not the tracks of {source}{again}")
        for name in ("label", "split"):
            differs = np.flatnonzero(getattr(table, name) != getattr(other, name))
            if differs.size:
                row, meaning = int(differs[0]), "class" if name == "label" else name
                raise UserError(
                    f"{path}: track {table.track_id[row]} has {meaning} '{getattr(other, name)[row]}', but "
                    f"'{getattr(table, name)[row]}' in {source}{again}"
                )
