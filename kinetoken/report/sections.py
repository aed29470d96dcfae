"""Charts and tables of the page from the plot tables of a run; None where a table is not there."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.charts import svg
from kinetoken.charts.parts import Confusion, Figure, Vital
from kinetoken.charts.svg import Series
from kinetoken.diagnosis.figures import embedded_classes, embedding_figures, usage_figures
from kinetoken.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

CURVES = (
    "train_tokenizer", "train_baselines", "train_classifier", "train_position", "train_predictor", "train_i3d_magvit",
    "detect_persistence",
)
EVERY_CLASS = "all"  # rows of horizon.csv that are no single class
ERROR_AHEAD = "px from the true centre"
SHARE_OF_EXTENT = "% of the track's extent"
MOST_CURVES = 3  # figures a stage: the loss and its first validation numbers


VITALS = (
    ("usage", "Codebook used", "share of its codes that are used at all"),
    ("perplexity", "Perplexity", "codes in effective use over all tokens; most tokens are static background"),
    ("perplexity_foreground", "Perplexity on the ball", "the same over tokens that contain the ball"),
    ("effective_rank_latents", "Effective rank of latents", "directions that the latents use"),
    ("effective_rank_codes", "… of codes, after quantizing", "directions that the codes use"),
    ("label_information_bits", "Bits about the class", "that a probe obtains from the codes"),
    ("label_information_bits_pooled", "… after averaging", "that it obtains from codes averaged over space"),
)


def vitals(results: Results) -> list[Vital]:
    """Usage, rank and information of the codes, each between the ends of its scale."""
    found = []
    for key, name, about in VITALS:
        value, *ends = (results.number("diagnose_codes", key + end) for end in ("", "_floor", "_ceiling"))
        if value is not None:
            low, high = ("" if end is None else svg.short(end) for end in ends)
            found.append(Vital(name, f"{value:.3g}", f"{low} … {high}" if low or high else "", about))
    return found


def confusion(results: Results, name: str) -> Confusion | None:
    """From raw rows of actual and predicted class."""
    table = results.table(name, ("actual", "predicted"))
    return None if table is None or table.empty else counted(table)


def counted(table: "pd.DataFrame") -> Confusion:
    """Of rows with their actual and predicted class."""
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
        numbers = [c for c in map(str, table.select_dtypes("number")) if c not in ("epoch", "step")]
        wanted = [c for c in numbers if c == "loss" or c.startswith("val")] or numbers
        sections.append((stage, [_curve(table, column) for column in wanted[:MOST_CURVES]]))
    return sections


def _curve(table: "pd.DataFrame", column: str) -> Figure:
    lines = []
    for place, (model, rows) in enumerate(table.groupby("model", sort=True)):
        kept = rows[rows[column].notna()]
        lines.append(Series(str(model), kept["epoch"].tolist(), kept[column].tolist(), colour=place))
    values = np.array([value for line in lines for value in line.y])
    log = bool((values > 0).all() and values.max() > 20 * values.min())
    name = column.replace("_", " ")
    return Figure(name, svg.line_chart(lines, "epoch", name, log=log))


def prefix(results: Results) -> Figure | None:
    """Accuracy by the number of time slices read."""
    table = results.table("train_classifier/prefix.csv", ("slices", "accuracy"))
    if table is None:
        return None
    lines = _lines(table, "pooling", "slices", "accuracy")
    ticks = sorted(set(table["slices"]))
    drawing = svg.line_chart(lines, "time slices read", "accuracy", bounds=(0, 1), x_ticks=ticks)
    return Figure("Accuracy by the number of slices read", drawing)


def reliability(results: Results) -> Figure | None:
    """Accuracy over confidence in bins of equal mass."""
    table = results.table("train_classifier/reliability.csv", ("confidence", "accuracy"))
    if table is None:
        return None
    lines = _lines(table, "pooling", "confidence", "accuracy")
    drawing = svg.line_chart(lines, "confidence", "accuracy", bounds=(0, 1), diagonal=True)
    return Figure("Calibration", drawing, "On the dashed line, confidence equals accuracy.")


def horizons(results: Results) -> list[Figure]:
    """Centroid error by frames ahead: all forecasters with floors and oracle dashed, then the best model by class."""
    table = _errors_ahead(results)
    if table is None or table.empty:
        return []
    overall, by_class = table[table["class"] == EVERY_CLASS], table[table["class"] != EVERY_CLASS]
    learned = set(overall["model"][overall["kind"] == "model"].astype(str))
    rows_of = {str(name): rows for name, rows in overall.groupby("model")}
    lines = [
        Series(name.replace("_", " "), rows_of[name]["step"].tolist(), rows_of[name]["centroid_error_px"].tolist(),
               colour=place, dashed=name not in learned)
        for place, name in enumerate(sorted(rows_of, key=lambda name: (name not in learned, name)))
    ]
    ticks = sorted(set(table["step"]))
    figures = [Figure("Error by frames ahead", svg.line_chart(lines, "frames ahead", ERROR_AHEAD, x_ticks=ticks))]
    if learned:
        best = min(sorted(learned), key=lambda name: rows_of[name]["centroid_error_px"].mean())
        lines = _lines(by_class[by_class["model"] == best], "class", "step", "centroid_error_px")
        drawing = svg.line_chart(lines, "frames ahead", ERROR_AHEAD, x_ticks=ticks)
        figures.append(Figure(f"{best}, by class", drawing))
    return figures


def _errors_ahead(results: Results) -> "pd.DataFrame | None":
    """The predictor's table with its floors and oracle, and of the generator's what was predicted from the same past.

    From another past the same clips, in the same step, have another floor.
    """
    import pandas as pd

    floor = "centroid_error_px_floor"
    columns = ("model", "kind", "step", "class", "centroid_error_px", floor)
    table = results.table("train_predictor/horizon.csv", columns)
    further = results.table("train_generator/horizon.csv", columns)
    if table is None or further is None or further.empty:
        return table
    clips = ["step", "class", floor]
    return pd.concat([table, further.merge(table[clips].drop_duplicates())])


def forecasts(results: Results) -> list[Figure]:
    """I3D + MAGVIT's positions by frames ahead: beside the floors, dashed, and by class."""
    measure = "mae_percent"
    table = results.table("train_i3d_magvit/forecast.csv", ("forecast", "class", "step", measure))
    if table is None or table.empty:
        return []
    own = str(table["forecast"].iloc[0])
    overall, by_class = table[table["class"] == EVERY_CLASS], table[table["class"] != EVERY_CLASS]
    ticks = sorted(set(table["step"]))
    lines = [
        Series(str(name).replace("_", " "), rows["step"].tolist(), rows[measure].tolist(), colour=place,
               dashed=name != own)
        for place, (name, rows) in enumerate(overall.groupby("forecast", sort=False))
    ]
    classes = _lines(by_class[by_class["forecast"] == own], "class", "step", measure)
    about = "Baselines extrapolate the true past. The network predicts from frames and codes."
    drawn = [svg.line_chart(each, "frames ahead", SHARE_OF_EXTENT, x_ticks=ticks) for each in (lines, classes)]
    return [Figure("Error by frames ahead", drawn[0], about), Figure("The same by class", drawn[1])]


