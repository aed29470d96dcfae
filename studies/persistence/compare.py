"""One table of the extractors over seeds, and all rules of one seed in one picture, TEASER beside them.

Reads    params persistence; what detect_persistence left of each seed; TEASER's decisions on the first seed's readings
         (studies/persistence/teaser.csv, made by benchmarks/teaser.py in an environment of its own)
Writes   in the study's folder metrics.json; plots/ table.md (also printed), figures.csv (a row a seed and extractor),
         accuracy_over_earliness.png

Alone    python -m studies.persistence.compare --params studies/persistence/params.yaml --section persistence
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from kinetoken.charts.figures import figure_style, new_figure, save_png
from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.params import PositiveFloat
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.persistence.evaluation import harmonic_mean
from studies.variants import read_measured, require_each_once

if TYPE_CHECKING:
    import pandas as pd

PLOTS = Path("studies/persistence/plots")
EXTRACTORS = ("magvit", "transformer", "i3d_causal", "slowfast_causal")
TOLD = {  # key → (title, digits, in per cent, mark)
    "accuracy": ("right at the stop, %", 1, True, "≥ 95"), "early_stop_rate": ("stopped early, %", 1, True, "≥ 90"),
    "mean_decision_frame": ("mean frame", 1, False, ""), "compute_saved": ("compute saved, %", 1, True, "≥ 75"),
    "harmonic_mean": ("harmonic mean", 3, False, "≥ 0.85"), "ece": ("calibration error", 3, False, "≤ 0.02"),
    "regret": ("regret, points", 2, False, "≤ 3"), "attention_ratio": ("attention over uniform", 1, False, "> 2"),
    "place_px": ("place, px", 2, False, ""),
}
TEASER = "TEASER"


@dataclass(frozen=True)
class Comparison:
    """Section persistence."""

    seeds: tuple[int, ...]  # the first is the one that is drawn
    confidence: PositiveFloat  # of the simple rule, as in the stage's params

    def __post_init__(self) -> None:
        require_each_once(map(str, self.seeds))


@dataclass(frozen=True)
class Paths:
    runs: Annotated[Path, Input("a folder a seed")] = Path("studies/persistence/data")
    teaser: Annotated[Path, Input("TEASER's decisions")] = Path("studies/persistence/teaser.csv")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/persistence/metrics.json")
    figures: Annotated[Path, Output("one row a seed and extractor")] = PLOTS / "figures.csv"
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    picture: Annotated[Path, Output("all rules in one picture")] = PLOTS / "accuracy_over_earliness.png"


def run(params: Comparison, paths: Paths, context: Context) -> None:
    import pandas as pd

    runs = {seed: read_run(paths.runs / f"seed_{seed}/metrics.csv") for seed in params.seeds}
    rows = pd.DataFrame([
        {"seed": seed, "extractor": name, **each} for seed, found in runs.items() for name, each in found.items()
    ])
    first = paths.runs / f"seed_{params.seeds[0]}"
    teaser = teaser_point(paths.teaser, pd.read_csv(first / "decisions.csv"))
    operating = pd.read_csv(first / "operating.csv")
    best = max(EXTRACTORS, key=lambda name: float(rows[rows["extractor"] == name]["harmonic_mean"].mean()))
    ahead = lead(best, runs[params.seeds[0]][best], operating, teaser)
    metrics: dict[str, Any] = {name: spread(rows[rows["extractor"] == name]) for name in EXTRACTORS}
    metrics |= {"teaser": teaser, "ahead": ahead}
    write_metrics(paths.metrics, metrics)
    write_csv(paths.figures, rows)
    text = markdown(rows, teaser, best, ahead, len(params.seeds))
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)
    draw(paths.picture, operating, teaser)


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Extractor → figure → number of one seed."""
    needed = {name: {key: f"{name}.{key}" for key in TOLD} for name in EXTRACTORS}
    found = read_measured(path, "detect_persistence", [full for keys in needed.values() for full in keys.values()])
    return {name: {key: found[full] for key, full in keys.items()} for name, keys in needed.items()}


def spread(rows: "pd.DataFrame") -> dict[str, float]:
    """Mean of each figure over seeds, and its standard deviation."""
    found: dict[str, float] = {}
    for key in TOLD:
        found |= {key: float(rows[key].mean()), f"{key}_spread": float(rows[key].std(ddof=1)) if len(rows) > 1 else 0.0}
    return found


