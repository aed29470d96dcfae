"""One table of the poolings, and of the ways a code enters, from what train_classifier measured of each.

Reads    params pooling; the metrics of each variant
Writes   metrics/pooling.json; plots/pooling/ table.md (also printed), accuracy.csv, accuracy.png

Alone    python -m studies.pooling.compare --params studies/pooling/params.yaml --section pooling
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.errors import UserError
from kinetoken.report.figures import figure_style, save_png
from kinetoken.stage import Context, Input, Output, run_stage

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
        names = [row.name for row in self.rows]
        if not names or len(set(names)) < len(names):
            raise ValueError("rows: name at least one, each once")


@dataclass(frozen=True)
class Paths:
    variants: Annotated[Path, Input("of each variant metrics.json")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/pooling.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    accuracy: Annotated[Path, Output("one row a variant")] = PLOTS / "accuracy.csv"
    picture: Annotated[Path, Output("the same as bars")] = PLOTS / "accuracy.png"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    import pandas as pd

    measured = {row.name: read_variant(paths.variants / row.name / "metrics.json") for row in params.rows}
    write_metrics(paths.metrics, measured)
    write_csv(paths.accuracy, pd.DataFrame([{"variant": name, **numbers} for name, numbers in measured.items()]))
    draw_bars(paths.picture, measured)
    text = markdown(params.rows, measured)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def read_variant(path: Path) -> dict[str, float]:
    """Accuracy on the test clips with interval and floor, that of the worst class, after each slice, and the ECE."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run train_classifier for that variant first") from None
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
        value, low, high = (100 * one[f"accuracy{end}"] for end in ("", "_ci95_low", "_ci95_high"))
        cells = (
            f"`{row.name}`", row.reads, row.keeps, row.loses, f"{value:.1f} ({low:.1f}–{high:.1f})",
            f"{100 * one['worst_class']:.1f}", f"{100 * one['after_slice_2']:.1f}", f"{one['ece']:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    floor = 100 * next(iter(measured.values()))["accuracy_floor"]
    lines.append(f"| floor: the most frequent class | | | | {floor:.1f} | | | |")
    return "\n".join(lines) + "\n"


def draw_bars(path: Path, measured: dict[str, dict[str, float]]) -> None:
    """Accuracy of each variant with its interval, the first on top; a line at the floor."""
    from matplotlib import pyplot

    figure_style()
    figure, axis = pyplot.subplots(figsize=(6.4, 0.6 + 0.32 * len(measured)))
    names = [name.replace("_", " ") for name in measured]
    values, lows, highs = (
        np.array([100 * one[f"accuracy{end}"] for one in measured.values()]) for end in ("", "_ci95_low", "_ci95_high")
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
