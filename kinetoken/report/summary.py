"""The page as Markdown with pictures, small enough for git: what its first screen, its charts and its findings say.

It holds no date, no machine and no commit, so the same results give the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.charts import stills, vega
from kinetoken.charts.markdown import Markdown, plain, render, table
from kinetoken.report import headings
from kinetoken.report.exhibits import ACTIONS
from kinetoken.report.gaps import not_run
from kinetoken.report.headline import Row
from kinetoken.report.page import TEMPLATES
from kinetoken.report.results import Results

REPORT = "report.md"
WORST = 5  # cases of a gallery that are named
MET = {True: "yes", False: "**no**", None: ""}
# section → galleries of the page that belong to it
GALLERIES = {
    "reading": ("classifier on codes",), "position": ("position",), "two_streams": ("I3D + MAGVIT",),
    "actions": (ACTIONS,), "words": ("equations",),
}
# section → pictures that stages drew, with what they show
DRAWN = {
    "codes": ("train_tokenizer/reconstructions.png", "Original clips and what is decoded from their codes"),
    "future": ("train_predictor/predictions.png", "Predicted frames and those that came"),
    "made": ("train_generator/samples.png", "Generated clips"),
    "actions": ("train_gasm_cast/attention.png", "Attention of the fusion"),
}


@dataclass(frozen=True)
class Still:
    """A picture of the summary: its file, a title, and what it shows."""

    file: str
    title: str
    label: str
    caption: str = ""


def write_summary(folder: Path, content: Mapping[str, Any], results: Results) -> None:
    """report.md and its pictures, from the content of the page (`kinetoken.report.page.page_content`)."""
    folder.mkdir(parents=True)
    drawn = charts_by_section(content)
    for charts in drawn.values():
        for name, chart in charts:
            (folder / f"{name}.png").write_bytes(stills.png(chart))
    pictures = {
        section: [Still(f"{name}.png", chart.title, chart.label, chart.caption) for name, chart in charts]
        for section, charts in drawn.items()
    }
    for section, (file, title) in DRAWN.items():
        if (results.plots / file).exists() and Path(file).parent.name not in results.not_measured:
            place = Path(os.path.relpath(results.plots / file, folder)).as_posix()
            pictures.setdefault(section, []).append(Still(place, title, title))
    page = render(TEMPLATES, "report.md.j2", {
        **content, "head_of_chain": content["head"], "pictures": pictures, "worst": worst_by_section(content),
        "headline_table": headline_table, "text_table": text_table, "image": image,
        "gaps": not_run(results, gpu=True),  # whether the machine has one is no result
    })
    (folder / REPORT).write_text(page, encoding="utf-8", newline="\n")


def charts_by_section(content: Mapping[str, Any]) -> dict[str, list[tuple[str, vega.Chart]]]:
    """section → (name of the file, chart), as far as their tables were there."""
    early = content["early"]
    links = [*content["chain"], *([content["head"]] if content["head"] else [])]
    chain = vega.chart(headings.CHAIN, vega.share_spec(links), headings.chain_key(content["chain"], content["head"]))
    found: dict[str, list[Any]] = {
        "answer": [chain] if links else [],
        "codes": content["embeddings"], "reading": [content["confusion"], *content["reading"]],
        "position": content["positions"], "future": content["horizons"],
        "two_streams": [content["two_streams"], *content["forecasts"]], "actions": [content["actions"]],
        "early": [] if early is None else [early.operating, early.frames],
        "words": [*content["ladders"], content["forms"]],
    }
    return {
        section: [(f"{section}_{place}", one) for place, one in enumerate(present(charts), 1)]
        for section, charts in found.items() if present(charts)
    }


def present(charts: Sequence[Any]) -> list[vega.Chart]:
    """Those that can be drawn as pictures."""
    return [one for one in charts if isinstance(one, vega.Chart)]


def worst_by_section(content: Mapping[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """section → the galleries' titles, what they say, and their first cases in one line."""
    galleries = content["exhibition"].galleries
    return {
        section: [
            (one.title, one.about, "; ".join(f"{item.name} ({item.note})" for item in one.items[:WORST]))
            for one in (galleries[name] for name in names if name in galleries)
        ]
        for section, names in GALLERIES.items()
    }


def headline_table(rows: Sequence[Row]) -> Markdown:
    """The headlines with what makes them readable."""
    head = ("Measured on held-out test clips", "Baseline", "Value", "Upper bound", "95 % interval", "Target", "Met")
    return table(head, [
        (row.title, row.floor, Markdown(f"**{plain(row.value)}**"), row.ceiling, row.interval, row.mark,
         Markdown(MET[row.met]) if row.met is not None else "") for row in rows
    ])


def text_table(content: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Markdown:
    """A header and its rows."""
    return table(*content)


def image(one: Still) -> Markdown:
    """A picture with its title above, and its caption below."""
    below = f"\n\n{plain(one.caption)}" if one.caption else ""
    return Markdown(f"**{plain(one.title)}**\n\n![{plain(one.label)}]({one.file}){below}")
