"""The codes table: one row of token indices a clip, and what is needed to read them.

Columns track_id, class, split, codes (fixed-size list of int32, row-major over the grid); the schema
metadata holds one JSON value: grid [T', H', W'], codebook_size, quantizer, levels, and the hash of the
tokenizer that made them.
"""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.artifacts import read_about, read_table
from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive, Range, build
from kinetoken.core.per_track import PerTrack, id_column, read_ids, read_names

if TYPE_CHECKING:
    import pyarrow as pa

Indices = NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class CodesMeta:
    """How to read the indices.

    >>> import kinetoken
    >>> meta = kinetoken.CodesMeta(grid=(4, 8, 8), codebook_size=1024, quantizer="vq", levels=(), tokenizer="")
    >>> meta.codebook_size
    1024
    """

    grid: tuple[Positive, Positive, Positive]  # time slices, rows, columns
    codebook_size: Annotated[int, Range(ge=1, le=2**31)]  # codes are stored as int32
    quantizer: str
    levels: tuple[int, ...]  # of FSQ; empty for quantizers without
    tokenizer: str  # hash of the model folder

    def require_same_tokenizer(self, other: str, codes: object, model: object) -> None:
        """UserError unless `other` is the hash of the tokenizer that made these codes; both paths are named."""
        if self.tokenizer != other:
            raise UserError(
                f"{codes}: made by tokenizer {self.tokenizer[:12]}, but {model} belongs to {other[:12]}; "
                "run extract_codes and what follows again"
            )


@dataclasses.dataclass
class CodesTable(PerTrack):
    """N clips' codes in order: codes (N, T', H', W') int32.

    >>> import kinetoken
    >>> table = kinetoken.read_codes("data/motion/codes.parquet")
    >>> test = table.of_split("test")
    >>> test.codes.shape == (len(test), 4, 8, 8)
    True
    """

    track_id: NDArray[np.int32]
    label: np.ndarray
    split: np.ndarray
    codes: Indices
    meta: CodesMeta

    def take(self, rows: np.ndarray) -> "CodesTable":
        return CodesTable(self.track_id[rows], self.label[rows], self.split[rows], self.codes[rows], self.meta)

    def of_split(self, *splits: str) -> "CodesTable":
        """The clips of the splits, in order; UserError naming the first split that is empty."""
        for split in splits:
            if not (self.split == split).any():
                raise UserError(f"codes table: split '{split}' is empty")
        return self.take(np.flatnonzero(np.isin(self.split, splits)))


def write_codes(path: Path, meta: CodesMeta, parts: Iterable[CodesTable]) -> None:
    """Stream the parts into one table, a row group each.

    Raises ValueError for indices outside the codebook, UserError for ids that the table cannot hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = int(np.prod(meta.grid))
    schema = pa.schema(
        [("track_id", pa.int32()), ("class", pa.string()), ("split", pa.string()),
         ("codes", pa.list_(pa.int32(), width))],
        metadata={"codes": json.dumps(dataclasses.asdict(meta), sort_keys=True)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    start = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as sink:
        for part in parts:
            flat = part.codes.reshape(len(part), width)
            if flat.min() < 0 or flat.max() >= meta.codebook_size:
                raise ValueError(f"codes {flat.min()}…{flat.max()} outside a codebook of {meta.codebook_size}")
            values = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel(), pa.int32()), width)
            columns = [id_column(path, part.track_id, start), part.label.tolist(), part.split.tolist(), values]
            sink.write_table(pa.table(columns, schema=schema))
            start += len(part)


def read_codes(path: Path) -> CodesTable:
    """The table; UserError if it is damaged, is no codes table, or its indices do not fit its metadata."""
    table = read_table(path)
    meta = _read_meta(path, table)
    codes = _read_indices(path, table, meta)
    if len(codes) and (codes.min() < 0 or codes.max() >= meta.codebook_size):
        row = int(np.flatnonzero(((codes < 0) | (codes >= meta.codebook_size)).any((1, 2, 3)))[0])
        raise UserError(f"{path}: row {row}: a code outside the codebook of {meta.codebook_size}")
    return CodesTable(
        read_ids(path, table), read_names(path, table, "class"), read_names(path, table, "split"), codes, meta,
    )


def _read_indices(path: Path, table: "pa.Table", meta: CodesMeta) -> Indices:
    """(N, T', H', W') of the column of lists. UserError for a column of another kind, and for rows that are missing."""
    import pyarrow as pa

    width = math.prod(meta.grid)
    column = table["codes"].combine_chunks()
    if getattr(column.type, "list_size", None) != width:
        raise UserError(f"{path}: column 'codes' is {column.type}, but the grid {list(meta.grid)} needs {width} a row")
    if not pa.types.is_integer(column.type.value_type):
        raise UserError(f"{path}: column 'codes' is {column.type}; codes are whole numbers")
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise UserError(f"{path}: column 'codes' has missing values")
    codes: Indices = flat.to_numpy().reshape(-1, *meta.grid)
    return codes


def _read_meta(path: Path, table: "pa.Table") -> CodesMeta:
    if b"codes" not in (table.schema.metadata or {}) or "codes" not in table.column_names:
        raise UserError(f"{path}: not a codes table of Kinetoken (no 'codes' column or metadata)")
    return build(CodesMeta, read_about(path, table, "codes"), f"{path}: metadata 'codes'")
