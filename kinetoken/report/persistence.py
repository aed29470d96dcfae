"""The section on early decisions: does a candidate persist, how soon is it known, and what did that rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from kinetoken.charts import svg
from kinetoken.charts.pictures import Picture, picture
from kinetoken.charts.prose import to_html
from kinetoken.charts.svg import Series
from kinetoken.report.headline import Unit, shown
from kinetoken.report.results import Results, read_rows, spread
from kinetoken.report.sections import Confusion, Figure, counted

if TYPE_CHECKING:
    import pandas as pd

STAGE = "detect_persistence"
REFERENCE = "reference"
NO_EXTRACTORS = (REFERENCE, "control")
CHANCE = 0.5  # as many tracks persist as do not
CONTROLS = (
    ("first_frame", "The candidate's first frame alone"),
    ("metadata", "What is known without looking: length, size, bytes, start, colour, light, depth"),
    ("shuffled_labels", "Labels dealt out at random, scored against dealt ones"),
)
GROUPS = (("by_lifetime", "By lifetime"), ("by_law", "By law of motion"))
COLUMNS = (
    "Right at the stop", "Stopped early", "Mean frame", "Compute saved", "Harmonic mean", "ECE", "Regret, points",
    "Attention over uniform", "Place error, px",
)
CONFIDENCE, FIXED, OWN = "confidence", "fixed time", "thresholds"  # the rules of operating.csv
REFERENCE_COLOUR = 4  # grey
ROOM = 0.01  # that accuracy may be below chance in the chart
TICKS = 10
BINS = 40  # at most, of attention
BUDGETS = "## Which extractor for which budget"  # where it begins in summary.md


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
class Control:
    """A classifier that must be at chance; `at_chance` None: it has no interval."""

    name: str
    cell: Cell
    at_chance: bool | None


@dataclass(frozen=True)
class DecisionReason:
    """What one decision rested on, in a sentence."""

    extractor: str
    track: str
    actual: str
    right: bool
    sentence: str


@dataclass(frozen=True)
class EarlyDecisions:
    """All of the section; whatever is empty or None was not there."""

    sentence: str
    extractors: Table | None
    controls: Sequence[Control]
    operating: Figure | None
    frames: Figure | None
    confusions: Mapping[str, Confusion]  # by extractor, as is attention
    attention: Mapping[str, Figure]
    groups: Sequence[Table]
    pictures: Sequence[Picture]
    heads: Sequence[Picture]
    cost: Picture | None
    budgets: Markup | None
    told: Sequence[DecisionReason]


def early_decisions(results: Results, count: int) -> EarlyDecisions | None:
    """The section, with `count` reasons of right decisions and as many of wrong ones; None if nothing is there."""
    if STAGE not in results.metrics:
        results.note(f"metrics/{STAGE}.json")
        if not (results.plots / STAGE).exists():
            return None
    names = extractors(results)
    decisions = _of_extractors(results, "decisions.csv", ("actual", "predicted", "frames"))
    return EarlyDecisions(
        sentence(results, names), extractor_table(results, names), controls(results), operating(results),
        None if decisions is None else decision_frames(decisions),
        {} if decisions is None else confusions(decisions), attention(results), groups(results, names),
        pictures(results, names, ".png"), pictures(results, names, "_heads.png"), cost(results), budgets(results),
        reasons(results, count),
    )


def extractors(results: Results) -> list[str]:
    """Those whose accuracy this run holds."""
    ends = [key.split(".") for key in results.metrics.get(STAGE, {})]
    return [key[0] for key in ends if key[1:] == ["accuracy"] and key[0] not in NO_EXTRACTORS]


def best_of(results: Results, names: Sequence[str]) -> str | None:
    """The extractor of least regret, or of highest harmonic mean where no regret is known."""
    for key, sign in (("regret", 1.0), ("harmonic_mean", -1.0), ("accuracy", -1.0)):
        known = {name: results.number(STAGE, f"{name}.{key}") for name in names}
        found = {name: sign * value for name, value in known.items() if value is not None}
        if found:
            return min(found, key=lambda name: found[name])
    return None


def sentence(results: Results, names: Sequence[str]) -> str:
    """What the task is and what was found."""
    task = ("The only ball amid clutter either keeps its way to the end or wanders and dies. After each step a network "
            "says which of the two it is, and it stops looking once it is sure.")
    best = best_of(results, names)
    if best is None:
        return f"{task} No extractor has left its numbers."

    def number(key: str) -> float | None:
        return results.number(STAGE, f"{best}.{key}")

    found = " The best extractor" if len(names) > 1 else " The extractor"
    found += f", {best}, is right about {shown(number('accuracy'), 'share')} of the test tracks when it stops"
    mean, early = number("mean_decision_frame"), number("earliness")
    if mean is not None:
        whole = "" if early is None or early >= 1 else f" of {mean / (1 - early):.0f}"
        found += f", after {mean:.1f}{whole} frames in the mean"
    if number("compute_saved") is not None:
        found += f"; that saves {shown(number('compute_saved'), 'share')} of the compute of watching whole clips"
    regret = number("regret")
    found += (". For laws like these no optimum is known, so there is no regret." if regret is None else
              f". Its errors and frames cost {shown(regret, 'points')} more than those of the best rule on true "
              "positions (its regret).")
    return task + found + " " + _controls_said(controls(results))


def _controls_said(found: Sequence[Control]) -> str:
    if not found:
        return "The controls were not run."
    off = [one.name for one in found if one.at_chance is not True]
    if not off:
        return "The control is at chance." if len(found) == 1 else f"All {len(found)} controls are at chance."
    return f"Not at chance within their intervals: {'; '.join(off)}."


def controls(results: Results) -> list[Control]:
    """Each with its interval, and whether chance lies inside."""
    found = []
    for key, name in CONTROLS:
        ends = [results.number(STAGE, f"control.{key}.accuracy{end}") for end in ("", "_ci95_low", "_ci95_high")]
        value, low, high = ends
        if value is not None:
            inside = None if low is None or high is None else low <= CHANCE <= high
            found.append(Control(name, Cell(shown(value, "share"), _interval(low, high, "share")), inside))
    return found


def extractor_table(results: Results, names: Sequence[str]) -> Table | None:
    """A row an extractor, and the reference's."""
    best, lines = best_of(results, names), []
    for name in names:
        def cell(key: str, unit: Unit, below: str = "", of: str = name) -> Cell:
            low, high = (results.number(STAGE, f"{of}.{key}_ci95_{end}") for end in ("low", "high"))
            text = shown(results.number(STAGE, f"{of}.{key}"), unit, named=unit in ("share", "×"))
            return Cell(text, below or _interval(low, high, unit))

        lines.append(Line(name, [
            cell("accuracy", "share"), cell("early_stop_rate", "share"), _frame_cell(results, name),
            cell("compute_saved", "share"), cell("harmonic_mean", "of 1"),
            cell("ece", "", _beside(results, f"{name}.ece_floor", "ideal", 3)), cell("regret", "points"),
            cell("attention_ratio", "×", _beside(results, f"{name}.attention_ratio_untrained", "untrained", 2)),
            cell("place_px", "px", _beside(results, f"{name}.place_px_floor", "mean place", 2)),
        ], name == best and len(names) > 1))
    right, early = (results.number(STAGE, f"{REFERENCE}.{key}") for key in ("accuracy", "earliness"))
    if right is not None:
        both = None if early is None else 2 * right * early / max(right + early, 1e-12)
        none = Cell("–")
        lines.append(Line("reference: the best rule on true positions", [
            Cell(shown(right, "share")), none, _frame_cell(results, REFERENCE), none, Cell(shown(both, "of 1")), none,
            Cell("0", "by definition"), none, none,
        ]))
    return Table("", COLUMNS, lines) if lines else None


