"""Charts and tables of the page from the plot tables of a run; None where a table is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from kinetoken.report import charts
from kinetoken.report.charts import Series
from kinetoken.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

CURVES = ("train_tokenizer", "train_baselines", "train_classifier", "train_position", "train_predictor")
MOST_CURVES = 3  # figures a stage: the loss and its first validation numbers


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    title: str
    drawing: Markup
    caption: str = ""


@dataclass(frozen=True)
class Confusion:
    """Counts (C, C) of test clips, actual by predicted, and the share of each row."""

    classes: Sequence[str]
    counts: list[list[int]]
    shares: list[list[float]]


def confusion(results: Results, name: str) -> Confusion | None:
    """From raw rows of actual and predicted class."""
    table = results.table(name, ("actual", "predicted"))
    if table is None or table.empty:
        return None
    actual, predicted = table["actual"].astype(str), table["predicted"].astype(str)
    classes = sorted(set(actual))
    columns = classes + sorted(set(predicted) - set(actual))
    counts = [[int(((actual == a) & (predicted == p)).sum()) for p in columns] for a in classes]
    return Confusion(columns, counts, [[n / max(sum(row), 1) for n in row] for row in counts])


def training_curves(results: Results) -> list[tuple[str, list[Figure]]]:
    """For each stage with curves.csv: its loss and validation numbers over epochs, a line a model."""
    sections = []
    for stage in CURVES:
        if stage not in results.metrics or not (results.plots / stage / "curves.csv").exists():
            continue
        table = results.table(f"{stage}/curves.csv", ("model", "epoch", "step"))
        if table is None or table.empty:
            continue
        numbers = [c for c in map(str, table.select_dtypes("number")) if c not in ("epoch", "step") and table[c].notna().any()]
        checked = [c for c in numbers if "val" in c]
        wanted = [*(["loss"] if "loss" in numbers else []), *(c for c in checked)][:MOST_CURVES]
        figures = [_curve(table, column) for column in wanted or numbers[:MOST_CURVES]]
        sections.append((stage, figures))
    return sections


def _curve(table: "pd.DataFrame", column: str) -> Figure:
    lines = []
    for place, (model, rows) in enumerate(table.groupby("model", sort=True)):
        kept = rows[rows[column].notna()]
        lines.append(Series(str(model), kept["epoch"].tolist(), kept[column].tolist(), colour=place))
    values = np.array([value for line in lines for value in line.y])
    log = bool((values > 0).all() and values.max() > 20 * values.min())
    return Figure(column.replace("_", " "), charts.line_chart(lines, "epoch", column.replace("_", " "), log=log))


def prefix(results: Results) -> Figure | None:
    """Accuracy by the number of time slices read."""
    table = results.table("train_classifier/prefix.csv", ())
    if table is None:
        return None
    slices, value = _pick(table, ("slices", "prefix", "k")), _pick(table, ("accuracy",))
    if slices is None or value is None:
        return None
    lines = [
        _banded(str(name), rows, slices, value, place) for place, (name, rows) in enumerate(_by(table, ("pooling", "model")))
    ]
    return Figure("Accuracy by what has been seen", charts.line_chart(
        lines, "time slices read (4 frames each)", "accuracy", bounds=(0, 1), x_ticks=sorted(set(table[slices]))))


def reliability(results: Results) -> Figure | None:
    """Accuracy over confidence in bins of equal mass."""
    table = results.table("train_classifier/reliability.csv", ())
    if table is None:
        return None
    x, y = _pick(table, ("confidence", "mean_confidence")), _pick(table, ("accuracy", "mean_accuracy"))
    if x is None or y is None:
        return None
    lines = [Series(str(name), rows[x].tolist(), rows[y].tolist(), colour=place)
             for place, (name, rows) in enumerate(_by(table, ("pooling", "model")))]
    return Figure("Is its confidence deserved?", charts.line_chart(
        lines, "confidence", "accuracy", bounds=(0, 1), diagonal=True), "On the dashed line it is.")


def horizon(results: Results) -> Figure | None:
    """Centroid error of the foretold frames by step, models solid, floors and oracle dashed."""
    table = results.table("train_predictor/horizon.csv", ("model", "step"))
    if table is None:
        return None
    value = _pick(table, ("centroid_error_px", "centroid_error", "error_px", "error"))
    if value is None:
        return None
    means = table.groupby(["model", "step"], sort=True)[value].mean().reset_index()
    learned = {key.split(".")[0] for key in results.metrics.get("train_predictor", {}) if key.endswith(".mse")}
    names = sorted(means["model"].unique(), key=lambda name: (name not in learned, name))
    lines = []
    for place, name in enumerate(names):
        rows = means[means["model"] == name]
        lines.append(Series(
            name.replace("_", " "), rows["step"].tolist(), rows[value].tolist(), colour=place, dashed=name not in learned))
    return Figure("Error by frames ahead", charts.line_chart(
        lines, "frames ahead", "px from the true centre", x_ticks=sorted(set(means["step"]))))


def error_by_frame(results: Results) -> Figure | None:
    """Of the position head: error over the clip's frames."""
    table = results.table("train_position/error_by_frame.csv", ("frame",))
    if table is None:
        return None
    value = _pick(table, ("error_px", "px"))
    if value is None:
        return None
    lines = [_banded(str(name), rows, "frame", value, place) for place, (name, rows) in enumerate(_by(table, ("split",)))]
    return Figure("Error of the ball's place by frame", charts.line_chart(lines, "frame", "error, px"))


