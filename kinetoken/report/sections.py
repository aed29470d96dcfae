"""Charts and tables of the page from the plot tables of a run; None where a table is not there."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from kinetoken.charts import svg, vega
from kinetoken.charts.parts import Confusion, Figure, Vital
from kinetoken.charts.pictures import Picture, picture
from kinetoken.charts.svg import Series
from kinetoken.charts.vega import COLOURS
from kinetoken.report.exhibits import ACTIONS, MOTION
from kinetoken.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

CURVES = (
    "train_tokenizer", "train_baselines", "train_classifier", "train_position", "train_predictor", "train_generator",
    "train_i3d_magvit", "train_gasm_cast", "detect_persistence",
)
EVERY_CLASS = "all"  # rows of horizon.csv that are no single class
ERROR_AHEAD = "px from the true centre"
SHARE_OF_EXTENT = "% of the track's extent"
MOST_CURVES = 3  # figures a stage: the loss and its first validation numbers
WIDE_CLASSES = 7  # a matrix of more classes takes the whole width
LEAST_CELL, NAMES = 26, 355  # px of a column of a wide matrix, and of its names
PANELS = {"codes": "codes", "codes_pooled": "averaged codes"}


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
        value, *bounds = (results.number("diagnose_codes", key + end) for end in ("", "_floor", "_ceiling"))
        if value is not None:
            low, high = ("" if end is None else f"{end:.2g}" for end in bounds)
            ends = f"possible: {low or '0'} to {high or 'no limit'}" if low or high else ""
            found.append(Vital(name, f"{value:.3g}", ends, about))
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
    return chart(column.replace("_", " "), lines, "epoch", column.replace("_", " "), log=spans_decades(lines))


def chart(
    title: str, lines: Sequence[Series], x: str, y: str, caption: str = "", *, wide: bool = False, **look: Any  # noqa: ANN401
) -> Figure:
    """Lines over shared axes; `look` as of `vega.line_spec`."""
    spec = vega.line_spec(lines, x, y, **look)
    return vega.chart(title, spec, f"{title}: {y} over {x}", lines, caption=caption, wide=wide)


def spans_decades(lines: Sequence[Series]) -> bool:
    """Whether the values are positive and so far apart that a linear scale would squash the lower ones."""
    values = np.array([value for line in lines for value in line.y if np.isfinite(value)])
    return bool(len(values) and (values > 0).all() and values.max() > 20 * values.min())


def confusion_figure(
    title: str, found: Confusion, clips: str = "", tracks: Mapping[tuple[str, str], Sequence[int]] | None = None,
) -> Figure:
    """Actual by predicted class. Cells lead to clips, with the mouse in the picture, with the keyboard in its table."""
    wide = len(found.classes) > WIDE_CLASSES
    least = NAMES + LEAST_CELL * len(found.classes) if wide else 0
    return vega.chart(
        title, vega.confusion_spec(found, tracks), f"{title} Clips by actual and predicted class.", wide=wide,
        clips=clips, least=least, after=_table(found, clips, tracks),
    )


def _table(found: Confusion, clips: str, tracks: Mapping[tuple[str, str], Sequence[int]] | None) -> Markup:
    head = Markup("").join(Markup("<th scope=\"col\">{}</th>").format(name) for name in found.classes)
    rows = []
    for actual, counts in zip(found.classes, found.counts, strict=False):
        cells = [_cell_of(count, clips, (tracks or {}).get((actual, predicted), ()) if actual != predicted else ())
                 for predicted, count in zip(found.classes, counts, strict=True)]
        rows.append(Markup("<tr><th scope=\"row\">{}</th>{}</tr>").format(actual, Markup("").join(cells)))
    return Markup(
        "<details class=\"plainly\"><summary>As a table</summary><div class=\"scroll\" tabindex=\"0\" role=\"group\" "
        "aria-label=\"Counts\"><table class=\"plain\"><thead><tr><td>actual ↓ predicted →</td>{}</tr></thead>"
        "<tbody>{}</tbody></table></div></details>"
    ).format(head, Markup("").join(rows))


def _cell_of(count: int, clips: str, tracks: Sequence[int]) -> Markup:
    if not tracks:
        return Markup("<td class=\"n\">{}</td>").format(count)
    return Markup("<td class=\"n\"><button type=\"button\" class=\"link\" data-open=\"{}\" data-tracks=\"{}\">{} "
                  "<span class=\"unseen\">clips, open</span></button></td>").format(
        clips, " ".join(map(str, tracks)), count)


def prefix(results: Results) -> Figure | None:
    """Accuracy by the number of time slices read."""
    table = results.table("train_classifier/prefix.csv", ("slices", "accuracy"))
    if table is None or table.empty:
        return None
    lines = _lines(table, "pooling", "slices", "accuracy")
    ticks = sorted(set(table["slices"]))
    title = "Accuracy by the number of slices read"
    return chart(title, lines, "time slices read", "accuracy", bounds=(0, 1), ticks=ticks)


def reliability(results: Results, stage: str = "train_classifier") -> Figure | None:
    """Accuracy over confidence in bins of equal mass."""
    table = results.table(f"{stage}/reliability.csv", ("confidence", "accuracy"))
    if table is None or table.empty:
        return None
    lines = _lines(table, "pooling", "confidence", "accuracy")
    about = "On the dashed line, confidence equals accuracy."
    return chart("Calibration", lines, "confidence", "accuracy", about, bounds=(0, 1), diagonal=True)


def horizons(results: Results) -> list[Figure]:
    """Centroid error by frames ahead: all forecasters with floors and oracle dashed, then the best model by class."""
    table = _errors_ahead(results)
    if table is None or table.empty:
        return []
    overall, by_class = table[table["class"] == EVERY_CLASS], table[table["class"] != EVERY_CLASS]
    learned = set(overall["model"][overall["kind"] == "model"].astype(str))
    rows_of = {str(name): rows for name, rows in overall.groupby("model")}
    shown = _most_telling(overall)
    lines = [
        Series(name.replace("_", " "), rows_of[name]["step"].tolist(), rows_of[name]["centroid_error_px"].tolist(),
               colour=place, dashed=name not in learned)
        for place, name in enumerate(shown)
    ]
    ticks = sorted(set(table["step"]))
    about = "Dashed: baselines and upper bounds. " + ("Logarithmic scale. " if spans_decades(lines) else "") + (
        "Baselines that are worse than those shown are left out." if len(shown) < len(rows_of) else ""
    )
    figures = [chart("Error by frames ahead", lines, "frames ahead", ERROR_AHEAD, about.strip(), ticks=ticks,
                     log=spans_decades(lines))]
    if learned:
        best = min(sorted(learned), key=lambda name: rows_of[name]["centroid_error_px"].mean())
        lines = _lines(by_class[by_class["model"] == best], "class", "step", "centroid_error_px")
        figures.append(chart(f"{best}, by class", lines, "frames ahead", ERROR_AHEAD, ticks=ticks))
    return figures


def _most_telling(overall: "pd.DataFrame") -> list[str]:
    """Names of forecasters, as many as there are colours: models by name, then bounds, then baselines from the best."""
    order = {"model": 0, "floor": 2}
    of_each = overall.groupby("model").agg(kind=("kind", "first"), error=("centroid_error_px", "mean")).reset_index()
    of_each["rank"] = of_each["kind"].map(lambda kind: order.get(str(kind), 1))
    of_each.loc[of_each["rank"] < 2, "error"] = 0.0
    return [str(name) for name in of_each.sort_values(["rank", "error", "model"])["model"]][:COLOURS]


def _errors_ahead(results: Results) -> "pd.DataFrame | None":
    """The predictor's table with its floors and oracle, and of the generator's what was predicted from the same past.

    Another past ends with another frame, and that frame, repeated, is the baseline of squared errors.
    """
    import pandas as pd

    floor = "mse_floor"
    columns = ("model", "kind", "step", "class", "centroid_error_px")
    table = results.table("train_predictor/horizon.csv", columns)
    further = results.table("train_generator/horizon.csv", columns)
    if table is None or further is None or further.empty or floor not in table or floor not in further:
        return table
    clips = ["step", "class", floor]
    return pd.concat([table, further.merge(table[clips].dropna().drop_duplicates())])


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
    about = (
        "The network predicts from frames and codes. Baselines carry on the true past; reading law carries on what the "
        "network reads of the past."
    )
    return [
        chart("Error by frames ahead", lines, "frames ahead", SHARE_OF_EXTENT, about, ticks=ticks),
        chart("The same by class", classes, "frames ahead", SHARE_OF_EXTENT, ticks=ticks),
    ]


def errors_by_frame(results: Results) -> list[Figure]:
    """Of the position head: errors across and in depth over the clip's frames."""
    columns = {"error_px": "px", "error_depth_percent": "% of depth"}
    table = results.table("train_position/error_by_frame.csv", ("frame", *columns))
    if table is None or table.empty:
        return []
    titles = {"error_px": "Error of the ball's position by frame", "error_depth_percent": "Error of its depth by frame"}
    return [
        chart(titles[column], _lines(table, "split", "frame", column), "frame", unit)
        for column, unit in columns.items()
    ]


