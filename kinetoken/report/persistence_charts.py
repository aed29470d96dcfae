"""Early decisions as charts and pictures: when they fall, how right they are, and what attention lay on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kinetoken.charts import svg, vega
from kinetoken.charts.parts import Figure
from kinetoken.charts.pictures import Picture, picture
from kinetoken.charts.svg import Series
from kinetoken.report.exhibits import CANDIDATES
from kinetoken.report.persistence_numbers import CHANCE, REFERENCE, STAGE
from kinetoken.report.results import Results
from kinetoken.report.sections import chart, confusion_figure, counted

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE, FIXED, OWN = "confidence", "fixed time", "thresholds"  # the rules of operating.csv
REFERENCE_COLOUR = 4  # grey
ROOM = 0.01  # that accuracy may be below chance in the chart
TICKS = 10
BINS = 40  # at most, of attention


def operating(results: Results) -> Figure | None:
    """Accuracy over frames watched: a colour an extractor, a look a rule."""
    table = _of_extractors(results, "operating.csv", ("rule", "frames", "accuracy"))
    if table is None:
        return None
    names = _in_order(table)
    series = []
    for place, name in enumerate(names):
        colour = REFERENCE_COLOUR if name == REFERENCE else place + (place >= REFERENCE_COLOUR)
        for rule in (CONFIDENCE, FIXED, OWN):
            rows = table[(table["extractor"] == name) & (table["rule"] == rule)].sort_values("frames")
            if len(rows):
                frames, right = rows["frames"].tolist(), rows["accuracy"].tolist()
                series.append(Series(f"{name}, {rule}", frames, right, (), (), colour, rule == FIXED, rule == OWN))
    series.sort(key=lambda one: one.points)  # on top
    bounds = (CHANCE, 1.0) if table["accuracy"].min() > CHANCE - ROOM else None
    ticks = [tick for tick in svg.nice_ticks(0.0, table["frames"].max(), TICKS) if tick <= table["frames"].max()]
    about = ("Dashed: all tracks are decided at one fixed frame. Lines: each track stops at a confidence, from low to "
             "high. Large dots: the thresholds chosen on validation tracks.")
    return chart(
        "Accuracy over frames watched", series, "frames watched, mean", "accuracy", about + _fixed_time(table, names),
        wide=True, bounds=bounds, ticks=ticks, height=300,
    )


def _fixed_time(table: "pd.DataFrame", names: Sequence[str]) -> str:
    """For the chosen thresholds that are most often right: the fixed time that is as often right."""
    own = table[table["rule"] == OWN].sort_values("accuracy", ascending=False).head(1)
    if own.empty:
        return ""
    name, frames, right = (own[column].iloc[0] for column in ("extractor", "frames", "accuracy"))
    fixed = table[(table["extractor"] == name) & (table["rule"] == FIXED) & (table["accuracy"] >= right)]
    least = "no fixed frame" if fixed.empty else f"a fixed frame from frame {fixed['frames'].min():.0f} on"
    return f" {name} stops after {frames:.1f} frames on average; {least} is as often right."


def decisions(results: Results) -> "pd.DataFrame | None":
    """Every decision of the run; None if there are none."""
    return _of_extractors(results, "decisions.csv", ("actual", "predicted", "frames"))


def decision_frames(decisions: "pd.DataFrame") -> Figure:
    """When decisions fall. A bar leads to its clips, those that were decided wrongly first."""
    series, tracks = [], {}
    for place, name in enumerate(_in_order(decisions)):
        frames = decisions["frames"][decisions["extractor"] == name]
        at, counts = np.unique(frames, return_counts=True)
        series.append(Series(name, at.tolist(), (100 * counts / len(frames)).tolist(), colour=place))
        rows = decisions[decisions["extractor"] == name]
        if "track_id" in rows:
            right = rows["actual"].astype(str) == rows["predicted"].astype(str)
            for frame, group in rows.assign(right=right).sort_values("right", kind="stable").groupby("frames"):
                tracks[name, float(str(frame))] = group["track_id"].astype(int).tolist()
    spec = vega.bar_spec(series, "frame of the decision", "% of test tracks", tracks=tracks if tracks else None)
    title = "When are decisions made?"
    return vega.chart(
        title, spec, f"{title} Share of test tracks by frame", series, clips=CANDIDATES if tracks else "",
    )


def confusions(decisions: "pd.DataFrame") -> dict[str, Figure]:
    """Of each extractor."""
    return {name: _confusion(name, decisions[decisions["extractor"] == name]) for name in _in_order(decisions)}


def _confusion(name: str, rows: "pd.DataFrame") -> Figure:
    tracks: dict[tuple[str, str], list[int]] = {}
    if "track_id" in rows:
        for row in rows.to_dict("records"):
            tracks.setdefault((str(row["actual"]), str(row["predicted"])), []).append(int(row["track_id"]))
    return confusion_figure(f"What {name} decides", counted(rows), CANDIDATES if tracks else "", tracks or None)


def attention(results: Results) -> dict[str, Figure]:
    """How much more than uniform attention lies on the candidate, persistent ones against transient, each extractor."""
    table = _of_extractors(results, "attention.csv", ("kind", "attention"))
    if table is None:
        return {}
    figures: dict[str, Figure] = {}
    step = svg.nice_ticks(0.0, float(table["attention"].max()), BINS)[1]
    edges = step * np.arange(int(table["attention"].max() / step) + 2)
    for name in _in_order(table):
        series = []
        for place, (kind, rows) in enumerate(table[table["extractor"] == name].groupby("kind", sort=True)):
            share = 100 * np.histogram(rows["attention"], edges)[0] / max(len(rows), 1)
            middles = (edges[1:] + edges[:-1]) / 2
            series.append(Series(str(kind), middles.tolist(), share.tolist(), colour=place))
        x = "attention on the candidate relative to uniform"
        spec = vega.bar_spec(series, x, "% of tracks", rule=(1.0, "uniform = 1"))
        figures[name] = vega.chart(f"Attention of {name}", spec, f"Attention of {name} on the candidate", series)
    return figures


def pictures(results: Results, names: Sequence[str], end: str) -> list[Picture]:
    """Of each extractor, what attention lay on."""
    found = []
    for name in names:
        path = results.file(f"{STAGE}/attention/{name}{end}")
        if path is not None:
            about = f"frames up to the decision of {name}, highlighted where its attention is"
            found.append(picture(path, name, about, clear=True))
    return found


def cost(results: Results) -> Picture | None:
    """The stage's own figure, which also holds how the compute is spread."""
    path = results.file(f"{STAGE}/efficiency.png")
    about = "Accuracy over frames, frames of decisions, and the share of a whole clip's multiply-adds that they used"
    return None if path is None else picture(path, "Frames, accuracy and compute", about, widest=1480)


def _of_extractors(results: Results, name: str, columns: Sequence[str]) -> "pd.DataFrame | None":
    table = results.table(f"{STAGE}/{name}", ("extractor", *columns))
    return None if table is None or table.empty else table


def _in_order(table: "pd.DataFrame") -> list[str]:
    """The extractors as they come."""
    return [str(name) for name in table["extractor"].unique()]
