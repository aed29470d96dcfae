"""Tables of columns read batch by batch: Parquet files, folders of them, and Hugging Face dataset folders."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError
from kinetoken.diagnosis.formats import reading

if TYPE_CHECKING:
    import pyarrow as pa

READ_BYTES = 1 << 22  # of a Parquet file held at once
SPLIT = "split"  # the column that a dataset's folders of splits become


def is_dataset(path: Path) -> bool:
    """Is it a folder as `datasets` saves one, with or without splits, or one of Parquet files?"""
    if not path.is_dir() or path.suffix == ".zarr":
        return False
    return (path / "dataset_dict.json").exists() or any(any(path.glob(f"*{end}")) for end in (".arrow", ".parquet"))


@dataclasses.dataclass(frozen=True)
class Part:
    """One file of a table and the split that its folder names; empty if none."""

    path: Path
    split: str = ""


class StoredTable:
    """Rows of one or more files with the same columns."""

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self.path, self.parts = path, parts
        schemas = [_schema(part.path) for part in parts]
        for part, schema in zip(parts, schemas, strict=True):
            if schema.names != schemas[0].names or schema.types != schemas[0].types:
                raise UserError(f"{path}: {part.path.name} has other columns than {parts[0].path.name}")
        self.schema: pa.Schema = schemas[0]
        self._split = any(part.split for part in parts) and SPLIT not in self.schema.names
        self.names = [*self.schema.names, *([SPLIT] if self._split else [])]
        self.num_rows = sum(_rows(part.path) for part in parts)

    @property
    def metadata(self) -> dict[bytes, bytes]:
        return dict(self.schema.metadata or {})

    def type_of(self, name: str) -> "pa.DataType":
        """The type of a column's values."""
        import pyarrow as pa

        return pa.string() if self._split and name == SPLIT else self.schema.field(name).type

    def batches(self, name: str, count: int) -> Iterator["pa.Array"]:
        """One column in order, at most `count` rows at a time."""
        import pyarrow as pa

        for part in self.parts:
            with reading(part.path, "Parquet" if part.path.suffix == ".parquet" else "Arrow"):
                for batch in _batches(part.path, None if self._split and name == SPLIT else name, count):
                    yield pa.array([part.split] * len(batch)) if isinstance(batch, range) else batch


def open_table(path: Path) -> StoredTable:
    """The table opened so that memory holds little of it; UserError if it is missing or damaged."""
    if not path.is_dir():
        return StoredTable(path, [Part(path)])
    folders = [(path, "")]
    if (path / "dataset_dict.json").exists():
        folders = [(folder, folder.name) for folder in sorted(path.iterdir()) if folder.is_dir()]
    parts = [
        Part(file, split) for folder, split in folders for end in ("*.arrow", "*.parquet")
        for file in sorted(folder.glob(end)) if not file.name.startswith("cache-")
    ]
    if not parts:
        raise UserError(f"{path}: holds no Arrow or Parquet file")
    return StoredTable(path, parts)


def _parquet(path: Path) -> Any:  # noqa: ANN401 - pyarrow's ParquetFile
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path)
    try:
        return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not a Parquet file: {str(error).splitlines()[0]}") from None


def _stream(path: Path) -> Any:  # noqa: ANN401 - pyarrow's RecordBatchReader, or its batches
    """The batches of an Arrow file, mapped from disk: the stream that `datasets` writes, or the file format."""
    import pyarrow as pa

    require_file(path)
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = (file.get_batch(place) for place in range(file.num_record_batches))
        return pa.RecordBatchReader.from_batches(file.schema, batches)


def _schema(path: Path) -> "pa.Schema":
    if path.suffix == ".parquet":
        return _parquet(path).schema_arrow
    with reading(path, "Arrow"):
        return _stream(path).schema


def _rows(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    with reading(path, "Arrow"):
        return sum(len(batch) for batch in _stream(path))


def _batches(path: Path, name: str | None, count: int) -> Iterator[Any]:
    """Arrays of a column, or ranges as long where no column is asked for."""
    import pyarrow as pa

    if path.suffix == ".parquet":
        try:
            for batch in _parquet(path).iter_batches(count, columns=[] if name is None else [name]):
                yield range(batch.num_rows) if name is None else batch.column(0)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: damaged Parquet file: {str(error).splitlines()[0]}") from None
        return
    for batch in _stream(path):
        for start in range(0, len(batch), count):
            part = batch.slice(start, count)
            yield range(len(part)) if name is None else storage(part.column(part.schema.get_field_index(name)))


def storage(values: "pa.Array") -> "pa.Array":
    """The values under an extension type, such as `datasets`' arrays of several dimensions."""
    import pyarrow as pa

    return values.storage if isinstance(values, pa.ExtensionArray) else values
