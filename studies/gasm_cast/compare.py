"""One table of the variants of GASM-CAST, from what train_gasm_cast measured of each.

Reads    params gasm_cast; the numbers of each variant
Writes   studies/gasm_cast/metrics.json; studies/gasm_cast/plots/ table.md (also printed), top1.csv

Alone    python -m studies.gasm_cast.compare --params studies/gasm_cast/params.yaml --section gasm_cast
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.variants import markdown_row, ranged, read_measured, require_each_once, tell, under

PLOTS = Path("studies/gasm_cast/plots")
KEPT = (
    "top1", "top1_ci95_low", "top1_ci95_high", "top1_floor", "top5", "ece", "trainable_parameters",
    "trainable_parameters_full", "fusion_macs_saved", "end_to_end_macs_saved",
)
ALSO = ("within_pairs", "within_pairs_ci95_low", "within_pairs_ci95_high", "pair_top1")  # of sets with mirrored pairs


@dataclass(frozen=True)
class Row:
    """A variant as the table tells it."""

    name: str  # of the section of train_gasm_cast
    changed: str


@dataclass(frozen=True)
class Comparison:
    """Section gasm_cast: the rows in the order of the table."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        require_each_once(row.name for row in self.rows)


@dataclass(frozen=True)
class Paths:
    variants: Annotated[Path, Input("of each variant metrics.csv, its numbers")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/gasm_cast/metrics.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    top1: Annotated[Path, Output("one row a variant")] = PLOTS / "top1.csv"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    measured = {row.name: read_variant(paths.variants / row.name / "metrics.csv") for row in params.rows}
    tell(measured, markdown(params.rows, measured), paths.metrics, paths.top1, paths.table)


def read_variant(path: Path) -> dict[str, float]:
    """What the table tells of a variant, and its worst class."""
    found = read_measured(path, "train_gasm_cast", (*KEPT, "per_class."))
    kept = {name: found[name] for name in KEPT} | {name: found[name] for name in ALSO if name in found}
    return {**kept, "worst_class": min(under(found, "per_class.").values())}


def markdown(rows: tuple[Row, ...], measured: dict[str, dict[str, float]]) -> str:
    """The table: a row a variant, in per cent, the interval beside the accuracy."""
    lines = [
        "| variant | changed | Top-1, % | Top-5, % | worst class, % | order within pairs, % (chance 50) "
        "| trained, full size | fusion's multiply-adds saved, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        one = measured[row.name]
        cells = (
            f"`{row.name}`", row.changed, ranged(one, "top1"), f"{100 * one['top5']:.1f}",
            f"{100 * one['worst_class']:.1f}", ranged(one, "within_pairs") if "within_pairs" in one else "",
            f"{one['trainable_parameters_full'] / 1e6:.2f} M", f"{100 * one['fusion_macs_saved']:.0f}",
        )
        lines.append(markdown_row(cells))
    floor = 100 * next(iter(measured.values()))["top1_floor"]
    lines.append(f"| floor: the most frequent class | | {floor:.1f} | | | | | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    return run_stage(run, Comparison, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