def embeddings(results: Results) -> list[Figure]:
    """One scatter a panel of the embedding, coloured by class."""
    table = results.table("diagnose_codes/embedding.csv", ("x", "y", "class"))
    if table is None:
        return []
    kinds = [c for c in table.columns if c not in ("x", "y", "class", "track_id", "split")]
    panels = table.groupby(kinds, sort=False) if kinds else [((), table)]
    figures = []
    for names, rows in panels:
        title = ", ".join(str(name) for name in (names if isinstance(names, tuple) else (names,))) or "embedding"
        groups = [(str(label), list(zip(part["x"], part["y"], strict=True))) for label, part in rows.groupby("class", sort=True)]
        figures.append(Figure(title.replace("_", " "), charts.scatter(groups, f"{title}, coloured by class")))
    return figures


def usage(results: Results) -> list[Figure]:
    """How many codes each place of the token grid uses, a grid a time slice."""
    table = results.table("diagnose_codes/usage_by_position.csv", ())
    if table is None:
        return []
    time, row, column = (_pick(table, names) for names in (("slice", "t", "time"), ("row", "y", "h"), ("column", "col", "x", "w")))
    value = _pick(table, ("perplexity", "used", "usage", "entropy_bits"))
    if time is None or row is None or column is None or value is None:
        return []
    figures = []
    for name, rows in table.groupby(time, sort=True):
        grid = rows.pivot_table(index=row, columns=column, values=value, sort=True).to_numpy().tolist()
        tip = lambda i, j, v: f"row {i}, column {j}: {value} {charts.short(v)}"  # noqa: E731
        figures.append(Figure(f"slice {name}", charts.heat_grid(grid, f"{value} by position, slice {name}", tip)))
    return figures


def score_table(results: Results, name: str) -> tuple[list[str], list[list[str]]] | None:
    """A small plot table as text: header and rows."""
    table = results.table(name, ())
    if table is None:
        return None
    header = [str(column).replace("_", " ") for column in table.columns]
    return header, [[_cell(value) for value in row] for row in table.itertuples(index=False)]


def _cell(value: Any) -> str:  # noqa: ANN401 - a cell of a table is of any type
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)


def _pick(table: "pd.DataFrame", names: Sequence[str]) -> str | None:
    return next((name for name in names if name in table), None)


def _by(table: "pd.DataFrame", names: Sequence[str]) -> list[tuple[str, "pd.DataFrame"]]:
    column = _pick(table, names)
    return [("", table)] if column is None else [(str(name), rows) for name, rows in table.groupby(column, sort=False)]


def _banded(name: str, rows: "pd.DataFrame", x: str, y: str, colour: int) -> Series:
    low, high = _pick(rows, (f"{y}_ci95_low", "ci95_low", "low")), _pick(rows, (f"{y}_ci95_high", "ci95_high", "high"))
    band = ([], []) if low is None or high is None else (rows[low].tolist(), rows[high].tolist())
    return Series(name, rows[x].tolist(), rows[y].tolist(), band[0], band[1], colour)