def embeddings(results: Results) -> tuple[list[Figure], list[str], list[int]]:
    """A scatter for each features and method, the classes in the order of their colours, and the tracks shown."""
    table = results.table("diagnose_codes/embedding.csv", ("features", "method", "x", "y", "class"))
    if table is None or table.empty:
        return [], [], []
    classes = sorted(set(table["class"].astype(str)))
    figures: list[Figure] = []
    for (features, method), panel in table.groupby(["features", "method"], sort=False):
        title = f"{PANELS.get(str(features), str(features))}, {method}"
        spec = vega.point_spec(points(panel), classes)
        figures.append(vega.chart(title, spec, f"{title}: test clips by class", clips=MOTION))
    return figures, classes, table["track_id"].unique().tolist() if "track_id" in table else []


def points(table: "pd.DataFrame", x: str = "x", y: str = "y") -> list[dict[str, Any]]:
    """Rows of a scatter, of clips if the table names tracks."""
    rows: list[dict[str, Any]] = [
        {"x": float(row[x]), "y": float(row[y]), "name": str(row["class"])}
        | ({"track": int(row["track_id"])} if "track_id" in row else {})
        for row in table.to_dict("records")
    ]
    return [row for row in rows if np.isfinite(row["x"]) and np.isfinite(row["y"])]


