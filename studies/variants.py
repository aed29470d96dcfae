"""What studies of one stage's variants have in common: what each measured, and one table of all of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers

ENDS = ("", "_ci95_low", "_ci95_high")


def require_each_once(names: Iterable[str]) -> None:
    """ValueError unless there is at least one row and none twice."""
    listed = list(names)
    if not listed or len(set(listed)) < len(listed):
        raise ValueError("rows: name at least one, each once")


def read_measured(path: Path, stage: str, needed: Iterable[str]) -> dict[str, float]:
    """All numbers of a variant from the stage's table; UserError if it was not run, or if a needed one is missing.

    A needed name that ends in a dot stands for any that begins so.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; run {stage} for that variant first")
    # whole numbers as int: a CSV of what was measured then has all digits of a count
    found = {name: int(value) if value.is_integer() else value for name, value in read_numbers(path).items()}
    if missing := [name for name in needed if name not in found and not (name.endswith(".") and under(found, name))]:
        raise UserError(f"{path}: no '{missing[0]}'; are these numbers of {stage}?")
    return found


def under(numbers: Mapping[str, float], start: str) -> dict[str, float]:
    """The numbers whose dotted names begin so, by the rest of their names."""
    return {name.removeprefix(start): value for name, value in numbers.items() if name.startswith(start)}


def tell(measured: Mapping[str, Mapping[str, float]], text: str, metrics: Path, rows: Path, table: Path) -> None:
    """Leave each variant's numbers as metrics and as a row of a CSV, and the table, which is printed too."""
    import pandas as pd

    write_metrics(metrics, {name: dict(numbers) for name, numbers in measured.items()})
    write_csv(rows, pd.DataFrame([{"variant": name, **numbers} for name, numbers in measured.items()]))
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(text, encoding="utf-8")
    print(text)


def ranged(numbers: Mapping[str, float], name: str, times: float = 100, digits: int = 1) -> str:
    """A number and its interval, `times` as large: in per cent by default."""
    value, low, high = (f"{times * numbers[f'{name}{end}']:.{digits}f}" for end in ENDS)
    return f"{value} ({low}–{high})"


def markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
