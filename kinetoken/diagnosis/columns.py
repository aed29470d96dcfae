"""A user's arrays, one row a clip, read batch by batch from a file of any known format, or given in memory.

Every fault names the file, or the array, and the row.
"""

import abc
import dataclasses
import functools
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError
from kinetoken.diagnosis.formats import PADDING, Kept, Member, Values, arrays_of
from kinetoken.diagnosis.shards import Shards, is_shards
from kinetoken.diagnosis.tables import StoredTable, is_dataset, open_table, storage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = NDArray[Any]

BATCH_ROWS = 2048
BATCH_BYTES = 1 << 25  # of rows held at once


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Arrays that a caller holds in memory, in the place of a file; `what` they are is how messages call them."""

    what: str
    arrays: Mapping[str, Array]
    suffix: ClassVar[str] = ""  # of no kind of file

    @property
    def name(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"array '{self.what}'"


Source = Path | Given


def is_table(source: Source) -> TypeGuard[Path]:
    """Is it a Parquet file, or a folder of a table's files?"""
    return isinstance(source, Path) and (source.suffix == ".parquet" or is_dataset(source))


def is_tar(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and is_shards(source)


def is_text_table(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix in (".csv", ".tsv")


def opened_shards(path: Path) -> Shards:
    """The shards, looked through once as long as the file does not change."""
    return _shards(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=4)
def _shards(path: Path, _changed: int) -> Shards:
    return Shards(path)


class Column(abc.ABC):
    """N rows of equal shape; `ragged`: rows of unequal length were filled up with PADDING."""

    ragged = False

    def __init__(self, path: Source, length: int) -> None:
        self.path, self._length = path, length

    def __len__(self) -> int:
        return self._length

    @abc.abstractmethod
    def batches(self) -> Iterator[Array]:
        """Arrays (n, ...) of rows in order. Raises UserError for rows of different shape and missing values."""

    def stream(self, rows: NDArray[np.int64], count: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Places among these rows, in any order, and their values, at most `count` at a time, in the file's order."""
        order, start = np.argsort(rows, kind="stable"), 0
        ascending = rows[order]
        for batch in self.batches():
            first, last = np.searchsorted(ascending, [start, start + len(batch)])
            for low in range(first, last, count):
                part = slice(low, min(low + count, last))
                yield order[part], np.asarray(batch[ascending[part] - start])
            start += len(batch)

    def take(self, rows: NDArray[np.int64]) -> Array:
        """The rows (n, ...) at these places, in any order; one batch in memory at a time."""
        found: Array | None = None
        for places, values in self.stream(rows, BATCH_ROWS):
            if found is None:
                found = np.empty((len(rows), *values.shape[1:]), values.dtype)
            found[places] = values
        assert found is not None
        return found


def rows_at_once(row_bytes: int) -> int:
    return int(np.clip(BATCH_BYTES // max(row_bytes, 1), 1, BATCH_ROWS))


class ArrayColumn(Column):
    """Rows of an array: in memory, mapped from disk, or read from its file by ranges."""

    def __init__(self, path: Source, values: Values) -> None:
        super().__init__(path, len(values))
        self.values = values

    def batches(self) -> Iterator[Array]:
        row_bytes = int(np.prod(self.values.shape[1:], dtype=np.int64)) * np.dtype(self.values.dtype).itemsize
        count = rows_at_once(row_bytes)
        if isinstance(self.values, Member):
            yield from self.values.parts(count)
            return
        for start in range(0, len(self), count):
            yield np.asarray(self.values[start : start + count])

    def stream(self, rows: NDArray[np.int64], count: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
        if not isinstance(self.values, np.ndarray):
            yield from super().stream(rows, count)
            return
        for start in range(0, len(rows), count):
            part = rows[start : start + count]
            yield np.arange(start, start + len(part)), np.asarray(self.values[part])


class ShardColumn(Column):
    """One array a sample of WebDataset shards."""

    def __init__(self, path: Path, name: str) -> None:
        self.shards, self.name = opened_shards(path), name
        super().__init__(path, self.shards.length)
        self.ragged = self.shards.longest[name] != self.shards.shortest[name]

    def batches(self) -> Iterator[Array]:
        return self.shards.batches(self.name, BATCH_ROWS // 8)


class ListColumn(Column):
    """A list column, nested to any depth, of a table; its outermost lists may be of unequal length if `fill`."""

    def __init__(self, path: Path, name: str, table: StoredTable, *, fill: bool = False) -> None:
        super().__init__(path, table.num_rows)
        self.name, self.table, self.longest = name, table, 0
        if fill and not _fixed(table.type_of(name)):
            self._measure()

    def _measure(self) -> None:
        import pyarrow.compute as pc

        shortest = None
        for batch in self.table.batches(self.name, BATCH_ROWS):
            if not _listed(batch.type):
                return
            found = pc.min_max(pc.list_value_length(batch)).as_py()
            if found["max"] is not None:
                self.longest = max(self.longest, found["max"])
                shortest = found["min"] if shortest is None else min(shortest, found["min"])
        self.ragged = shortest is not None and shortest != self.longest

    def batches(self) -> Iterator[Array]:
        start, shape, where = 0, None, f"{self.path}: column '{self.name}'"
        for batch in self.table.batches(self.name, self._count):
            values = _filled(batch, self.longest, where, start) if self.ragged else _unnested(batch, where, start)
            if shape not in (None, values.shape[1:]):
                raise UserError(f"{self.path}: ragged rows: shapes {shape} and {values.shape[1:]} at row {start}")
            start, shape = start + len(values), values.shape[1:]
            yield values

    @functools.cached_property
    def _count(self) -> int:
        """Rows at once, by the size of the first."""
        first = next(self.table.batches(self.name, 1), None)
        return BATCH_ROWS if first is None else rows_at_once(first.nbytes)


def _listed(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _fixed(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(kind))


def _filled(values: "pa.Array", longest: int, where: str, start: int) -> Array:
    """(n, longest, ...) from lists of unequal length, filled up with PADDING. UserError for numbers with fractions."""
    import pyarrow.compute as pc

    if values.null_count:
        raise UserError(f"{where}: row {start + int(np.argmax(values.is_null().to_numpy(False)))} is empty")
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    inside = _unnested(values.flatten(), where, start)
    if not np.issubdtype(inside.dtype, np.integer):
        raise UserError(f"{where}: ragged rows: row lengths differ, which only whole-number codes may have")
    found = np.full((len(values), longest, *inside.shape[1:]), PADDING, np.int64)
    found[np.arange(longest) < lengths[:, None]] = inside
    return found


def _unnested(values: "pa.Array", where: str, start: int) -> Array:
    """(n, a, b, ...) from lists of lists of numbers; `start` is the first row's number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape, rows = [len(values)], max(len(values), 1)

    def row_of(place: int) -> int:
        return start + place * rows // max(int(np.prod(shape)), 1)

    while _listed((values := storage(values)).type):
        if values.null_count:
            raise UserError(f"{where}: row {row_of(int(np.argmax(values.is_null().to_numpy(False))))} is empty")
        lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
        if len(lengths) and (odd := lengths != lengths[0]).any():
            place = int(np.argmax(odd))
            raise UserError(
                f"{where}: ragged rows: row {row_of(place)} has {lengths[place]} values, row {start} {lengths[0]}"
            )
        values = values.flatten()
        shape.append(int(lengths[0]) if len(lengths) else 0)
    if values.null_count:
        raise UserError(f"{where}: row {row_of(int(np.argmax(values.is_null().to_numpy(False))))} has an empty value")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise UserError(f"{where}: holds {values.type}, not numbers")
    return np.asarray(values.to_numpy(zero_copy_only=False).reshape(shape))


def open_column(path: Source, names: Sequence[str], what: str, *, fill: bool = False) -> Column:
    """The rows of a file or of arrays: the first of `names` that it has, or the only one that can be meant.

    With `fill`, rows of whole numbers may be of unequal length. Raises UserError naming what there is if none or
    several could be meant, and for a table with one number a row.
    """
    if is_text_table(path):
        raise UserError(f"{path}: {what} are not read from CSV; save them as NPY, NPZ or Parquet with one clip a row")
    if is_table(path):
        table = open_table(path)
        lists = [name for name in table.names if "list" in str(table.type_of(name))]
        name = _chosen(path, names, table.names, lists, what)
        if name not in lists:
            raise UserError(_one_number_a_row(path, name, table))
        return ListColumn(path, name, table, fill=fill)
    if is_tar(path):
        shards = opened_shards(path)
        name = _chosen(path, names, [*shards.wide, *shards.single], shards.wide, what)
        if name not in shards.wide:
            raise UserError(f"{path}: {what}: '{name}' holds one value a sample, not an array")
        column = ShardColumn(path, name)
        if column.ragged and not fill:
            raise UserError(f"{path}: {what}: rows of different shape")
        return column
    arrays = stored_arrays(path)
    wide = [name for name, values in arrays.items() if values.ndim >= 2]
    values = arrays[_chosen(path, names, list(arrays), wide, what)]
    kind = np.dtype(values.dtype)
    if values.ndim < 2 or not (np.issubdtype(kind, np.number) or kind.kind == "b" or kind.hasobject):
        raise UserError(f"{path}: {what}: expected numbers with one row a clip, found {kind} {values.shape}")
    if len(values) and not all(values.shape):
        raise UserError(f"{path}: {what}: rows of shape {list(values.shape[1:])} hold no values")
    return ArrayColumn(path, values)


def _one_number_a_row(path: Path, name: str, table: StoredTable) -> str:
    kind = table.type_of(name)
    if "struct" in str(kind) or "string" in str(kind) or "binary" in str(kind):
        return f"{path}: column '{name}' holds {kind}, not lists of numbers"
    key = next((each for each in table.names if each.endswith("id") and each != name), "clip_id")
    return (
        f"{path}: column '{name}' holds one number a row, not the list of a clip's codes; group the rows first, as "
        f"pandas does with table.groupby('{key}')['{name}'].agg(list).reset_index()"
    )


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":  # noqa: ANN401 - pandas' own
    """A table with commas, or tabs if its name ends so; empty fields are empty text. UserError if it is none."""
    import pandas as pd

    require_file(path)
    try:
        separator = "\t" if path.suffix == ".tsv" else ","
        return pd.DataFrame(pd.read_csv(path, sep=separator, keep_default_na=False, **options))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable CSV file: {str(error).splitlines()[0]}") from None


def stored_arrays(path: Source, names: Container[str] | None = None) -> dict[str, Values]:
    """The arrays given, or those of a file, by name: all, or those of the `names`; they may stay in their file.

    UserError if the file is of no known kind or damaged.
    """
    arrays: Mapping[str, Values] = path.arrays if isinstance(path, Given) else arrays_of(path)
    return {name: values for name, values in arrays.items() if names is None or name in names}


def load_arrays(path: Source, names: Container[str] | None = None) -> dict[str, Array]:
    """The same in memory, or mapped from disk."""
    return {name: _held(values) for name, values in stored_arrays(path, names).items()}


def flat_arrays(path: Source, names: Container[str]) -> dict[str, Array]:
    """Those of `names` that hold one value a clip (N,): of arrays, a file of them, or WebDataset shards."""
    if is_tar(path):
        return {name: values for name, values in opened_shards(path).single.items() if name in names}
    return {name: _held(values) for name, values in stored_arrays(path, names).items() if values.ndim == 1}


def _held(values: Values) -> Array:
    return values[:] if isinstance(values, Kept | Member) else np.asarray(values)


def _chosen(path: Source, names: Sequence[str], there: Sequence[str], likely: Sequence[str], what: str) -> str:
    for name in names:
        if name in there:
            return name
    if len(likely) == 1:
        return likely[0]
    raise UserError(
        f"{path}: {what} not found: name the column {' or '.join(names[:2])}; it holds {', '.join(there) or 'nothing'}"
    )