def _frame_cell(results: Results, name: str) -> Cell:
    mean = results.number(STAGE, f"{name}.mean_decision_frame")
    return Cell("–" if mean is None else f"{mean:.1f}")


def _beside(results: Results, key: str, name: str, digits: int) -> str:
    value = results.number(STAGE, key)
    return "" if value is None else f"{name} {value:.{digits}f}"


def _interval(low: float | None, high: float | None, unit: Unit) -> str:
    if low is None or high is None:
        return ""
    return " … ".join(shown(end, unit, named=False) for end in (low, high))


def groups(results: Results, names: Sequence[str]) -> list[Table]:
    """Accuracy and mean frame of tracks that live as long, and of those of the same law."""
    tables = []
    for part, title in GROUPS:
        found: dict[str, dict[str, float]] = {}  # band → extractor.key → number
        for key, value in results.metrics.get(STAGE, {}).items():
            name, *rest = key.split(".")
            if name in names and len(rest) == 3 and rest[0] == part:
                found.setdefault(rest[1], {})[f"{name}.{rest[2]}"] = value
        lines = [_group(band, numbers, names) for band, numbers in found.items()]
        if lines:
            tables.append(Table(title, [*names, "number"], lines))
    return tables


def _group(band: str, numbers: Mapping[str, float], names: Sequence[str]) -> Line:
    cells = []
    for name in names:
        frame = numbers.get(f"{name}.mean_decision_frame")
        below = "" if frame is None else f"at frame {frame:.1f}"
        cells.append(Cell(shown(numbers.get(f"{name}.accuracy"), "share"), below))
    tracks = next((value for key, value in numbers.items() if key.endswith(".tracks")), None)
    return Line(_band(band), [*cells, Cell("–" if tracks is None else f"{tracks:.0f}")])


