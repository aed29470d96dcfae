"""Who the clips are: labels, splits and ids, from the codes' own file or one beside it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import rows_by_track
from kinetoken.diagnosis.columns import load_arrays, open_parquet

LABEL_NAMES = ("class", "label", "labels", "classes", "target", "y")
SPLIT_NAMES = ("split", "subset", "fold")
ID_NAMES = ("track_id", "clip_id", "id")
MEANT = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
OUTSIDE = -1  # of a clip in none of the three splits
SHARES = (0.6, 0.15)  # of the clips drawn for train and val; the rest is test
VAL_OF_TRAIN = 0.2  # taken for val where a file has no such split


@dataclasses.dataclass
class Labels:
    """N clips: target (N,) into names, all 0 where there are none; split names (N,) or None; integer ids or None."""

    target: NDArray[np.int64]
    names: tuple[str, ...]
    split: np.ndarray | None
    track_id: NDArray[np.int64] | None
    missing: str = ""  # why there is nothing to read, or nothing

    def names_of(self, rows: NDArray[np.int64]) -> np.ndarray:
        """The rows' names (n,)."""
        return np.array(self.names or ("unlabelled",))[self.target[rows]]


def read_labels(path: Path, length: int | None = None) -> Labels:
    """Labels, splits and ids of a file's clips.

    Raises UserError if there are not `length` of them, and for empty labels.
    """
    columns = _columns(path)

    def first(names: tuple[str, ...]) -> Column | None:
        return next((columns[name] for name in names if name in columns), None)

    label, split, ids = first(LABEL_NAMES), first(SPLIT_NAMES), first(ID_NAMES)
    counts = {len(one[0]) for one in (label, split, ids) if one is not None}
    if length is not None and counts - {length}:
        raise UserError(f"{path}: {max(counts - {length})} labels, but the codes table has {length} rows")
    found = Labels(
        np.zeros(next(iter(counts), length or 0), np.int64), (), None if split is None else split[1][split[0]],
        None if ids is None else _whole(ids[1], ids[0]), "no labels were given",
    )
    if label is not None:
        found.target, found.names = label[0], tuple(str(value) for value in label[1])
        found.missing = f"all clips have one label ('{found.names[0]}')" if len(found.names) == 1 else ""
        if (empty := np.isin(found.names, ["", "None", "nan"])).any():
            row = int(np.argmax(np.isin(found.target, np.flatnonzero(empty))))
            raise UserError(f"{path}: row {row} has no label")
    return found


def labels_beside(own: Labels, path: Path, length: int) -> Labels:
    """The labels of a file of their own, matched by id where both files have ids, else row by row.

    Raises UserError if there are none, or not one for every clip.
    """
    other = read_labels(path)
    if not other.names:
        raise UserError(f"{path}: no labels: name the column class or label")
    rows = np.arange(length)
    if own.track_id is not None and other.track_id is not None:
        rows = rows_by_track(own.track_id, other.track_id, lambda track: (
            f"{path}: no label of clip {track}, which the codes table holds"
        ))
    elif len(other.target) != length:
        raise UserError(f"{path}: {len(other.target)} labels, but the codes table has {length} rows")
    split = own.split if other.split is None else other.split[rows]
    ids = own.track_id if own.track_id is not None or other.track_id is None else other.track_id[rows]
    return Labels(other.target[rows], other.names, split, ids, other.missing)


Column = tuple[NDArray[np.int64], np.ndarray]  # places (N,) among distinct sorted values


def _columns(path: Path) -> dict[str, Column]:
    """Columns of one value a clip, as places among their distinct values."""
    if path.suffix in (".csv", ".tsv"):
        import pandas as pd

        try:
            table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: not a readable CSV file: {str(error).splitlines()[0]}") from None
        return {str(name): _places(table[name].to_numpy()) for name in table}
    if path.suffix == ".parquet":
        return _parquet_columns(path)
    flat = {name: np.asarray(values) for name, values in load_arrays(path).items() if values.ndim == 1}
    return {"label" if path.suffix == ".npy" else name: _places(values) for name, values in flat.items()}


def _parquet_columns(path: Path) -> dict[str, Column]:
    """Names dictionary-encoded as they are read, so that ten million of them stay small; ids only if whole numbers."""
    import pyarrow as pa

    file = open_parquet(path)
    schema = file.schema_arrow
    columns = {}
    for name in (*LABEL_NAMES, *SPLIT_NAMES, *ID_NAMES):
        if name not in schema.names:
            continue
        if pa.types.is_integer(schema.field(name).type):
            parts = [batch.column(0) for batch in file.iter_batches(65536, columns=[name])]
            columns[name] = _places(pa.chunked_array(parts).to_numpy())
            continue
        if name in ID_NAMES:
            continue
        places: list[NDArray[np.int64]] = []
        known: dict[Any, int] = {}
        for batch in file.iter_batches(65536, columns=[name]):
            coded = batch.column(0).dictionary_encode()
            if coded.null_count:
                raise UserError(f"{path}: row {sum(map(len, places)) + int(np.argmax(coded.is_null()))} has no {name}")
            values = coded.dictionary.to_pylist()
            new = np.array([known.setdefault(value, len(known)) for value in values], np.int64)
            places.append(new[coded.indices.to_numpy()])
        values = np.array(list(known))
        order = np.argsort(values)
        columns[name] = (np.argsort(order)[np.concatenate(places)], values[order])
    return columns


def _places(values: np.ndarray) -> Column:
    distinct, place = np.unique(values, return_inverse=True)
    return place.astype(np.int64), distinct


def _whole(values: np.ndarray, place: NDArray[np.int64]) -> NDArray[np.int64] | None:
    return values.astype(np.int64)[place] if np.issubdtype(values.dtype, np.integer) else None


def split_clips(labels: Labels, length: int, seed: int) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Place of each clip's split in train, val, test (OUTSIDE: none), and what was assumed.

    The file's own splits where train and test are among them; a missing val is taken from train; else a draw,
    seeded and stratified by label.
    """
    if labels.split is not None:
        names, place = np.unique(labels.split, return_inverse=True)
        meant = np.array([MEANT.get(str(name).lower(), OUTSIDE) for name in names], np.int8)
        split = meant[place]
        if {0, 2} <= set(meant.tolist()):
            if 1 in meant:
                return split, ()
            train = np.flatnonzero(split == 0)
            drawn = _drawn(labels.target[train], (1 - VAL_OF_TRAIN, VAL_OF_TRAIN), seed)
            split[train[drawn == 1]] = 1
            return split, (f"No validation split is named: {VAL_OF_TRAIN:.0%} of train was drawn for it.",)
    split = _drawn(labels.target, SHARES, seed)
    shares = f"{SHARES[0]:.0%} train, {SHARES[1]:.0%} val, {1 - sum(SHARES):.0%} test"
    return split, (f"No splits of train and test are named: they were drawn by label, {shares}.",)


def _drawn(target: NDArray[np.int64], shares: tuple[float, float], seed: int) -> NDArray[np.int8]:
    """0, 1 or 2 for each clip (N,), in these shares of every class."""
    shuffled = np.random.default_rng(seed).permutation(len(target))
    order = shuffled[np.argsort(target[shuffled], kind="stable")]
    sizes = np.bincount(target)
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    within = (np.arange(len(target)) - start + 0.5) / np.repeat(sizes, sizes)
    split = np.empty(len(target), np.int8)
    split[order] = np.searchsorted(np.cumsum(shares), within, side="right")
    return split
