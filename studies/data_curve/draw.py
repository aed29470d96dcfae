"""The data curve in one plot and one table, from what was measured of each reader.

Reads    params data_curve_table; one table a reader
Writes   metrics/data_curve.json; plots/data_curve/ curve.csv, curve.png, table.md (also printed)

Alone    python -m studies.data_curve.draw --params studies/data_curve/params.yaml --section data_curve_table
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.errors import UserError
from kinetoken.report.figures import figure_style, new_figure, save_png
from kinetoken.stage import Context, Input, Output, run_stage

if TYPE_CHECKING:
    import pandas as pd

PLOTS = Path("plots/data_curve")
MEASURED = ("accuracy", "accuracy_ci95_low", "accuracy_ci95_high", "accuracy_floor", "worst_class")
COLOURS = ("#4878a8", "#b06030", "#509050", "#805090")
LEAST_ERROR = 0.02  # per cent: where a reader that is never wrong is drawn on a logarithmic axis


@dataclass(frozen=True)
class Readers:
    """Section data_curve_table: the readers in the order of the table."""

    readers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.readers or len(set(self.readers)) < len(self.readers):
            raise ValueError("readers: name at least one, each once")


@dataclass(frozen=True)
class Paths:
    measured: Annotated[Path, Input("of each reader <reader>.csv")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/data_curve.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    curve: Annotated[Path, Output("one row a reader and number of clips")] = PLOTS / "curve.csv"
    picture: Annotated[Path, Output("the same, drawn")] = PLOTS / "curve.png"


def run(params: Readers, paths: Paths, context: Context) -> None:
    import pandas as pd

    curve = pd.concat([read_rows(paths.measured / f"{name}.csv") for name in params.readers], ignore_index=True)
    write_csv(paths.curve, curve)
    metrics: dict[str, Any] = {name: {} for name in params.readers}
    for row in curve.to_dict("records"):
        metrics[row["reader"]][str(row["clips"])] = {name: row[name] for name in MEASURED}
    write_metrics(paths.metrics, metrics)
    draw_curve(paths.picture, curve)
    text = markdown(curve)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def read_rows(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run studies.data_curve.measure for that reader first") from None


def markdown(curve: "pd.DataFrame") -> str:
    """A row a number of clips, a column a reader, in per cent with the interval; the floor last."""
    readers = list(curve["reader"].unique())
    lines = [f"| training clips | {' | '.join(readers)} |", "|---" * (len(readers) + 1) + "|"]
    for clips, rows in curve.groupby("clips"):
        cells = [_share(rows[rows["reader"] == name].iloc[0]) for name in readers]
        lines.append(f"| {clips:,} | {' | '.join(cells)} |")
    floors = [f"{100 * curve.loc[curve['reader'] == name, 'accuracy_floor'].iloc[0]:.1f}" for name in readers]
    lines.append(f"| floor: the most frequent class | {' | '.join(floors)} |")
    return "\n".join(lines) + "\n"


def _share(row: Any) -> str:  # noqa: ANN401 - a row of a frame
    value, low, high = (100 * row[f"accuracy{end}"] for end in ("", "_ci95_low", "_ci95_high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


@figure_style()
def draw_curve(path: Path, curve: "pd.DataFrame") -> None:
    """Share of test clips read wrongly over training clips, both logarithmic, intervals as bands, the floor dashed."""
    figure = new_figure(figsize=(6.0, 4.0))
    axis = figure.subplots()
    for (name, rows), colour in zip(curve.groupby("reader", sort=False), COLOURS, strict=False):
        wrong, most, least = (
            (100 * (1 - rows[f"accuracy{end}"])).clip(lower=LEAST_ERROR) for end in ("", "_ci95_low", "_ci95_high")
        )
        axis.plot(rows["clips"], wrong, marker="o", markersize=4, color=colour, label=str(name))
        axis.fill_between(rows["clips"], least, most, color=colour, alpha=0.2, linewidth=0)
    axis.axhline(100 * (1 - curve["accuracy_floor"].iloc[0]), color="#b03030", linestyle="--", label="floor")
    axis.set(xscale="log", yscale="log", xlabel="training clips", ylabel="test clips read wrongly, %; none: the bottom")
    sizes = sorted(curve["clips"].unique())
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    ticks = [0.1, 1, 10, 100]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.legend(loc="center right", bbox_to_anchor=(1.0, 0.3))
    save_png(figure, path)


def main() -> int:
    return run_stage(run, Readers, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
