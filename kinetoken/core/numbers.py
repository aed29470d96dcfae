"""The numbers of a stage: all of them in one table, the headlines in a short file and in a folder for DVC.

`dvc metrics show` prints a row a file and a column for every key that any file has, so a stage gives it a folder of
small files, one a headline, that all have the same few keys::

    metrics/<stage>.json            at most 25 headline numbers under their contract names, for programs
    metrics/<stage>/<name>.json     one headline: value, baseline, upper_bound, ci95_low, ci95_high, for dvc metrics
    plots/<stage>/numbers.csv       every number: a row each, the same five columns
"""

import csv
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from kinetoken.core.absence import why_absent
from kinetoken.core.artifacts import checked_numbers, write_json
from kinetoken.core.errors import UserError

Number = int | float
Place = tuple[str, ...]  # the keys of a number in nested metrics, from the outside in

MOST = 25  # numbers in a short file
BESIDE = {"_floor": "baseline", "_ceiling": "upper_bound", "_ci95_low": "ci95_low", "_ci95_high": "ci95_high"}
COLUMNS = ("value", *BESIDE.values())
LONGEST_FILE_NAME = 200  # characters of a headline's file name before its ending
PLAIN = " ,;+()'"  # stay as they are in a headline's file name, as do letters, digits and -._~


class NumberPaths(Protocol):
    """The three outputs in which a stage leaves its numbers."""

    @property
    def metrics(self) -> Path: ...

    @property
    def headlines(self) -> Path: ...

    @property
    def numbers(self) -> Path: ...


@dataclass(frozen=True)
class Headlines:
    """Which numbers of a stage are its headlines: dotted names, the most important first.

    A name with a star (`per_class.*`) stands for all that fit it. There are as many of them as the data have classes:
    where the short file has no room for all, it holds none.
    """

    required: tuple[str, ...]  # in every run
    further: tuple[str, ...] = ()  # in the runs that have them, as far as there is room
    bounded: tuple[str, ...] = ()  # whose baseline, upper bound and interval the short file holds too, if there is room

    def chosen(self, places: Mapping[str, Place]) -> set[str]:
        """The names of the short file, of all dotted names with their places.

        Raises ValueError naming a required one that is not among them, or if they are more than `MOST`.
        """
        beside = _beside(places)
        fitting = {name: _fitting(name, places, beside) for name in (*self.required, *self.further)}
        if missing := [name for name in self.required if not fitting[name]]:
            raise ValueError(f"headline {missing[0]} is missing: no such number was measured")
        names = {name for name in self.required if "*" not in name}
        if len(names) > MOST:
            raise ValueError(f"{len(names)} headline numbers are required, {MOST} are the most")
        names = _with_room(names, fitting.values())
        ends = ({end for end, (base, _) in beside.items() if base == name} for name in self.bounded if name in names)
        return _with_room(names, ends)


def write_numbers(paths: NumberPaths, metrics: Mapping[str, Any], headlines: Headlines) -> None:
    """Leave nested metrics as table, short file and folder of headlines; the same bytes for the same numbers.

    Raises ValueError naming the key of what is no finite number, a required headline that is missing, or more
    required ones than `MOST`.
    """
    named = _named(metrics)
    chosen = headlines.chosen({name: place for name, (place, _) in named.items()})
    rows = _rows(named)
    _write_table(paths.numbers, rows)
    write_json(paths.metrics, _nested(named[name] for name in chosen))
    paths.headlines.mkdir(parents=True, exist_ok=True)
    for name in chosen & rows.keys():
        write_json(paths.headlines / f"{_file_name(name)}.json", rows[name])


def _file_name(name: str) -> str:
    """The name as a file's, cut where it is too long for one, as that of a class can be; then a hash tells it apart."""
    quoted = quote(name, safe=PLAIN)
    if len(quoted) <= LONGEST_FILE_NAME:
        return quoted
    return f"{quoted[:LONGEST_FILE_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_numbers_table(path: Path, metrics: Mapping[str, Any]) -> None:
    """The table alone, of nested metrics; ValueError naming the key of what is no finite number."""
    _write_table(path, _rows(_named(metrics)))


