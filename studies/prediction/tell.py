"""Twelve frames foretold from four, in two tables: how the error grows with the horizon, and who foretells which class.

Reads    the errors at each step ahead that train_predictor wrote
Writes   studies/prediction/plots/spans.csv, one row a forecaster, class and span of frames; table.md (also printed)

Alone    python -m studies.prediction.tell --params studies/prediction/params.yaml --section prediction
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context, Input, Output, run_stage

if TYPE_CHECKING:
    import pandas as pd

PLOTS = Path("studies/prediction/plots")
EVERY_CLASS = "all"
BEST_RULE = "best rule"
KINDS = ("model", "teacher_forced", "floor", "oracle", "ceiling")  # in the order of the tables
NEEDED = ("model", "kind", "step", "class", "centroid_error_px", "centroid_error_px_floor")


@dataclass(frozen=True)
class Telling:
    """Section prediction."""

    span: Positive  # frames ahead that share a column of the table


@dataclass(frozen=True)
class Paths:
    horizon: Annotated[Path, Input("errors at each step ahead, by class")] = PLOTS / "horizon.csv"
    spans: Annotated[Path, Output("one row a forecaster, class and span")] = PLOTS / "spans.csv"
    table: Annotated[Path, Output("the tables in Markdown")] = PLOTS / "table.md"


def run(params: Telling, paths: Paths, context: Context) -> None:
    horizon = read_horizon(paths.horizon)
    spans = by_span(horizon, params.span)
    write_csv(paths.spans, spans)
    text = markdown(spans)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def read_horizon(path: Path) -> "pd.DataFrame":
    """The errors at each step; UserError for another file, or one without the rows that the tables are made of."""
    import pandas as pd

    horizon = pd.read_csv(path)
    if missing := [name for name in NEEDED if name not in horizon]:
        raise UserError(f"{path}: no column '{missing[0]}'; is it the horizon.csv of train_predictor?")
    if not (horizon["kind"] == "teacher_forced").any():
        raise UserError(f"{path}: nothing was foretold teacher-forced; train_predictor.future_slices must be above 1")
    return horizon


def by_span(horizon: "pd.DataFrame", span: int) -> "pd.DataFrame":
    """Mean error in pixels of each forecaster and class over `span` frames ahead at a time, and over all of them.

    Columns model, kind, class, frames ('1–4', …, 'all'), centroid_error_px. The best rule is the best of them in each
    step and class: a stricter floor than any one of them.
    """
    import pandas as pd

    best = horizon[horizon["kind"] == "ceiling"].assign(model=BEST_RULE, kind="floor")
    best["centroid_error_px"] = best["centroid_error_px_floor"]
    rows = pd.concat([horizon[horizon["kind"] != "floor"], best])
    first = (rows["step"] - 1) // span * span + 1
    last = (first + span - 1).clip(upper=rows["step"].max())
    parts = rows.assign(first=first, frames=first.astype(str) + "–" + last.astype(str))
    whole = rows.assign(first=rows["step"].max() + 1, frames="all")
    keys = ["kind", "model", "class", "first", "frames"]
    means = pd.concat([parts, whole]).groupby(keys, sort=True)["centroid_error_px"].mean().reset_index()
    order = means["kind"].map(KINDS.index)
    means = means.assign(order=order).sort_values(["order", "model", "class", "first"], kind="stable")
    return means[["model", "kind", "class", "frames", "centroid_error_px"]].reset_index(drop=True)


def markdown(spans: "pd.DataFrame") -> str:
    """Two tables: all clips by span of frames, and each class over all frames; pixels from the true centre."""
    everyone = spans[spans["class"] == EVERY_CLASS]
    overall = spans[(spans["frames"] == "all") & (spans["class"] != EVERY_CLASS)]
    return "\n".join([
        "Pixels from the true centre, by frames ahead:", "", *_table(everyone, "frames"), "",
        "The same over all frames, by class:", "", *_table(overall, "class"), "",
    ])


def _table(rows: "pd.DataFrame", across: str) -> list[str]:
    columns = list(dict.fromkeys(rows[across]))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for model, each in rows.groupby("model", sort=False):
        value = each.set_index(across)["centroid_error_px"]
        lines.append(f"| {str(model).replace('_', ' ')} | {' | '.join(f'{value[name]:.2f}' for name in columns)} |")
    return lines


def main() -> int:
    return run_stage(run, Telling, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
