"""What is looked at rather than read: confusion matrices, curves and pictures of two revisions, where they differ."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kinetoken.charts.parts import Confusion, Figure
from kinetoken.charts.pictures import Picture, picture
from kinetoken.charts.svg import Series, line_chart
from kinetoken.comparison.revisions import Revision
from kinetoken.core.errors import UserError

Row = dict[str, str]
MOST_FIGURES = 3  # of one table of a training: the loss and its first validation numbers
COLOURS = 8


@dataclass(frozen=True)
class Lines:
    """How a table is drawn as lines: y over x, one line for each value of the columns `by` that the table has."""

    x: str
    by: tuple[str, ...]
    y: tuple[str, ...] = ()  # none: the loss and the validation numbers
    x_title: str = ""


LINES = {  # the table's name → how it is drawn; rows of single classes are left out where there are some of all
    "curves.csv": Lines("epoch", ("model",)),
    "prefix.csv": Lines("slices", ("pooling",), ("accuracy",), "time slices read"),
    "reliability.csv": Lines("confidence", (), ("accuracy",)),
    "error_by_frame.csv": Lines("frame", ("split",), ("error_px",)),
    "horizon.csv": Lines("step", ("model",), ("centroid_error_px",), "frames ahead"),
    "forecast.csv": Lines("step", ("forecast",), ("mae_percent",), "frames ahead"),
}


@dataclass(frozen=True)
class Pair:
    """Something of both revisions; None where one lacks it."""

    title: str
    a: object
    b: object


@dataclass(frozen=True)
class ConfusionPair(Pair):
    a: Confusion | None
    b: Confusion | None


@dataclass(frozen=True)
class PicturePair(Pair):
    a: Picture | None
    b: Picture | None


def confusions(a: Revision, b: Revision) -> list[ConfusionPair]:
    """The confusion matrices whose counts differ."""
    pairs = []
    for name in _changed(a, b, "plots/*/*.csv"):
        if name.endswith(("/confusion.csv", "/forms.csv")):
            counted = [_confusion(each, name) for each in (a, b)]
            if counted[0] != counted[1]:
                pairs.append(ConfusionPair(name, *counted))
    return pairs


def curves(a: Revision, b: Revision) -> list[Figure]:
    """The curves that differ, those of both revisions in one chart: A dashed, B solid, in the same colour."""
    figures = []
    for name in _changed(a, b, "plots/*/*.csv"):
        stage, file = name.split("/")[1:]
        if file in LINES:
            tables = [_rows(each, name) for each in (a, b)]
            figures += _drawn(stage, file, LINES[file], tables, (a.name, b.name))
    return figures


def pictures(a: Revision, b: Revision) -> list[PicturePair]:
    """The pictures in git that differ, reduced for the page."""
    return [
        PicturePair(name, *(_picture(each, name) for each in (a, b))) for name in _changed(a, b, "plots/*/*.png")
    ]


def _changed(a: Revision, b: Revision, pattern: str) -> list[str]:
    names = a.names(pattern) | b.names(pattern)
    return [name for name in sorted(names) if _bytes(a, name) != _bytes(b, name)]


def _bytes(revision: Revision, name: str) -> bytes | None:
    path = revision.path(name)
    return path.read_bytes() if path.is_file() else None


def _picture(revision: Revision, name: str) -> Picture | None:
    if not revision.path(name).is_file():
        return None
    with revision.naming():
        return picture(revision.path(name), revision.name, name)


def _rows(revision: Revision, name: str) -> list[Row]:
    """The rows of a CSV table; none if the revision has no such table. UserError naming one that is damaged."""
    path = revision.path(name)
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as source:
            rows = list(csv.DictReader(source, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{revision.name}: {name}: not a CSV table: {' '.join(str(error).split())}") from None
    if any(None in row or None in row.values() for row in rows):
        raise UserError(f"{revision.name}: {name}: a row has more or fewer cells than the first line has names")
    return rows


def _confusion(revision: Revision, name: str) -> Confusion | None:
    rows = _rows(revision, name)
    if not rows:
        return None
    if absent := [column for column in ("actual", "predicted") if column not in rows[0]]:
        raise UserError(f"{revision.name}: {name}: no column '{absent[0]}'; it has {', '.join(rows[0])}")
    found = Counter((row["actual"], row["predicted"]) for row in rows)
    actual = sorted({one for one, _ in found})
    classes = [*actual, *sorted({one for _, one in found} - set(actual))]
    counts = [[found[row, column] for column in classes] for row in actual]
    return Confusion(classes, counts, [[n / max(sum(row), 1) for n in row] for row in counts])


def _drawn(stage: str, file: str, how: Lines, tables: Sequence[list[Row]], names: tuple[str, str]) -> list[Figure]:
    columns = list(dict.fromkeys(column for table in tables for row in table[:1] for column in row))
    wanted = how.y or [column for column in columns if column == "loss" or column.startswith("val")][:MOST_FIGURES]
    figures = []
    for y in (column for column in wanted if column in columns):
        lines = _lines(how, y, tables, names)
        values = [value for line in lines for value in line.y]
        if values and any(line.dashed or not line.name.endswith("both") for line in lines):
            log = min(values) > 0 and max(values) > 20 * min(values)
            drawing = line_chart(lines, how.x_title or how.x, y.replace("_", " "), log=log)
            figures.append(Figure(f"{stage}/{file}: {y.replace('_', ' ')}", drawing))
    return figures


def _lines(how: Lines, y: str, tables: Sequence[list[Row]], names: tuple[str, str]) -> list[Series]:
    """A line for each revision, A dashed; one for both where they do not differ."""
    a, b = (_groups(how, y, table) for table in tables)
    lines = []
    for colour, key in enumerate(dict.fromkeys([*a, *b])):
        same = a.get(key) == b.get(key)
        for side, name, group in ((0, names[0], a), (1, "both" if same else names[1], b)):
            if key in group and not (same and side == 0):
                points = sorted(group[key])
                label = f"{key}, {name}" if key else name
                lines.append(Series(label, [x for x, _ in points], [value for _, value in points],
                                    colour=colour % COLOURS, dashed=side == 0))
    return lines


def _groups(how: Lines, y: str, table: list[Row]) -> dict[str, list[tuple[float, float]]]:
    """The points of each line; rows of single classes are left out where the table also has rows of all."""
    over_all = any(row.get("class") == "all" for row in table)
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in table:
        point = _number(row.get(how.x)), _number(row.get(y))
        if point[0] is not None and point[1] is not None and not (over_all and row.get("class") != "all"):
            key = ", ".join(row[column] for column in how.by if column in row)
            groups.setdefault(key, []).append((point[0], point[1]))
    return groups


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