def errors_by_frame(results: Results) -> list[Figure]:
    """Of the position head: errors across and in depth over the clip's frames."""
    columns = {"error_px": "px", "error_depth_percent": "% of depth"}
    table = results.table("train_position/error_by_frame.csv", ("frame", *columns))
    if table is None:
        return []
    titles = {"error_px": "Error of the ball's position by frame", "error_depth_percent": "Error of its depth by frame"}
    return [
        Figure(titles[column], svg.line_chart(_lines(table, "split", "frame", column), "frame", unit))
        for column, unit in columns.items()
    ]


def embeddings(results: Results) -> tuple[list[Figure], list[str]]:
    """One scatter a panel of the embedding, coloured by class, and the classes in the order of their colours."""
    table = results.table("diagnose_codes/embedding.csv", ("features", "method", "x", "y", "class"))
    return ([], []) if table is None else (embedding_figures(table), embedded_classes(table))


def usage(results: Results) -> list[Figure]:
    """Perplexity of the codes at each place of the token grid, a grid a time slice."""
    table = results.table("diagnose_codes/usage_by_position.csv", ("slice", "row", "column", "perplexity"))
    return [] if table is None else usage_figures(table)


def score_table(results: Results, name: str) -> tuple[list[str], list[list[str]]] | None:
    """A small plot table as text: header and rows."""
    table = results.table(name, ())
    if table is None:
        return None
    header = [str(column).replace("_", " ") for column in table.columns]
    return header, [[_cell(value) for value in row] for row in table.itertuples(index=False)]


def _cell(value: Any) -> str:  # noqa: ANN401 - a cell of a table is of any type
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)


def _lines(table: "pd.DataFrame", by: str, x: str, y: str) -> list[Series]:
    """A line for each value of column `by`, or one if there is no such column; bands where there are intervals."""
    groups = table.groupby(by, sort=True) if by in table else [("", table)]
    ends = (f"{y}_ci95_low", f"{y}_ci95_high")
    lines = []
    for place, (name, rows) in enumerate(groups):
        low, high = (rows[end].tolist() if end in table else [] for end in ends)
        lines.append(Series(str(name), rows[x].tolist(), rows[y].tolist(), low, high, place))
    return lines
