"""One table of I3D + MAGVIT and of each change to it, from what train_i3d_magvit measured of each.

Reads    params two_stream; the numbers of each variant
Writes   in the study's folder metrics.json; plots/ table.md (also printed), figures.csv (one row a variant)

Alone    python -m studies.two_stream.compare --params studies/two_stream/params.yaml --section two_stream
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.variants import ENDS, markdown_row, ranged, read_measured, require_each_once, tell, under

PLOTS = Path("studies/two_stream/plots")
KEPT = (
    *(f"{name}{end}" for name in ("accuracy", "forecast_mae_percent", "forecast_rmse_percent")
      for end in (*ENDS, "_floor")),
    "forecast_mae", "forecast_mae_floor", "frame_psnr_db", "frame_psnr_db_floor", "frame_psnr_db_ceiling",
    "frame_centroid_error_px", "frame_centroid_error_px_floor", "frame_centroid_error_px_ceiling", "parameters",
)


@dataclass(frozen=True)
class Row:
    """A variant as the table tells it."""

    name: str  # of the section of train_i3d_magvit
    change: str  # in words, against the first


@dataclass(frozen=True)
class Comparison:
    """Section two_stream: the rows in the order of the table."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        require_each_once(row.name for row in self.rows)


@dataclass(frozen=True)
class Paths:
    variants: Annotated[Path, Input("of each variant metrics.csv")] = Path("studies/two_stream/data/variants")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/two_stream/metrics.json")
    figures: Annotated[Path, Output("one row a variant")] = PLOTS / "figures.csv"
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    measured = {row.name: read_variant(paths.variants / row.name / "metrics.csv") for row in params.rows}
    tell(measured, markdown(params.rows, measured), paths.metrics, paths.figures, paths.table)


def read_variant(path: Path) -> dict[str, float]:
    """What the table tells of a variant; UserError if it was not run, or by another stage."""
    places = ("place_px", "place_px_floor")
    found = read_measured(path, "train_i3d_magvit", (
        *KEPT, "per_class.", "past.accuracy", "past.per_class.", "backbone.parameters",
        *(f"frames_alone.{name}" for name in places),
    ))
    bare = "without_frames.accuracy"
    return {
        **{name: found[name] for name in KEPT}, "worst_class": min(under(found, "per_class.").values()),
        "accuracy_of_past": found["past.accuracy"],
        "worst_class_of_past": min(under(found, "past.per_class.").values()),
        "backbone_parameters": found["backbone.parameters"],
        **{f"frames_alone_{name}": found[f"frames_alone.{name}"] for name in places},
        **({"without_frames": found[bare]} if bare in found else {}),
    }


def markdown(rows: tuple[Row, ...], measured: dict[str, dict[str, float]]) -> str:
    """A row a variant, shares in per cent, intervals beside; last the floors, which no variant changes.

    The class is told once more with the frames left open, by a network that is used to that.
    """
    lines = [
        "| variant | change | class, % | worst class, % | with no frames, % | class of the past, % |"
        " future, % of the extent (mean) | (root mean square) | ball in the frames to come, px |"
        " place by frames alone, px | parameters of the backbone |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        one = measured[row.name]
        cells = (
            f"`{row.name}`", row.change, ranged(one, "accuracy"), f"{100 * one['worst_class']:.1f}",
            f"{100 * one['without_frames']:.1f}" if "without_frames" in one else "",
            f"{100 * one['accuracy_of_past']:.1f}", ranged(one, "forecast_mae_percent", 1, 2),
            f"{one['forecast_rmse_percent']:.2f}", f"{one['frame_centroid_error_px']:.2f}",
            f"{one['frames_alone_place_px']:.2f}", f"{one['backbone_parameters']:,.0f}",
        )
        lines.append(markdown_row(cells))
    one = next(iter(measured.values()))
    chance = f"{100 * one['accuracy_floor']:.1f}"
    floors = (
        "floor", "the most frequent class; the best of three rules told the true past", chance, "", "", chance,
        f"{one['forecast_mae_percent_floor']:.2f}", f"{one['forecast_rmse_percent_floor']:.2f}",
        f"{one['frame_centroid_error_px_floor']:.2f}", f"{one['frames_alone_place_px_floor']:.2f}", "",
    )
    ceiling = ("ceiling", "the true tokens decoded", *[""] * 6, f"{one['frame_centroid_error_px_ceiling']:.2f}", "", "")
    return "\n".join([*lines, markdown_row(floors), markdown_row(ceiling)]) + "\n"


def main() -> int:
    return run_stage(run, Comparison, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
