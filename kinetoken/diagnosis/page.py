"""A report as text (Markdown), as JSON, and as one page of HTML that asks for nothing from outside."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from kinetoken.charts import svg
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.text import READINGS, by_weight, in_words, verdict_page

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
ENDS = ("floor", "ceiling", "ci95_low", "ci95_high")
Row = tuple[str, float, dict[str, float]]


def to_json(report: Report) -> dict[str, Any]:
    """The verdict's fields, every number, the measures behind the verdict, and the notes."""
    verdict = dataclasses.asdict(report.verdict) | {"degree": report.verdict.degree}
    measures = dataclasses.asdict(report.measures)
    return {
        "verdict": {**verdict, "remarks": list(report.verdict.remarks)}, "numbers": _plain(report.numbers),
        "measures": _plain({name: value for name, value in measures.items() if value is not None}),
        "notes": list(report.notes),
    }


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    """Nested Python numbers to six significant digits; those that are not finite are left out."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found[key] = _plain(value)
        elif math.isfinite(float(value)):
            found[key] = int(value) if float(value).is_integer() else float(f"{float(value):.6g}")
    return found


def rows_of(numbers: Mapping[str, Any]) -> list[Row]:
    """Every number with its dotted name; floor, ceiling and interval on the row of what they belong to."""
    flat = dict(_flat(numbers, ""))
    attached = {f"{name}_{end}" for name in flat for end in ENDS}
    return [
        (name, value, {end: flat[f"{name}_{end}"] for end in ENDS if f"{name}_{end}" in flat})
        for name, value in flat.items() if name not in attached
    ]


def _flat(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, float]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", float(value)


def to_markdown(report: Report) -> str:
    """The verdict, what was assumed, and every number beside its floor, ceiling and interval."""
    lines = [verdict_page(report.verdict, report.measures), "## What was assumed, and what could not be measured", ""]
    lines += [*(f"- {note}" for note in report.notes), "" if report.notes else "Nothing.\n"]
    lines += ["## Every number", "", "| | value | floor | ceiling | 95 % interval |", "|---|---|---|---|---|"]
    for name, value, beside in rows_of(_plain(report.numbers)):
        low, high = beside.get("ci95_low"), beside.get("ci95_high")
        interval = "" if low is None or high is None else f"{low:.4g} … {high:.4g}"
        ends = (f"{beside[end]:.4g}" if end in beside else "" for end in ("floor", "ceiling"))
        lines.append(f"| {' | '.join((name, f'{value:.4g}', *ends, interval))} |")
    return "\n".join(lines) + "\n"


def to_html(report: Report, name: str) -> str:
    """One page with the verdict, what it rests on, the plots, and folded away every measure and number."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([HERE, HERE.parent / "report" / "templates"]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    tables, (first, others) = report.tables, by_weight(report.verdict)
    content = {
        "name": name, "verdict": report.verdict, "notes": report.notes, "rows": rows_of(_plain(report.numbers)),
        "deciding": [in_words(report.measures, one) for one in first if one not in READINGS],
        "measured": [in_words(report.measures, one) for one in (*first, *others)],
        "chain": _chain(tables.get("information")),
        "views": _views(tables.get("embedding")), "usage": _usage(tables.get("positions")),
        "levels": _levels(tables.get("levels")), "history": _history(tables.get("history")),
        "classes": [] if "embedding" not in tables else sorted(set(tables["embedding"]["class"].astype(str))),
    }
    return environment.get_template("page.html.j2").render(**content)


def _chain(table: "pd.DataFrame | None") -> list[dict[str, Any]]:
    if table is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _views(table: "pd.DataFrame | None") -> list[tuple[str, Markup]]:
    found = []
    if table is not None:
        for (features, method), panel in table.groupby(["features", "method"], sort=False):
            groups = [
                (str(label), list(zip(part["x"], part["y"], strict=True)))
                for label, part in panel.groupby("class", sort=True)
            ]
            title = f"{features}, {method}".replace("codes_pooled", "averaged codes")
            found.append((title, svg.scatter([(n, p) for n, p in groups], title)))
    return found


def _usage(table: "pd.DataFrame | None") -> list[tuple[str, Markup]]:
    if table is None or table.empty:
        return []
    peak, found = float(table["perplexity"].max()), []
    for slice_, rows in table.groupby("slice", sort=True):
        grid = rows.pivot(index="row", columns="column", values="perplexity").to_numpy().tolist()
        found.append((f"slice {slice_}", svg.heat_grid(grid, peak, f"perplexity by place, slice {slice_}")))
    return found


def _levels(table: "pd.DataFrame | None") -> list[tuple[str, Markup]]:
    if table is None or table.empty:
        return []
    found = []
    for channel, rows in table.groupby("channel", sort=True):
        level = rows["level"].tolist()
        series = [svg.Series("all tokens", level, rows["share"].tolist())]
        if rows["share_foreground"].any():
            series.append(svg.Series("on what moves", level, rows["share_foreground"].tolist(), colour=1))
        drawing = svg.line_chart(series, "level", "share of tokens", x_ticks=level)
        found.append((f"channel {channel}", drawing))
    return found


def _history(table: "pd.DataFrame | None") -> Markup | None:
    if table is None:
        return None
    line = svg.Series("validation loss", table["epoch"].tolist(), table["val_loss"].tolist())
    return svg.line_chart([line], "epoch", "validation loss", log=bool((table["val_loss"] > 0).all()))


def write_report(folder: Path, report: Report, name: str) -> None:
    """report.md, report.json, report.html and the tables as CSV."""
    from kinetoken.core.artifacts import write_csv, write_json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(to_markdown(report), encoding="utf-8")
    (folder / "report.html").write_text(to_html(report, name), encoding="utf-8")
    write_json(folder / "report.json", to_json(report))
    for title, table in report.tables.items():
        write_csv(folder / f"{title}.csv", table)
