"""The diagnosis as pictures: how clips lie by class, and where the codebook is used."""

from pathlib import Path

import pandas as pd

from kinetoken.charts.figures import figure_style, new_figure, save_png

FEATURES = {"codes": "codes", "codes_pooled": "codes averaged over space"}
TICKS = 9  # at most, along an axis of levels


@figure_style()
def draw_embedding(path: Path, table: pd.DataFrame) -> None:
    """One panel for each features and method of `embedding.embed`, coloured by class."""
    rows, columns = table["features"].unique(), table["method"].unique()
    figure = new_figure(figsize=(3.6 * len(columns), 3.3 * len(rows)))
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for (features, method), part in table.groupby(["features", "method"], sort=False):
        axis = axes[list(rows).index(features), list(columns).index(method)]
        for name, points in part.groupby("class", sort=True):
            axis.scatter(points["x"], points["y"], s=9, alpha=0.7, linewidths=0, label=str(name))
        axis.set(title=f"{FEATURES.get(str(features), features)}, {method}", xticks=[], yticks=[])
        axis.set(xlabel="first component", ylabel="second component")
    axes[0, 0].legend(markerscale=2, fontsize=8, title="class of a clip")
    save_png(figure, path)


@figure_style()
def draw_usage(path: Path, positions: pd.DataFrame, levels: pd.DataFrame) -> None:
    """Perplexity at each place of the grid, a panel a time slice; below, how often each FSQ level is used."""
    slices = positions["slice"].unique()
    channels = levels["channel"].unique()
    columns = max(len(slices), len(channels))
    figure = new_figure(figsize=(2.4 * columns, 4.8))
    axes = figure.subplots(2 if len(channels) else 1, columns, squeeze=False)
    highest = positions["perplexity"].max()
    for axis in axes.ravel():
        axis.set_axis_off()
    for place, slice_ in enumerate(slices):
        grid = positions[positions["slice"] == slice_].pivot(index="row", columns="column", values="perplexity")
        axes[0, place].set_axis_on()
        image = axes[0, place].imshow(grid.to_numpy(), vmin=1, vmax=highest)
        axes[0, place].set(title=f"time slice {slice_}", xlabel="column", xticks=[], yticks=[])
        axes[0, place].grid(False)
    axes[0, 0].set_ylabel("row")
    figure.colorbar(image, ax=axes[0, :].tolist(), shrink=0.7, label="perplexity of the codes there")
    for place, channel in enumerate(channels):
        part = levels[levels["channel"] == channel]
        axes[1, place].set_axis_on()
        axes[1, place].bar(part["level"] - 0.2, part["share"], 0.4, label="all tokens")
        axes[1, place].bar(part["level"] + 0.2, part["share_foreground"], 0.4, label="on the ball")
        ticks = part["level"].tolist()
        axes[1, place].set(title=f"channel {channel}", xlabel="level", xticks=ticks[:: -(-len(ticks) // TICKS)])
    if len(channels):
        axes[1, 0].set_ylabel("share of tokens")
        axes[1, 0].legend(fontsize=7)
    save_png(figure, path)