def features(results: Results) -> tuple[list[Figure], list[str]]:
    """What GASM-CAST's last layer makes of its test clips, and its classes in the order of their colours."""
    columns = ("tsne_1", "tsne_2", "pca_1", "pca_2")
    table = results.table("train_gasm_cast/features.csv", ("class", *columns))
    if table is None or table.empty:
        return [], []
    scored = sum(map(sum, found.counts)) if (found := confusion(results, "train_gasm_cast/confusion.csv")) else 0
    # rows are evenly chosen clips if there are many: a clip is known by its place among all
    table = table.assign(track_id=np.linspace(0, max(scored, len(table)) - 1, len(table)).astype(int))
    classes = sorted(set(table["class"].astype(str)))
    return [
        vega.chart(f"Features, {name}", vega.point_spec(points(table, x, y), classes),
                   f"Features of test clips, {name}, by action", clips=ACTIONS)
        for name, x, y in (("t-SNE", *columns[:2]), ("PCA", *columns[2:]))
    ], classes


def pictures(results: Results) -> list[Picture]:
    """GASM-CAST's own pictures of its attention and of its graph."""
    wanted = {
        "attention.png": ("Attention of the fusion", "where one stream looks at the other in single test clips"),
        "graph.png": ("Graph over patches", "which patches the graph attention joins"),
    }
    found = [(results.file(f"train_gasm_cast/{name}"), *words) for name, words in wanted.items()]
    return [picture(path, title, about, widest=1100) for path, title, about in found if path is not None]


def usage(results: Results) -> list[Figure]:
    """Perplexity of the codes at each place of the token grid, a grid a time slice."""
    table = results.table("diagnose_codes/usage_by_position.csv", ("slice", "row", "column", "perplexity"))
    if table is None or table.empty:
        return []
    figures: list[Figure] = []
    peak = float(table["perplexity"].max()) or 1.0
    for name, rows in table.groupby("slice", sort=True):
        cells = [
            {"x": str(row["column"]), "y": str(row["row"]), "shade": float(row["perplexity"]) / peak, "good": True,
             "text": svg.short(float(row["perplexity"]))} for row in rows.to_dict("records")
        ]
        across, down = ([str(place) for place in sorted(set(rows[key]))] for key in ("column", "row"))
        spec = vega.matrix_spec(
            cells, across, down, x="column", y="row", tip={"y": "row", "x": "column", "text": "perplexity"}, cell=20,
            text=False,
        )
        figures.append(vega.chart(f"slice {name}", spec, f"Perplexity by position, slice {name}"))
    return figures


def savings(results: Results) -> list[tuple[str, str]]:
    """What a run measured of computation that is not needed."""
    named = {
        "compute_saved": "multiply-adds saved by stopping early, {}", "fusion_macs_saved": "multiply-adds saved in the "
        "fusion by its bottleneck", "end_to_end_macs_saved": "multiply-adds saved in the whole of GASM-CAST",
    }
    found = []
    for stage in ("detect_persistence", "train_gasm_cast"):
        for key, value in results.metrics.get(stage, {}).items():
            name, _, last = key.rpartition(".")
            if last in named:
                found.append((named[last].format(name), f"{100 * value:.1f} %"))
    return found


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
