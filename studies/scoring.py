"""What studies that score a doctor have in common: shares with exact intervals, and a confusion of names, drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.charts.figures import figure_style, new_figure, save_png

if TYPE_CHECKING:
    import pandas as pd

PLAIN = {"savefig.dpi": 110}  # the picture's style: matplotlib's own


def share(count: int, total: int, name: str) -> dict[str, Any]:
    """How many of how many runs, their share, and its 95 % interval; a share of nothing is 0."""
    low, high = clopper_pearson(count, total)
    return {
        "runs": total, name: count, f"{name}_share": count / total if total else 0.0,
        f"{name}_share_ci95_low": low, f"{name}_share_ci95_high": high,
    }


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """Exact 95 % interval of a share (Clopper & Pearson 1934); (0, 1) of nothing."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high


@figure_style(PLAIN)
def draw_confusion(path: Path, scored: "pd.DataFrame", first: str) -> None:
    """True causes (column `cause`) down, named ones (`named`) across, counts in the cells; `first` leads both."""
    names = [first, *sorted(set(scored["cause"]) - {first})]
    across = [*names, *sorted(set(scored["named"]) - set(names))]
    counts = [[int(((scored["cause"] == a) & (scored["named"] == b)).sum()) for b in across] for a in names]
    figure = new_figure(figsize=(1.5 + 0.55 * len(across), 2.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.imshow([[count / max(sum(row), 1) for count in row] for row in counts], cmap="Blues", vmin=0, vmax=1.3)
    for row, values in enumerate(counts):
        for column, count in enumerate(values):
            if count:
                axes.text(column, row, str(count), ha="center", va="center")
    axes.set_xticks(range(len(across)), across, rotation=50, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("cause named")
    axes.set_ylabel("fault injected")
    save_png(figure, path)
