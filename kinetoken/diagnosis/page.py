"""A report as text (Markdown), as JSON, and as one page of HTML that asks for nothing from outside."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kinetoken.charts.cells import STEPS, Shades, cell_map
from kinetoken.charts.gains import Gain, gain_chart
from kinetoken.charts.page import render
from kinetoken.charts.parts import Figure, NumberRow, number_rows
from kinetoken.diagnosis import figures
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.measures import gain
from kinetoken.diagnosis.plain import grouped, unnamed
from kinetoken.diagnosis.statement import Said
from kinetoken.diagnosis.text import answer_page, explained, kept_answer, used_answer

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = 8  # that the page's sheet knows
MOST_MAPS = 16
POINTS = {"pixels": "pixels", "latents": "latents", "codes": "codes", "codes_pooled": "averaged codes"}
PLOTS = (  # table of the report, title, about, size of the drawings, what draws them
    ("positions", "Where the codebook is used",
     "Perplexity of the codes at each position of the grid: the stronger the colour, the more codes. One that never "
     "changes has 1.",
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


@dataclasses.dataclass(frozen=True)
class Maps:
    """The codebooks as maps, their common scale with the opacity of each shade, and what is not drawn."""

    all: Sequence[Figure]
    shades: Shades
    opacities: Sequence[float]
    left_out: str


def to_json(report: Report, library: str = DEFAULT_LIBRARY) -> dict[str, Any]:
    """The verdict with its findings, every number, the measures behind the verdict, and the notes (docs/doctor.md)."""
    statement = report.statement(library)
    measures = dataclasses.asdict(report.measures)
    return {
        "schema": statement.schema,
        "library": statement.library,
        "verdict": {
            "cause": statement.cause, "healthy": statement.healthy, "sentence": statement.sentence,
            **_flattened(statement.headline),
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
    """The answers with their findings, what was assumed, and one table of numbers in plain words."""
    lines = [answer_page(report.statement(library)), "## What was assumed, and what could not be measured", ""]
    lines += [*(f"- {note}" for note in report.notes), "" if report.notes else "Nothing.\n"]
    lines += ["## Numbers", ""]
    for title, rows in grouped(table_rows(report)):
        lines += [f"| {title} | value | baseline | upper bound | 95 % interval |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(dataclasses.astuple(row))} |" for row in rows]
        lines.append("")
    lines.append("All numbers by their keys are in report.json (`--json` prints it).")
    return "\n".join(lines) + "\n"


def table_rows(report: Report) -> list[NumberRow]:
    """A row for every number, and for those measures of the verdict that are no numbers: `measures.<name>`."""
    rows, measures = rows_of(_plain(report.numbers)), report.measures
    known = [row.name for row in rows]
    kept = _kept_share(report)
    rows += [] if kept is None else [kept]
    for field in dataclasses.fields(measures):
        value = getattr(measures, field.name)
        if value is not None and field.name not in known and field.name not in ("kept_low", "kept_high"):
            rows.append(NumberRow(f"measures.{field.name}", float(value), None, None, None, None))
    return rows


def _kept_share(report: Report) -> NumberRow | None:
    """The share that the codes keep of what the best point before them shows, with its interval."""
    m = report.measures
    upstream = [one for one in (m.probe_pixels, m.probe_latents) if one is not None]
    if m.probe_codes is None or not upstream or max(upstream) <= m.floor:
        return None
    share = (m.probe_codes - m.floor) / (max(upstream) - m.floor)
    return NumberRow("measures.kept_share", share, 0.0, 1.0, m.kept_low, m.kept_high)


def to_html(report: Report, name: str, library: str = DEFAULT_LIBRARY) -> str:
    """One page: the finding in a sentence, the two answers, the chain, the codebook as a map, evidence, what to do, and
    the numbers."""
    verdict, rows = report.statement(library), table_rows(report)
    return render(TEMPLATES, "doctor.html.j2", {
        "name": name, "verdict": verdict, "used": used_answer(verdict), "kept": kept_answer(verdict),
        "explained": explained(verdict), "chain": chain(report), "maps": codebook_maps(report),
        "drawings": drawings(report), "numbers": grouped(rows), "raw": unnamed(rows),
    })


def _gains(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    value, low, high = (
        gain(row[f"accuracy{end}"], row["accuracy_floor"]) for end in ("", "_ci95_low", "_ci95_high")
    )
    return value, low, high


def chain(report: Report) -> Markup:
    """What can be read at each point along the way, as gains; empty if nothing could be read."""
    if "information" not in report.tables:
        return Markup("")
    points = [
        Gain(POINTS[row["point"]], *_gains(row))
        for row in report.tables["information"].to_dict("records")
    ]
    if (planted := report.measures.planted) is not None:
        points.append(Gain("planted control", min(max(planted, 0.0), 1.0), control=True))
    return gain_chart(points)


def codebook_maps(report: Report) -> Maps | None:
    """One map for each codebook, on one scale; None where no codes were counted."""
    table = report.tables.get("entries")
    if table is None or table.empty:
        return None
    mean = table["count"] / table["entries"]
    shades = Shades.over(mean.tolist())
    books = table["codebook"].nunique()
    found = []
    for book, part in list(table.groupby("codebook", sort=True))[:MOST_MAPS]:
        used, entries = int(part["used"].sum()), int(part["entries"].sum())
        title = f"codebook {book}" if books > 1 else "codebook"
        caption = f"{used:,} of {entries:,} entries occur ({used / entries:.1%})."
        if (width := int(part["entries"].max())) > 1:
            caption += f" A cell is {width:,} entries in a row."
        found.append(Figure(title, cell_map(mean[part.index].tolist(), shades, f"{title}: {caption}"), caption))
    left_out = f" The first {MOST_MAPS} of {books} codebooks are drawn; entries.csv has all."
    opacities = [shades.opacity(step) for step in range(1, STEPS + 1)]
    return Maps(found, shades, opacities, left_out if books > MOST_MAPS else "")


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
