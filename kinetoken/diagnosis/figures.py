"""The diagnosis as drawings for pages: how clips lie by class, where the codebook is used, what training did."""

from typing import TYPE_CHECKING

from kinetoken.charts import svg
from kinetoken.charts.parts import Figure

if TYPE_CHECKING:
    import pandas as pd


def embedding_figures(table: "pd.DataFrame") -> list[Figure]:
    """One scatter for each features and method of the embedding, coloured by class in alphabetical order."""
    figures = []
    for (features, method), panel in table.groupby(["features", "method"], sort=False):
        by_class = panel.groupby("class", sort=True)
        groups = [(str(label), list(zip(part["x"], part["y"], strict=True))) for label, part in by_class]
        title = f"{features}, {method}".replace("codes_pooled", "averaged codes").replace("_", " ")
        figures.append(Figure(title, svg.scatter(groups, f"{title}, coloured by class")))
    return figures


def embedded_classes(table: "pd.DataFrame") -> list[str]:
    """The classes of the embedding in the order of their colours."""
    return sorted(set(table["class"].astype(str)))


def usage_figures(table: "pd.DataFrame") -> list[Figure]:
    """Perplexity of the codes at each place of the token grid, a grid a time slice."""
    peak, figures = float(table["perplexity"].max()), []
    for name, rows in table.groupby("slice", sort=True):
        grid = rows.pivot(index="row", columns="column", values="perplexity").to_numpy().tolist()
        figures.append(Figure(f"slice {name}", svg.heat_grid(grid, peak, f"perplexity by position, slice {name}")))
    return figures


def level_figures(table: "pd.DataFrame") -> list[Figure]:
    """How often each level is used, a chart a channel; of what moves only where anything is known to move."""
    figures = []
    for channel, rows in table.groupby("channel", sort=True):
        level = rows["level"].tolist()
        series = [svg.Series("all tokens", level, rows["share"].tolist())]
        if rows["share_foreground"].any():
            series.append(svg.Series("on the foreground", level, rows["share_foreground"].tolist(), colour=1))
        drawing = svg.line_chart(series, "level", "share of tokens", x_ticks=level)
        figures.append(Figure(f"channel {channel}", drawing))
    return figures


def history_figures(table: "pd.DataFrame") -> list[Figure]:
    """The validation loss of the tokenizer's training over epochs."""
    line = svg.Series("validation loss", table["epoch"].tolist(), table["val_loss"].tolist())
    drawing = svg.line_chart([line], "epoch", "validation loss", log=bool((table["val_loss"] > 0).all()))
    return [Figure("Validation loss", drawing)]
