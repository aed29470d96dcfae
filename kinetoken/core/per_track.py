"""What all tables with a row a track have in common: whose row it is, its class and its split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.absence import NotMeasured
from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Ids = NDArray[Any]  # (N,) whole numbers, or text of files made elsewhere

LARGEST_ID = 2**31 - 1  # that the tables' int32 column holds
DIGITS = 19  # of a whole number that an id is read as; more are text

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


def track_ids(values: np.ndarray, place: Callable[[int], str]) -> NDArray[np.int32]:
    """Ids (N,) as the tables hold them, from numbers or text.

    UserError for the first that is no whole number from 0 to LARGEST_ID, its sentence begun by the `place` of its row.
    Larger ones would wrap around to the ids of other tracks, and ids are seeds, which numpy does not allow below 0.
    """
    if values.dtype.kind in "iuf":
        fits = (values >= 0) & (values <= LARGEST_ID) & (values == np.floor(values))
    else:
        values = np.array([_whole(value) for value in values.tolist()], object)
        fits = np.array([isinstance(value, int) and 0 <= value <= LARGEST_ID for value in values], bool)
    if not fits.all():
        row = int(np.argmin(fits))
        found = repr(values[row : row + 1].tolist()[0])
        raise UserError(
            f"{place(row)}, column 'track_id': {found if len(found) <= 60 else found[:57] + '…'} is no track id: these "
            f"are whole numbers from 0 to {LARGEST_ID}"
        )
    return values.astype(np.int32, copy=False)


def id_column(path: Path, values: np.ndarray, start: int = 0) -> "pa.Array":
    """The column track_id to be written to a table; `start` is its first row's number. UserError as `track_ids`."""
    import pyarrow as pa

    return pa.array(track_ids(values, lambda row: f"{path}: row {start + row}"), pa.int32())


def read_ids(path: Path, table: "pa.Table") -> NDArray[np.int32]:
    """The column track_id (N,) of a table that was read. UserError if it is missing, and as `track_ids`."""
    if "track_id" not in table.column_names:
        raise UserError(f"{path}: column 'track_id' is missing")
    return track_ids(plain_column(path, table, "track_id"), lambda row: f"{path}: row {row}")


def read_names(path: Path, table: "pa.Table", name: str) -> np.ndarray:
    """A column of names (N,) of a table that was read: class, split. UserError if it is missing, or has no such values.
    """
    import pyarrow as pa

    if name not in table.column_names:
        raise UserError(f"{path}: column '{name}' is missing")
    kind, values = table[name].type, table[name]
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if len(values) and not (text or pa.types.is_integer(kind)):
        raise UserError(f"{path}: column '{name}' holds {kind} values; expected one name a row")
    names = values.to_pylist()
    if None in names:
        raise UserError(f"{path}: row {names.index(None)}, column '{name}': missing")
    return np.array([str(each) for each in names] if names and not text else names, np.str_)


def read_numbers(path: Path, table: "pa.Table", name: str, missing: bool = False) -> NDArray[Any]:
    """A column of finite numbers (N,) of a table that was read. UserError for the first that is none.

    missing: NaN may stand where there is nothing to tell.
    """
    import pyarrow as pa

    if name not in table.column_names:
        raise UserError(f"{path}: column '{name}' is missing")
    kind = table[name].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise UserError(f"{path}: column '{name}' holds {kind} values; expected one number a row")
    values = np.asarray(plain_column(path, table, name))
    sound = np.isfinite(values) | (missing & np.isnan(values))
    if not sound.all():
        raise UserError(f"{path}: row {int(np.argmin(sound))}, column '{name}': missing or not finite")
    return values


def plain_column(path: Path, table: "pa.Table", name: str) -> NDArray[Any]:
    """A column's values (N,) as numpy has them. UserError for what it cannot have."""
    import pyarrow as pa

    try:
        return np.asarray(table[name].to_numpy())
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserError(f"{path}: column '{name}' cannot be read: {str(error).splitlines()[0]}") from None


def any_ids(values: np.ndarray) -> Ids:
    """Ids (N,) of any type, so that equal ones compare equal: int64 where all are such numbers, else text.

    Missing ones are empty text. Text of a number is that number if it is spelled as numbers are: "7", not "007".
    """
    if values.dtype.kind in "iu" and (values.dtype != np.uint64 or values.max(initial=0) < 2**63):
        return values.astype(np.int64, copy=False)
    text = np.array([_spelled(value) for value in values.tolist()], np.str_)
    try:
        numbers = text.astype(np.int64)
    except (ValueError, OverflowError):
        return text
    return numbers if (numbers.astype(text.dtype) == text).all() else text


def alike(one: Ids, other: Ids) -> tuple[Ids, Ids]:
    """Both of `any_ids`, as numbers if both are numbers, else as text."""
    return (one, other) if one.dtype.kind == other.dtype.kind else (one.astype(np.str_), other.astype(np.str_))


def _whole(value: object) -> object:
    """The whole number that a float is or that a text spells, else the value itself; True and False are no numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and len(value) <= DIGITS and value.isascii() and value.isdecimal() and (
        value == "0" or value[0] != "0"
    ):
        return int(value)
    return value


def _spelled(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value != value else str(value)


def rows_by_track(wanted: Ids, track_id: Ids, absent: Callable[[Any], str] = "no track {}".format) -> NDArray[np.int64]:
    """Rows (M,) at which the ids `wanted` (M,) stand in a table's `track_id` (N,), both in any order.

    Of rows with the same id the first counts. UserError with the sentence `absent` of the first id that is not there.
    """
    order = np.argsort(track_id, kind="stable")
    rows = order[np.minimum(np.searchsorted(track_id, wanted, sorter=order), len(order) - 1)]
    if (missing := wanted[track_id[rows] != wanted]).size:
        raise UserError(absent(missing[0].item()))
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
    """NotMeasured unless there are two classes or more, UserError unless all have clips in train, val and test."""
    require_splits(table, source)
    if len(table.classes) < 2:
        raise NotMeasured(f"all clips have one class ('{table.classes[0]}'), and a classifier needs two or more")
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