def read_numbers(path: Path) -> dict[str, float]:
    """Dotted name → number, all that `write_numbers` was given, from the table; none of one that says why it is empty.

    Raises UserError naming the file, and the line or the name, if there is none or it is damaged.
    """
    numbers: dict[str, float] = {}
    if why_absent(path) is not None:
        return numbers
    for base, *cells in _read_rows(path):
        for end, text in zip(("", *BESIDE), cells, strict=True):
            if text and base + end in numbers:
                raise UserError(f"{path}: '{base}{end}' is there twice")
            if text:
                numbers[base + end] = _number(text, f"{path}: '{base}{end}'")
    return numbers


def _named(metrics: Mapping[str, Any]) -> dict[str, tuple[Place, Number]]:
    """Dotted name → place and number, in the order of a sorted JSON file; ValueError for two of one name."""
    named: dict[str, tuple[Place, Number]] = {}
    for place, number in sorted(_leaves(checked_numbers(metrics))):
        name = ".".join(place)
        if name in named:
            raise ValueError(f"metric {name} is there twice")
        named[name] = place, number
    return named


def _leaves(node: Mapping[str, Any], where: Place = ()) -> Iterator[tuple[Place, Number]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*where, key))
        else:
            yield (*where, key), value


def _nested(leaves: Iterable[tuple[Place, Number]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for place, number in leaves:
        node = tree
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = number
    return tree


def _beside(names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Name of a bound or an end of an interval → the number that it belongs to, and its column."""
    found: dict[str, tuple[str, str]] = {}
    for name in sorted(names, key=len):  # a base before all that stands beside it
        for end, column in BESIDE.items():
            base = name.removesuffix(end)
            if base != name and base in names and base not in found:
                found[name] = base, column
    return found


def _fitting(wanted: str, places: Mapping[str, Place], beside: Collection[str]) -> set[str]:
    """The name itself if it is there; of one with a star all at its depth that fit, but no bounds."""
    if "*" not in wanted:
        return {wanted} & places.keys()
    parts = wanted.split(".")
    return {
        name for name, place in places.items()
        if name not in beside and len(place) == len(parts) and all(map(fnmatchcase, place, parts))
    }


def _with_room(names: set[str], groups: Iterable[set[str]]) -> set[str]:
    """The names, and each group that still goes with them into a short file."""
    for group in groups:
        if len(names | group) <= MOST:
            names = names | group
    return names


def _rows(named: Mapping[str, tuple[Place, Number]]) -> dict[str, dict[str, Number]]:
    """Name → column → number. A bound whose number is not there has a row of its own."""
    beside = _beside(named)
    rows: dict[str, dict[str, Number]] = {name: {"value": named[name][1]} for name in named if name not in beside}
    for name, (base, column) in beside.items():
        rows[base][column] = named[name][1]
    return rows


def _write_table(path: Path, rows: Mapping[str, Mapping[str, Number]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as sink:
        table = csv.writer(sink, lineterminator="\n")
        table.writerow(("name", *COLUMNS))
        for name, row in rows.items():
            table.writerow((name, *(json.dumps(row[column]) if column in row else "" for column in COLUMNS)))


def _read_rows(path: Path) -> Iterator[list[str]]:
    """Rows as text, each with its name and a cell for each of `COLUMNS`."""
    try:
        with path.open(encoding="utf-8", newline="") as source:
            table = csv.reader(source, strict=True)
            if next(table, None) != ["name", *COLUMNS]:
                raise UserError(f"{path}: not a table of numbers: its columns must be name, {', '.join(COLUMNS)}")
            for row in table:
                if len(row) != 1 + len(COLUMNS):
                    raise UserError(f"{path}: line {table.line_num}: {len(row)} cells, expected {1 + len(COLUMNS)}")
                yield row
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers: {' '.join(str(error).split())}") from None


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where} is not a number: {text!r}")
    return number
