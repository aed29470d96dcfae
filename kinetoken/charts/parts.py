"""What pages are made of: the nouns that the macros of templates/parts.html.j2 draw, texts ready to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

ENDS = ("floor", "ceiling", "ci95_low", "ci95_high")  # of a number, as `<name>_floor`


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    title: str
    drawing: Markup
    caption: str = ""
    wide: bool = False  # takes two columns


@dataclass(frozen=True)
class Cell:
    """A number with what stands below it: an interval, a floor, a control."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table."""

    name: str
    cells: Sequence[Cell]
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Columns after the first, and rows."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line]


@dataclass(frozen=True)
class Confusion:
    """Counts (C, C) of clips, actual by predicted, and the share of each row."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Link:
    """One bar of a chain: a share in [0, 1] with its interval and floor; `lost`: the largest drop leads here."""

    name: str
    about: str
    value: float
    low: float | None
    high: float | None
    floor: float | None
    lost: bool = False


@dataclass(frozen=True)
class Vital:
    """One measure with the ends of its scale."""

    name: str
    value: str
    ends: str = ""
    about: str = ""


@dataclass(frozen=True)
class NumberRow:
    """A number by its dotted name, with what makes it readable where that is known."""

    name: str
    value: float
    floor: float | None
    ceiling: float | None
    low: float | None
    high: float | None


def number_rows(numbers: Mapping[str, float]) -> list[NumberRow]:
    """A row for every number; its floor, ceiling and interval stand on its row in place of rows of their own."""
    attached = {f"{name}_{end}" for name in numbers for end in ENDS}
    return [
        NumberRow(name, value, *(numbers.get(f"{name}_{end}") for end in ENDS))
        for name, value in numbers.items() if name not in attached
    ]
