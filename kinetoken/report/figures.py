"""Figures as PNG files: one style, the same bytes for the same numbers, whatever the environment says of drawing."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[str, object] = {
    "figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9,
    "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.25, "grid.linewidth": 0.5, "legend.frameon": False, "image.cmap": "viridis",
    "image.interpolation": "nearest",
}
BACKEND = "MPLBACKEND"  # the variable by which notebooks name the backend of their cells


@contextmanager
def figure_style(style: Mapping[str, object] = STYLE) -> Iterator[None]:
    """Draw in the project's style, over matplotlib's defaults: to decorate a function that draws and saves a figure.

    A matplotlibrc file has no effect inside; afterwards the caller's settings hold again.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def new_figure(**options: Any) -> "Figure":  # noqa: ANN401 - those of matplotlib's Figure
    """An empty figure that Agg draws. Without pyplot, which would load the backend that the environment names."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)  # the figure keeps it
    return figure


def save_png(figure: "Figure", path: Path) -> None:
    """Write the figure with no date and no version in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})


def _matplotlib() -> ModuleType:
    """matplotlib; its first import fails where MPLBACKEND names a backend that is not installed, so it is hidden."""
    named = os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    finally:
        if named is not None:
            os.environ[BACKEND] = named
    return matplotlib
