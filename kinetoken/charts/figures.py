"""Figures as PNG files: one style, the same bytes for the same numbers."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[str, object] = {
    "figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9,
    "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.25, "grid.linewidth": 0.5, "legend.frameon": False, "image.cmap": "viridis",
    "image.interpolation": "nearest",
}


def figure_style() -> None:
    """Draw without a display, in the project's style. Call before making a figure."""
    import matplotlib

    matplotlib.use("Agg", force=True)
    matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]


def save_png(figure: "Figure", path: Path) -> None:
    """Write the figure with no date and no version in it, and close it."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})
    pyplot.close(figure)
