"""Which extractor is best where: one table as data, and the figures of a run in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BUDGETS = (3, 4, 5, 6, 8, 10, 12, 16, 32)  # mean frames that one may watch at most
NONE = "none decides so early"


def budget_rows(operating: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """One row a budget of frames: frames_at_most, and of the most accurate point within it extractor, accuracy,
    rule and mean frames.

    operating: rows of `tables.operating_rows`; of equally accurate points the earliest counts. All but the budget
    is missing where none of the extractors `names` decides so early.
    """
    import pandas as pd

    columns = ["extractor", "accuracy", "rule", "frames"]
    points = operating[operating["extractor"].isin(names)].sort_values(["accuracy", "frames"], ascending=[False, True])
    best = [points[points["frames"] <= budget][columns].head(1).to_dict("records") for budget in BUDGETS]
    rows = [{"frames_at_most": budget, **(top[0] if top else {})} for budget, top in zip(BUDGETS, best, strict=True)]
    return pd.DataFrame(rows, columns=["frames_at_most", *columns])


def to_markdown(metrics: Mapping[str, Any], budgets: "pd.DataFrame", names: Sequence[str]) -> str:
    """Markdown: every extractor's figures from its metrics, and the rows of `budget_rows`."""
    head = (
        "| extractor | accuracy at the stop | stopped early | mean frame | compute saved | harmonic mean | ECE | "
        "regret | attention over uniform |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = [_figures(name, metrics[name]) for name in names]
    best = [_best(row) for row in budgets.to_dict("records")]
    return (
        "# Early persistence decisions\n\n" + head + "\n".join(lines) + "\n\nIn brackets after ECE: what a perfectly "
        "calibrated model would measure on as many tracks.\n\n## Which extractor for which budget\n\n"
        "| mean frames at most | best | accuracy | by rule |\n|---|---|---|---|\n" + "\n".join(best) + "\n"
    )


def _figures(name: str, m: Mapping[str, float]) -> str:
    regret = f"{m['regret']:.2f}" if "regret" in m else "no optimum known"
    return (
        f"| {name} | {m['accuracy']:.1%} ({m['accuracy_ci95_low']:.1%}–{m['accuracy_ci95_high']:.1%}) | "
        f"{m['early_stop_rate']:.1%} | {m['mean_decision_frame']:.1f} | {m['compute_saved']:.1%} | "
        f"{m['harmonic_mean']:.3f} | {m['ece']:.3f} ({m['ece_floor']:.3f}) | {regret} | "
        f"{m['attention_ratio']:.1f} (untrained {m['attention_ratio_untrained']:.1f}) |"
    )


def _best(row: Mapping[Any, Any]) -> str:
    if not isinstance(row["extractor"], str):
        return f"| {row['frames_at_most']} | {NONE} | | |"
    rule = f"{row['rule']}, {row['frames']:.1f} frames"
    return f"| {row['frames_at_most']} | {row['extractor']} | {row['accuracy']:.1%} | {rule} |"