def teaser_point(path: Path, decisions: "pd.DataFrame") -> dict[str, float]:
    """TEASER on the test tracks; UserError for decisions on others."""
    import pandas as pd

    told = pd.read_csv(path)
    truth = decisions[decisions["extractor"] == EXTRACTORS[1]].set_index("track_id")
    if set(told["track_id"]) != set(truth.index):
        raise UserError(f"{path}: not the test tracks of this study; run benchmarks/teaser.py again")
    actual = truth.loc[told["track_id"], "actual"].to_numpy() == "persistent"
    accuracy, frame = float((told["predicted"].to_numpy() == actual).mean()), float(told["frames"].mean())
    return {
        "accuracy": accuracy, "mean_decision_frame": frame, "harmonic_mean": harmonic_mean(accuracy, 1 - frame / 32),
    }


def lead(
    best: str, own: Mapping[str, float], operating: "pd.DataFrame", teaser: Mapping[str, float]
) -> dict[str, float]:
    """Is the best extractor ahead? Of TEASER: as right, sooner. Of fixed times: none of any extractor is both as right
    and as soon."""
    fixed = operating[(operating["rule"] == "fixed time") & (operating["extractor"] != "reference")]
    level = (fixed["accuracy"] >= own["accuracy"]) & (fixed["frames"] <= own["mean_decision_frame"])
    return {
        "of_teaser": float(own["accuracy"] >= teaser["accuracy"]
                           and own["mean_decision_frame"] <= teaser["mean_decision_frame"]),
        "of_teaser_by_harmonic_mean": own["harmonic_mean"] - teaser["harmonic_mean"],
        "of_every_fixed_time": float(not level.any()),
    }


def markdown(
    rows: "pd.DataFrame", teaser: Mapping[str, float], best: str, ahead: Mapping[str, float], seeds: int
) -> str:
    """A row an extractor, mean ± standard deviation over seeds, then TEASER's and the marks."""
    lines = ["| extractor | " + " | ".join(title for title, *_ in TOLD.values()) + " |", "|---" * (len(TOLD) + 1) + "|"]
    for name in EXTRACTORS:
        own = rows[rows["extractor"] == name]
        cells = []
        for key, (_, digits, percent, _mark) in TOLD.items():
            scale = 100 if percent else 1
            off = float(np.std(own[key], ddof=1)) if len(own) > 1 else 0.0
            cells.append(f"{scale * own[key].mean():.{digits}f} ± {scale * off:.{digits}f}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines.append(
        f"| TEASER on `transformer`'s readings | {100 * teaser['accuracy']:.1f} |  | "
        f"{teaser['mean_decision_frame']:.1f} |  | {teaser['harmonic_mean']:.3f} |  |  |  |  |"
    )
    lines.append("| mark | " + " | ".join(mark for *_, mark in TOLD.values()) + " |")
    word = {1.0: "yes", 0.0: "no"}
    return "\n".join(lines) + (
        f"\n\n{seeds} seeds, mean ± standard deviation; TEASER on the first seed's. `{best}` is as right as TEASER and "
        f"sooner: {word[ahead['of_teaser']]}; no fixed time of any extractor is both as right and as soon as it: "
        f"{word[ahead['of_every_fixed_time']]}.\n"
    )


@figure_style()
def draw(path: Path, operating: "pd.DataFrame", teaser: Mapping[str, float]) -> None:
    """Accuracy over earliness: every rule of every extractor, the optimum's posterior, and TEASER."""
    figure = new_figure(figsize=(8, 5))
    axes = figure.subplots()
    for place, name in enumerate([*EXTRACTORS, "reference"]):
        own, colour = operating[operating["extractor"] == name], "0.5" if name == "reference" else f"C{place}"
        for rule, style in (("fixed time", ":"), ("confidence", "-")):
            part = own[own["rule"] == rule].sort_values("earliness")
            axes.plot(part["earliness"], part["accuracy"], style, color=colour, lw=1.3, label=f"{name}, {rule}")
        decided = own[own["rule"] == "thresholds"]
        axes.plot(decided["earliness"], decided["accuracy"], "o", color=colour, ms=7)
    axes.plot(1 - teaser["mean_decision_frame"] / 32, teaser["accuracy"], "k*", ms=13, label="TEASER")
    axes.set(
        xlabel="earliness: share of the clip not watched", ylabel="accuracy at the stop", xlim=(0.3, 1),
        ylim=(0.5, 1.005),
    )
    axes.legend(fontsize=7, loc="lower left")
    save_png(figure, path)


def main() -> int:
    return run_stage(run, Comparison, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
