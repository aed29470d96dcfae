"""One table of the variants of GASM-CAST, from what train_gasm_cast measured of each.

Reads    params gasm_cast; the metrics of each variant
Writes   metrics/gasm_cast.json; plots/gasm_cast/ table.md (also printed), top1.csv

Alone    python -m studies.gasm_cast.compare --params studies/gasm_cast/params.yaml --section gasm_cast
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.errors import UserError
from kinetoken.stage import Context, Input, Output, run_stage

PLOTS = Path("plots/gasm_cast")
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
        names = [row.name for row in self.rows]
        if not names or len(set(names)) < len(names):
            raise ValueError("rows: name at least one, each once")


@dataclass(frozen=True)
class Paths:
    variants: Annotated[Path, Input("of each variant metrics.json")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/gasm_cast.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    top1: Annotated[Path, Output("one row a variant")] = PLOTS / "top1.csv"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    import pandas as pd

    measured = {row.name: read_variant(paths.variants / row.name / "metrics.json") for row in params.rows}
    write_metrics(paths.metrics, measured)
    write_csv(paths.top1, pd.DataFrame([{"variant": name, **numbers} for name, numbers in measured.items()]))
    text = markdown(params.rows, measured)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def read_variant(path: Path) -> dict[str, float]:
    """What the table tells of a variant, and its worst class."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run train_gasm_cast for that variant first") from None
    kept = {name: found[name] for name in KEPT} | {name: found[name] for name in ALSO if name in found}
    return {**kept, "worst_class": min(found["per_class"].values())}


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
            f"`{row.name}`", row.changed, _ranged(one, "top1"), f"{100 * one['top5']:.1f}",
            f"{100 * one['worst_class']:.1f}", _ranged(one, "within_pairs") if "within_pairs" in one else "",
            f"{one['trainable_parameters_full'] / 1e6:.2f} M", f"{100 * one['fusion_macs_saved']:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    floor = 100 * next(iter(measured.values()))["top1_floor"]
    lines.append(f"| floor: the most frequent class | | {floor:.1f} | | | | | |")
    return "\n".join(lines) + "\n"


def _ranged(one: dict[str, float], name: str) -> str:
    value, low, high = (100 * one[f"{name}{end}"] for end in ("", "_ci95_low", "_ci95_high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def main() -> int:
    return run_stage(run, Comparison, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
