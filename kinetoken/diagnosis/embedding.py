"""Views of clips in two dimensions, neighbours close together."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
