"""The diagnosis as pictures: how clips lie by class, and where the codebook is used."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetoken.report.figures import figure_style, new_figure, save_png

Vectors = NDArray[np.float32]

LEAST_DIFFERENT = 8  # clips for a t-SNE


def embed(features: dict[str, Vectors], label: np.ndarray, track_id: np.ndarray, seed: int) -> pd.DataFrame:
    """Two-dimensional views of clips (N, F): rows track_id, class, features, method (PCA or t-SNE), x, y.

    t-SNE (van der Maaten & Hinton 2008) from the first principal components, so that it does not hang on chance;
    left out where fewer than LEAST_DIFFERENT clips differ.
    """
    from sklearn.decomposition import PCA

    parts = []
    for name, vectors in features.items():
        most = min(30, *vectors.shape)
        components = np.zeros((len(vectors), most))
        if np.ptp(vectors, axis=0).any():
            components = PCA(most, svd_solver="full").fit_transform(vectors.astype(np.float64))
        views = {"PCA": np.pad(components, ((0, 0), (0, 1)))[:, :2]}
        if (spread := _neighbours(components, seed)) is not None:
            views["t-SNE"] = spread
        for method, places in views.items():
            parts.append(pd.DataFrame({
                "track_id": track_id, "class": label, "features": name, "method": method,
                "x": places[:, 0], "y": places[:, 1],
            }))
    return pd.concat(parts, ignore_index=True)


def _neighbours(components: NDArray[np.float64], seed: int) -> NDArray[np.float64] | None:
    """t-SNE of the rows that differ; equal rows share a place. scikit-learn's ends the process on rows all alike."""
    from sklearn.manifold import TSNE

    _, first, row = np.unique(components.round(9), axis=0, return_index=True, return_inverse=True)
    if len(first) < LEAST_DIFFERENT:
        return None
    order = np.sort(first)
    perplexity = min(30.0, (len(order) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1, max_iter=500)
    spread = model.fit_transform(components[order])
    return np.asarray(spread[np.searchsorted(order, first[row.ravel()])])


@figure_style()
def draw_embedding(path: Path, table: pd.DataFrame) -> None:
    """One panel for each features and method of `embed`, coloured by class."""
    rows, columns = table["features"].unique(), table["method"].unique()
    figure = new_figure(figsize=(3.6 * len(columns), 3.3 * len(rows)))
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for (features, method), part in table.groupby(["features", "method"], sort=False):
        axis = axes[list(rows).index(features), list(columns).index(method)]
        for name, points in part.groupby("class", sort=True):
            axis.scatter(points["x"], points["y"], s=9, alpha=0.7, linewidths=0, label=str(name))
        axis.set(title=f"{features}, {method}", xticks=[], yticks=[])
    axes[0, 0].legend(markerscale=2, fontsize=8)
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
        axes[0, place].set(title=f"perplexity, slice {slice_}", xticks=[], yticks=[])
        axes[0, place].grid(False)
    figure.colorbar(image, ax=axes[0, :].tolist(), shrink=0.7)
    for place, channel in enumerate(channels):
        part = levels[levels["channel"] == channel]
        axes[1, place].set_axis_on()
        axes[1, place].bar(part["level"] - 0.2, part["share"], 0.4, label="all tokens")
        axes[1, place].bar(part["level"] + 0.2, part["share_foreground"], 0.4, label="on the ball")
        axes[1, place].set(title=f"levels of channel {channel}", xticks=part["level"].tolist())
    if len(channels):
        axes[1, 0].legend(fontsize=7)
    save_png(figure, path)
