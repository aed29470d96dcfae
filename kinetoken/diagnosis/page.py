"""A report as text (Markdown), as JSON, and as one page of HTML that asks for nothing from outside."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kinetoken.charts.page import render
from kinetoken.charts.parts import Figure, Link, NumberRow, Vital, number_rows
from kinetoken.diagnosis import figures
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.statement import Said
from kinetoken.diagnosis.text import verdict_page

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = 8  # that the page's sheet knows
PLOTS = (  # table of the report, title, about, size of the drawings, what draws them
    ("positions", "Where the codebook is used",
     "Perplexity of the codes at each position of the grid: the darker, the more codes. One that never changes has 1.",
     "tiny", figures.usage_figures),
    ("levels", "How often each level is used", "Share of tokens at each level of each channel.", "small",
     figures.level_figures),
    ("embedding", "Clips by similarity of their codes", "Test clips, coloured by label: neighbours have similar codes.",
     "small", figures.embedding_figures),
    ("history", "Training", "", "", figures.history_figures),
)


@dataclasses.dataclass(frozen=True)
class Drawings:
    """Plots under one title; classes: their names in the order of their colours, where colour means class."""

    title: str
    about: str
    all: Sequence[Figure]
    size: str
    classes: Sequence[str]


def to_json(report: Report, library: str = DEFAULT_LIBRARY) -> dict[str, Any]:
    """The verdict with its findings, every number, the measures behind the verdict, and the notes (docs/doctor.md)."""
    statement = report.statement(library)
    measures = dataclasses.asdict(report.measures)
    return {
        "schema": statement.schema,
        "library": statement.library,
        "verdict": {
            "cause": statement.cause, "healthy": statement.healthy, **_flattened(statement.headline),
            "rests_on": list(report.verdict.rests_on),
        },
        "kept": _flattened(statement.kept),
        "findings": [_flattened(one) for one in statement.findings],
        "numbers": _plain(report.numbers),
        "measures": _plain({name: value for name, value in measures.items() if value is not None}),
        "notes": list(report.notes),
    }


def _flattened(one: Said) -> dict[str, Any]:
    return dataclasses.asdict(one) | {"sources": list(one.sources)}


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    """Nested Python numbers to six significant digits; those that are not finite are left out."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found[key] = _plain(value)
        elif math.isfinite(float(value)):
            found[key] = int(value) if float(value).is_integer() else float(f"{float(value):.6g}")
    return found


def rows_of(numbers: Mapping[str, Any]) -> list[NumberRow]:
    """Every number with its dotted name; floor, ceiling and interval on the row of what they belong to."""
    return number_rows(dict(_flat(numbers, "")))


def _flat(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, float]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", float(value)


def to_markdown(report: Report, library: str = DEFAULT_LIBRARY) -> str:
    """The verdict, what was assumed, and every number beside its floor, ceiling and interval."""
    lines = [verdict_page(report.statement(library)), "## What was assumed, and what could not be measured", ""]
    lines += [*(f"- {note}" for note in report.notes), "" if report.notes else "Nothing.\n"]
    lines += ["## Every number", "", "| | value | baseline | upper bound | 95 % interval |", "|---|---|---|---|---|"]
    for row in rows_of(_plain(report.numbers)):
        interval = "" if row.low is None or row.high is None else f"{row.low:.4g} … {row.high:.4g}"
        ends = ("" if end is None else f"{end:.4g}" for end in (row.floor, row.ceiling))
        lines.append(f"| {' | '.join((row.name, f'{row.value:.4g}', *ends, interval))} |")
    return "\n".join(lines) + "\n"


def to_html(report: Report, name: str, library: str = DEFAULT_LIBRARY) -> str:
    """One page with the verdict, what it rests on, the plots, and folded away every measure and number."""
    verdict = report.statement(library)
    return render(TEMPLATES, "doctor.html.j2", {
        "name": name, "verdict": verdict, "rows": rows_of(_plain(report.numbers)),
        "deciding": [Vital(one.name, one.shown) for one in verdict.deciding],
        "measured": (*verdict.rests_on, *verdict.others), "chain": chain(report), "drawings": drawings(report),
    })


def chain(report: Report) -> list[Link]:
    """What can be read at each point along the way; empty if nothing could be read."""
    if "information" not in report.tables:
        return []
    return [
        Link(
            row["point"].replace("codes_pooled", "averaged codes"),
            f"{row['probe']} probe, {row['bits']:.2f} bits of the label",
            row["accuracy"], row["accuracy_ci95_low"], row["accuracy_ci95_high"], row["accuracy_floor"],
        )
        for row in report.tables["information"].to_dict("records")
    ]


def drawings(report: Report) -> list[Drawings]:
    """The plots of those tables that could be made, in the order of the page."""
    found = []
    for name, title, about, size, draw in PLOTS:
        if name in report.tables and not (table := report.tables[name]).empty:
            classes = figures.embedded_classes(table)[:COLOURS] if name == "embedding" else []
            found.append(Drawings(title, about, draw(table), size, classes))
    return found


def write_report(folder: Path, report: Report, name: str, library: str = DEFAULT_LIBRARY) -> None:
    """report.md, report.json, report.html and the tables as CSV."""
    from kinetoken.core.artifacts import write_csv, write_json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(to_markdown(report, library), encoding="utf-8")
    (folder / "report.html").write_text(to_html(report, name, library), encoding="utf-8")
    write_json(folder / "report.json", to_json(report, library))
    for title, table in report.tables.items():
        write_csv(folder / f"{title}.csv", table)
