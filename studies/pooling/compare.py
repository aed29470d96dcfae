"""One table of the poolings, and of the ways a code enters, from what train_classifier measured of each.

Reads    params pooling; the metrics of each variant
Writes   metrics/pooling.json; plots/pooling/ table.md (also printed), accuracy.csv, accuracy.png

Alone    python -m studies.pooling.compare --params studies/pooling/params.yaml --section pooling
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from kinetoken.report.figures import figure_style, new_figure, save_png
from kinetoken.stage import Context, Input, Output, run_stage
from studies.variants import ENDS, markdown_row, ranged, read_metrics, require_each_once, tell

PLOTS = Path("plots/pooling")
KEPT = ("accuracy", "accuracy_ci95_low", "accuracy_ci95_high", "accuracy_floor", "ece")


@dataclass(frozen=True)
class Row:
    """A variant as the table tells it."""

    name: str  # of the section of train_classifier
    reads: str  # what is pooled
    keeps: str
    loses: str


@dataclass(frozen=True)
class Comparison:
    """Section pooling: the rows in the order of the table."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        require_each_once(row.name for row in self.rows)


@dataclass(frozen=True)
class Paths:
    variants: Annotated[Path, Input("of each variant metrics.json")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/pooling.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    accuracy: Annotated[Path, Output("one row a variant")] = PLOTS / "accuracy.csv"
    picture: Annotated[Path, Output("the same as bars")] = PLOTS / "accuracy.png"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    measured = {row.name: read_variant(paths.variants / row.name / "metrics.json") for row in params.rows}
    draw_bars(paths.picture, measured)
    tell(measured, markdown(params.rows, measured), paths.metrics, paths.accuracy, paths.table)


def read_variant(path: Path) -> dict[str, float]:
    """Accuracy on the test clips with interval and floor, that of the worst class, after each slice, and the ECE."""
    found = read_metrics(path, "train_classifier", (*KEPT, "per_class", "prefix"))
    after = {f"after_slice_{count}": found["prefix"][count]["accuracy"] for count in sorted(found["prefix"], key=int)}
    return {**{name: found[name] for name in KEPT}, "worst_class": min(found["per_class"].values()), **after}


def markdown(rows: tuple[Row, ...], measured: dict[str, dict[str, float]]) -> str:
    """The table: a row a variant, in per cent, the interval beside the accuracy."""
    lines = [
        "| pooling | of what | keeps | loses | accuracy, % | worst class, % | after two slices, % | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        one = measured[row.name]
        cells = (
            f"`{row.name}`", row.reads, row.keeps, row.loses, ranged(one, "accuracy"),
            f"{100 * one['worst_class']:.1f}", f"{100 * one['after_slice_2']:.1f}", f"{one['ece']:.3f}",
        )
        lines.append(markdown_row(cells))
    floor = 100 * next(iter(measured.values()))["accuracy_floor"]
    lines.append(f"| floor: the most frequent class | | | | {floor:.1f} | | | |")
    return "\n".join(lines) + "\n"


@figure_style()
def draw_bars(path: Path, measured: dict[str, dict[str, float]]) -> None:
    """Accuracy of each variant with its interval, the first on top; a line at the floor."""
    figure = new_figure(figsize=(6.4, 0.6 + 0.32 * len(measured)))
    axis = figure.subplots()
    names = [name.replace("_", " ") for name in measured]
    values, lows, highs = (
        np.array([100 * one[f"accuracy{end}"] for one in measured.values()]) for end in ENDS
    )
    reach = np.stack([values - lows, highs - values])
    axis.barh(names, values, xerr=reach, color="#4878a8", ecolor="#222222", capsize=2)
    axis.axvline(100 * next(iter(measured.values()))["accuracy_floor"], color="#b03030", linestyle="--")
    axis.invert_yaxis()
    axis.set(xlim=(0, 100), xlabel="right on test clips, % (dashed: the floor)")
    save_png(figure, path)


def main() -> int:
    return run_stage(run, Comparison, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
