"""Which rows of a file beside the codes belong to which codes: by ids of any type, else by their order, said aloud."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import Ids, alike, any_ids, rows_by_track
from kinetoken.diagnosis.columns import Source, flat_arrays, is_table, is_text_table, read_csv
from kinetoken.diagnosis.tables import open_table

if TYPE_CHECKING:
    import pyarrow as pa

ID_NAMES = ("track_id", "clip_id", "video_id", "sample_id", "id")
NAMED = 3  # ids that a message names before it says "…"
BATCH_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Rows:
    """N rows of a file or of arrays: what they are ("labels"), and their ids by column, in the order of ID_NAMES."""

    path: Source
    length: int
    what: str
    ids: Mapping[str, Ids] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Join:
    """The row of the other file (N,) for each of the codes, and what was assumed to find it; empty if nothing."""

    rows: NDArray[np.int64]
    note: str = ""


def read_rows(path: Source, length: int, what: str) -> Rows:
    """The ids of a file's `length` rows. UserError for a column of ids of another length."""
    ids = read_id_columns(path)
    for name, values in ids.items():
        if len(values) != length:
            raise UserError(f"{path}: {len(values)} values in '{name}', but {length} {what}")
    return Rows(path, length, what, ids)


def read_id_columns(path: Source) -> dict[str, Ids]:
    """The columns of ID_NAMES that a file or some arrays have, in that order, as `any_ids`."""
    if is_text_table(path):
        table = read_csv(path, dtype=str, usecols=lambda name: name in ID_NAMES)  # as text, so that 007 stays 007
        found = {str(name): table[name].to_numpy() for name in table}
    elif is_table(path):
        found = _table_ids(path)
    else:
        found = flat_arrays(path, ID_NAMES)
    return {name: any_ids(found[name]) for name in ID_NAMES if name in found}


def _table_ids(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa

    table = open_table(path)
    found = {}
    for name in set(ID_NAMES) & set(table.names):
        if not pa.types.is_nested(table.type_of(name)):
            parts = [_values(batch) for batch in table.batches(name, BATCH_ROWS)]
            found[name] = np.concatenate([np.empty(0, parts[0].dtype) if parts else np.empty(0, np.int64), *parts])
    return found


def _values(column: "pa.Array") -> np.ndarray:
    """A part of a Parquet column: numbers, or text in which missing values are empty."""
    import pyarrow as pa

    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    return np.array(["" if value is None else value for value in column.to_pylist()], object)


def joined(codes: Rows, other: Rows) -> Join:
    """Rows of another file for the codes: by the first column of ids that both have, else by row order.

    Columns of different names count as the same where they have ids in common. Raises UserError for codes whose id
    the other file lacks, ids that stand twice, files of different length without ids in common, and ids that number
    the rows in another order than they stand in.
    """
    shared = next((name for name in codes.ids if name in other.ids), None)
    if shared is not None:
        return _by_id(codes, other, (shared, shared))
    pairs = [(mine, theirs) for mine in codes.ids for theirs in other.ids]
    common = {pair: int(np.isin(*alike(codes.ids[pair[0]], other.ids[pair[1]])).sum()) for pair in pairs}
    if any(common.values()):
        return _by_id(codes, other, max(pairs, key=common.__getitem__))
    return _by_order(codes, other)


def _by_id(codes: Rows, other: Rows, names: tuple[str, str]) -> Join:
    ours, theirs = alike(codes.ids[names[0]], other.ids[names[1]])
    if np.array_equal(ours, theirs):
        return Join(np.arange(codes.length), _said(codes, other, names))
    _require_apart(codes.path, names[0], ours)
    _require_apart(other.path, names[1], theirs)
    missing = ours[~np.isin(ours, theirs)]
    if missing.size:
        named = ", ".join(map(str, missing[:NAMED].tolist())) + (", …" if missing.size > NAMED else "")
        cure = "" if names[0] == names[1] else f"; its {names[1]} has the other ids (if only by chance, leave it out)"
        raise UserError(
            f"{other.path}: no {other.what} for {names[0]} {named}: {missing.size} of the {codes.length} clips of "
            f"{codes.path}{cure}"
        )
    return Join(rows_by_track(ours, theirs), _said(codes, other, names))


def _said(codes: Rows, other: Rows, names: tuple[str, str]) -> str:
    """What of a join by ids is not plain: other names of the columns, rows that no codes belong to."""
    said = []
    if names[0] != names[1]:
        said.append(f"`{names[1]}` of {other.path.name} is matched with `{names[0]}` of {codes.path.name}: same ids.")
    if spare := other.length - codes.length:
        said.append(
            f"{spare} of the {other.length} {other.what} of {other.path.name} belong to no clip of {codes.path.name} "
            "and were left out."
        )
    return " ".join(said)


def _require_apart(path: Source, name: str, ids: Ids) -> None:
    """UserError for the first row without an id, and for an id that stands twice."""
    if ids.dtype.kind == "U" and (empty := ids == "").any():
        raise UserError(f"{path}: row {int(np.argmax(empty))} has no {name}")
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if again.size:
        first, second = order[again[0] : again[0] + 2]
        raise UserError(
            f"{path}: {name} {ids[first]} is in rows {first} and {second}; give each row an id of its own, or "
            "leave the column out of one file to have rows joined in order"
        )


def _by_order(codes: Rows, other: Rows) -> Join:
    if other.length != codes.length:
        raise UserError(
            f"{other.path}: {other.length} {other.what}, but the codes table has {codes.length} rows"
            f"{_unmatched(codes, other)}"
        )
    for one, its in ((codes, other), (other, codes)):
        for name, ids in one.ids.items():
            if not its.ids and _numbers_rows(ids):
                raise UserError(
                    f"{one.path}: {name} numbers its {one.length} rows in another order, and {its.path} has no ids: "
                    f"give both files a column {name}, or leave it out to have rows joined in order"
                )
    return Join(
        np.arange(codes.length),
        f"The {other.what} of {other.path.name} were joined by row order: {_reason(codes, other)}.",
    )


def _unmatched(codes: Rows, other: Rows) -> str:
    """The end of a sentence on files of different length: why their rows cannot be matched."""
    for one, its in ((codes, other), (other, codes)):
        if its.ids and not one.ids:
            return f", and {one.path} has no {' or '.join(its.ids)} to match them by"
    return ", and their ids have none in common" if codes.ids else ""


def _numbers_rows(ids: Ids) -> bool:
    """Do the ids count the rows from 0 or 1, but not in their order?"""
    if ids.dtype.kind == "U" or (np.diff(ids) > 0).all():
        return False
    return bool((np.sort(ids) - ids.min() == np.arange(len(ids))).all() and ids.min() in (0, 1))


def _reason(codes: Rows, other: Rows) -> str:
    if codes.ids and other.ids:
        return f"`{next(iter(codes.ids))}` and `{next(iter(other.ids))}` have no id in common"
    if not codes.ids and not other.ids:
        return "neither file has ids"
    return f"{(other if codes.ids else codes).path.name} has no ids"
