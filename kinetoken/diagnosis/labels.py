"""Who the clips are: labels, splits and ids, from the codes' own file or one beside it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import Ids
from kinetoken.diagnosis.columns import Source, flat_arrays, is_table, is_text_table, read_csv
from kinetoken.diagnosis.joining import Rows, joined, read_id_columns
from kinetoken.diagnosis.tables import StoredTable, open_table

LABEL_NAMES = ("class", "label", "labels", "classes", "target", "y")
SPLIT_NAMES = ("split", "subset", "fold")
MEANT = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
LEAST_APART = 8  # clips with as many labels that are taken for ids
NAMELESS = "array"  # the name of an array in a file that gives it none
OUTSIDE = -1  # of a clip in none of the three splits
SHARES = (0.6, 0.15)  # of the clips drawn for train and val; the rest is test
VAL_OF_TRAIN = 0.2  # taken for val where a file has no such split


@dataclasses.dataclass
class Labels:
    """N clips: target (N,) into names, all 0 where there are none; split names (N,) or None; columns of ids (N,)."""

    target: NDArray[np.int64]
    names: tuple[str, ...]
    split: np.ndarray | None
    ids: Mapping[str, Ids]
    missing: str = ""  # why there is nothing to read, or nothing
    notes: tuple[str, ...] = ()  # what was assumed to join them to the codes

    def names_of(self, rows: NDArray[np.int64]) -> np.ndarray:
        """The rows' names (n,)."""
        return np.array(self.names or ("unlabelled",))[self.target[rows]]


def read_labels(path: Source, length: int | None = None) -> Labels:
    """Labels, splits and ids of a file's clips.

    Raises UserError if there are not `length` of them, for columns of different length, and for empty labels.
    """
    columns, ids = _columns(path), read_id_columns(path)
    label, split = (next((name for name in names if name in columns), "") for names in (LABEL_NAMES, SPLIT_NAMES))
    counts = {name: len(columns[name][0]) for name in (label, split) if name}
    counts |= {name: len(values) for name, values in ids.items()}
    _require_length(path, counts, length)
    found = Labels(
        np.zeros(next(iter(counts.values()), length or 0), np.int64), (),
        columns[split][1][columns[split][0]] if split else None, ids, "no labels were given",
    )
    if label:
        found.target, values = columns[label]
        found.names = tuple(str(value) for value in values)
        found.missing = _alike(found.names)
        if len(found.names) == len(found.target) >= LEAST_APART:
            raise UserError(
                f"{path}: every clip has a label of its own in '{label}'; labels name classes that clips share (for "
                "ids, name the column clip_id; put measured values into a few ranges first)"
            )
        if (empty := np.isin(found.names, ["", "None", "nan"])).any():
            row = int(np.argmax(np.isin(found.target, np.flatnonzero(empty))))
            raise UserError(f"{path}: row {row} has no label")
    return found


def _alike(names: tuple[str, ...]) -> str:
    """Why labels of these names tell nothing, or nothing."""
    return f"all clips have one label ('{names[0]}')" if len(names) == 1 else ""


def _require_length(path: Source, counts: Mapping[str, int], length: int | None) -> None:
    """UserError for a column that has not as many values as the codes table has rows, or as the first column."""
    for name, count in counts.items():
        if length is not None and count != length:
            raise UserError(f"{path}: {count} values in '{name}', but the codes table has {length} rows")
        if count != (first := next(iter(counts.values()))):
            raise UserError(f"{path}: {count} values in '{name}', but {first} in '{next(iter(counts))}'")


def labels_beside(own: Labels, codes: Source, path: Source) -> Labels:
    """The labels of a file of their own in the order of the codes, whose own labels and ids are given.

    Raises UserError if there are none, or not one for every clip.
    """
    other = read_labels(path)
    if not other.names:
        raise UserError(f"{path}: no labels: name the column class or label")
    join = joined(Rows(codes, len(own.target), "codes", own.ids), Rows(path, len(other.target), "labels", other.ids))
    split = own.split if other.split is None else other.split[join.rows]
    ids = own.ids or {name: values[join.rows] for name, values in other.ids.items()}
    used, target = np.unique(other.target[join.rows], return_inverse=True)  # not those of rows that were left out
    names = tuple(other.names[place] for place in used)
    return Labels(target.astype(np.int64), names, split, ids, _alike(names), (join.note,) if join.note else ())


Column = tuple[NDArray[np.int64], np.ndarray]  # places (N,) among distinct sorted values


def _columns(path: Source) -> dict[str, Column]:
    """Labels and splits, one value a clip, as places among their distinct values."""
    wanted = (*LABEL_NAMES, *SPLIT_NAMES)
    if is_text_table(path):
        table = read_csv(path)
        return {name: _places(table[name].to_numpy()) for name in wanted if name in table}
    if is_table(path):
        return _table_columns(path)
    flat = flat_arrays(path, (*wanted, NAMELESS))
    if NAMELESS in flat and not any(name in flat for name in LABEL_NAMES):
        flat["label"] = flat[NAMELESS]
    return {name: _places(values) for name, values in flat.items() if name != NAMELESS}


def _table_columns(path: Path) -> dict[str, Column]:
    """Names dictionary-encoded as they are read, so that ten million of them stay small."""
    import pyarrow as pa

    table = open_table(path)
    columns = {}
    for name in (*LABEL_NAMES, *SPLIT_NAMES):
        if name not in table.names:
            continue
        kind = table.type_of(name)
        if pa.types.is_nested(kind):
            raise UserError(f"{path}: column '{name}' holds {_short(kind)}; a clip needs one {name}, text or a number")
        places: list[NDArray[np.int64]] = []
        known: dict[Any, int] = {}
        for batch in table.batches(name, 65536):
            coded = batch if pa.types.is_dictionary(batch.type) else batch.dictionary_encode()
            if coded.null_count:
                raise UserError(f"{path}: row {sum(map(len, places)) + int(np.argmax(coded.is_null()))} has no {name}")
            values = coded.dictionary.to_pylist()
            new = np.array([known.setdefault(value, len(known)) for value in values], np.int64)
            places.append(new[coded.indices.to_numpy()] if len(coded) else np.empty(0, np.int64))
        values = np.array(list(known))
        order = np.argsort(values)
        named = _class_names(table, name)
        shown = values[order]
        if named and pa.types.is_integer(kind) and len(shown) and 0 <= shown.min() and shown.max() < len(named):
            shown = np.array([named[value] for value in shown.tolist()])
        columns[name] = (np.argsort(order)[np.concatenate(places)], shown)
    return columns


def _short(kind: object) -> str:
    text = str(kind)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _class_names(table: StoredTable, name: str) -> list[str]:
    """The names that a Hugging Face dataset gives the numbers of a column; empty if it gives none."""
    try:
        features = json.loads(table.metadata[b"huggingface"])["info"]["features"]
        return [str(each) for each in features[name]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _places(values: np.ndarray) -> Column:
    """Places of values among the distinct ones, in order."""
    distinct, place = np.unique(values, return_inverse=True)
    return place.astype(np.int64), distinct


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