def _band(name: str) -> str:
    """01-02 → 1–2 frames; to_the_end → to the end."""
    low, _, high = name.partition("-")
    if low.isdigit() and high.isdigit():
        return f"{int(low)}–{int(high)} frames"
    return name.replace("_", " ")


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
    drawing = svg.line_chart(
        series, "frames watched, mean", "accuracy", bounds=bounds, x_ticks=ticks, size=svg.WIDE
    )
    about = ("Dashed: all tracks decided at one fixed frame. Lines: each stops at a confidence, from low to high. "
             "Large dots: the thresholds that were chosen on validation tracks.")
    return Figure("How right, how early?", drawing, about + _fixed_time(table, names), wide=True)


def _fixed_time(table: "pd.DataFrame", names: Sequence[str]) -> str:
    """For the chosen thresholds that are most often right: the fixed time that is as often right."""
    own = table[table["rule"] == OWN].sort_values("accuracy", ascending=False).head(1)
    if own.empty:
        return ""
    name, frames, right = (own[column].iloc[0] for column in ("extractor", "frames", "accuracy"))
    fixed = table[(table["extractor"] == name) & (table["rule"] == FIXED) & (table["accuracy"] >= right)]
    least = "no fixed frame is" if fixed.empty else f"a fixed one is from frame {fixed['frames'].min():.0f} on"
    return f" {name} stops after {frames:.1f} frames; {least} as often right."


def decision_frames(decisions: "pd.DataFrame") -> Figure:
    """When decisions fall."""
    series = []
    for place, name in enumerate(_in_order(decisions)):
        frames = decisions["frames"][decisions["extractor"] == name]
        at, tracks = np.unique(frames, return_counts=True)
        series.append(Series(name, at.tolist(), (100 * tracks / len(frames)).tolist(), colour=place))
    return Figure("When do decisions fall?", svg.bar_chart(series, "frame of the decision", "% of test tracks"))


def confusions(decisions: "pd.DataFrame") -> dict[str, Confusion]:
    """Of each extractor."""
    return {name: counted(decisions[decisions["extractor"] == name]) for name in _in_order(decisions)}


def attention(results: Results) -> dict[str, Figure]:
    """How much more than uniform attention lies on the candidate, persistent ones against transient, each extractor."""
    table = _of_extractors(results, "attention.csv", ("kind", "attention"))
    if table is None:
        return {}
    figures = {}
    step = svg.nice_ticks(0.0, float(table["attention"].max()), BINS)[1]
    edges = step * np.arange(int(table["attention"].max() / step) + 2)
    for name in _in_order(table):
        series = []
        for place, (kind, rows) in enumerate(table[table["extractor"] == name].groupby("kind", sort=True)):
            share = 100 * np.histogram(rows["attention"], edges)[0] / max(len(rows), 1)
            middles = (edges[1:] + edges[:-1]) / 2
            series.append(Series(str(kind), middles.tolist(), share.tolist(), colour=place))
        drawing = svg.bar_chart(
            series, "attention on the candidate over uniform", "% of tracks", rule=(1.0, "uniform = 1"),
            size=svg.HALF,
        )
        figures[name] = Figure(f"Attention of {name}", drawing)
    return figures


def pictures(results: Results, names: Sequence[str], end: str) -> list[Picture]:
    """Of each extractor, what attention lay on."""
    found = []
    for name in names:
        path = results.file(f"{STAGE}/attention/{name}{end}")
        if path is not None:
            about = f"frames up to the decision of {name}, lit where its attention lies"
            found.append(picture(path, name, about, clear=True))
    return found


def cost(results: Results) -> Picture | None:
    """The stage's own figure, which also holds how the compute is spread."""
    path = results.file(f"{STAGE}/efficiency.png")
    about = "Accuracy over frames, frames of decisions, and the share of a whole clip's multiply-adds that they took"
    return None if path is None else picture(path, "Frames, accuracy and compute", about, widest=2 * svg.WIDE[0])


def budgets(results: Results) -> Markup | None:
    """Of the summary: the best extractor for each number of frames that one may watch."""
    text = results.text(f"{STAGE}/summary.md")
    return None if text is None or BUDGETS not in text else to_html(text.partition(BUDGETS)[2])


def reasons(results: Results, count: int) -> list[DecisionReason]:
    """Sentences of right and of wrong decisions, over extractors and kinds in turn."""
    path = results.file(f"{STAGE}/reasons.jsonl")
    if path is None:
        return []

    def right(row: dict[str, Any]) -> bool:
        return row.get("decision") == row.get("actual")

    rows = spread(read_rows(path), count, right, lambda row: f"{row.get('actual')} {row.get('extractor')}")
    return [
        DecisionReason(
            str(row.get("extractor", "?")), str(row.get("track_id", "?")), str(row.get("actual", "?")), right(row),
            str(row.get("sentence", "")),
        )
        for row in rows
    ]


def _of_extractors(results: Results, name: str, columns: Sequence[str]) -> "pd.DataFrame | None":
    table = results.table(f"{STAGE}/{name}", ("extractor", *columns))
    return None if table is None or table.empty else table


def _in_order(table: "pd.DataFrame") -> list[str]:
    """The extractors as they come."""
    return [str(name) for name in table["extractor"].unique()]
