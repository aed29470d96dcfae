"""A user's arrays, one row a clip, read batch by batch from Parquet, NPY or NPZ, or given in memory.

Every fault names the file, or the array, and the row.
"""

import abc
import dataclasses
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = NDArray[Any]

BATCH_ROWS = 2048
READ_BYTES = 1 << 22  # of a Parquet file held at once


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


def is_parquet(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix == ".parquet"


def is_text_table(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix in (".csv", ".tsv")


class Column(abc.ABC):
    """N rows of equal shape."""

    def __init__(self, path: Source, length: int) -> None:
        self.path, self._length = path, length

    def __len__(self) -> int:
        return self._length

    @abc.abstractmethod
    def batches(self) -> Iterator[Array]:
        """Arrays (n, ...) of rows in order. Raises UserError for rows of different shape and missing values."""

    def take(self, rows: NDArray[np.int64]) -> Array:
        """The rows (n, ...) at these places, in any order; one batch in memory at a time."""
        parts, start = [], 0
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        for batch in self.batches():
            first, last = np.searchsorted(ascending, [start, start + len(batch)])
            parts.append(np.array(batch[ascending[first:last] - start]))
            start += len(batch)
        found = np.concatenate(parts)
        return found if (np.diff(order) > 0).all() else found[np.argsort(order)]


class InMemory(Column):
    """Rows of an array, which may be mapped from disk."""

    def __init__(self, path: Source, values: Array) -> None:
        super().__init__(path, len(values))
        self.values = values

    def batches(self) -> Iterator[Array]:
        for start in range(0, len(self.values), BATCH_ROWS):
            yield np.asarray(self.values[start : start + BATCH_ROWS])

    def take(self, rows: NDArray[np.int64]) -> Array:
        return np.asarray(self.values[rows])


class ListColumn(Column):
    """A list column, nested to any depth, of a Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, open_parquet(path).metadata.num_rows)
        self.file, self.name = path, name

    def batches(self) -> Iterator[Array]:
        import pyarrow as pa

        start, shape = 0, None
        try:
            for batch in open_parquet(self.file).iter_batches(BATCH_ROWS, columns=[self.name]):
                values = _unnested(batch.column(0), f"{self.path}: column '{self.name}'", start)
                if shape not in (None, values.shape[1:]):
                    raise UserError(f"{self.path}: ragged rows: shapes {shape} and {values.shape[1:]} at row {start}")
                start, shape = start + len(values), values.shape[1:]
                yield values
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path}: damaged Parquet file: {str(error).splitlines()[0]}") from None


def open_parquet(path: Path) -> Any:  # noqa: ANN401 - pyarrow's ParquetFile
    """The file opened so that memory holds little of it; UserError if it is missing or no Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged or not a Parquet file: {str(error).splitlines()[0]}") from None


def _unnested(values: "pa.Array", where: str, start: int) -> Array:
    """(n, a, b, ...) from lists of lists of numbers; `start` is the first row's number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape, rows = [len(values)], max(len(values), 1)

    def row_of(place: int) -> int:
        return start + place * rows // max(int(np.prod(shape)), 1)

    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type) \
            or pa.types.is_fixed_size_list(values.type):
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
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise UserError(f"{where}: holds {values.type}, not numbers")
    return np.asarray(values.to_numpy(zero_copy_only=False).reshape(shape))


def open_column(path: Source, names: Sequence[str], what: str) -> Column:
    """The rows of a file or of arrays: the first of `names` that it has, or the only one that can be meant.

    Raises UserError naming what there is if none or several could be meant.
    """
    if is_parquet(path):
        schema = open_parquet(path).schema_arrow
        lists = [field.name for field in schema if "list" in str(field.type)]
        return ListColumn(path, _chosen(path, names, schema.names, lists, what))
    arrays = load_arrays(path)
    wide = [name for name, values in arrays.items() if values.ndim >= 2]
    values = arrays[_chosen(path, names, list(arrays), wide, what)]
    if values.ndim < 2 or not np.issubdtype(values.dtype, np.number):
        raise UserError(f"{path}: {what}: expected numbers with one row a clip, found {values.dtype} {values.shape}")
    return InMemory(path, values)


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":  # noqa: ANN401 - pandas' own
    """A table with commas, or tabs if its name ends so; empty fields are empty text. UserError if it is none."""
    import pandas as pd

    try:
        separator = "\t" if path.suffix == ".tsv" else ","
        return pd.DataFrame(pd.read_csv(path, sep=separator, keep_default_na=False, **options))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable CSV file: {str(error).splitlines()[0]}") from None


def load_arrays(path: Source, names: Container[str] | None = None) -> dict[str, Array]:
    """The arrays given, or those of an NPY (mapped, named `array`) or NPZ file, by name: all, or those of the `names`.

    UserError if a file is neither, or holds Python objects.
    """
    if isinstance(path, Given):
        return {name: values for name, values in path.arrays.items() if names is None or name in names}
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"array": found} if isinstance(found, np.ndarray) else found
        return {name: arrays[name] for name in arrays if names is None or name in names}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise UserError(f"{path}: holds Python objects (rows of different length?), not a plain array") from None
        raise UserError(f"{path}: not a readable NPY or NPZ file: {error}") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: not a readable NPY or NPZ file: {error}") from None


def _chosen(path: Source, names: Sequence[str], there: Sequence[str], likely: Sequence[str], what: str) -> str:
    for name in names:
        if name in there:
            return name
    if len(likely) == 1:
        return likely[0]
    raise UserError(
        f"{path}: {what} not found: name the column {' or '.join(names[:2])}; it holds {', '.join(there) or 'nothing'}"
    )
