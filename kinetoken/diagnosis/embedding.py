"""Views of clips in two dimensions, neighbours close together."""

from importlib import import_module

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.float64]

LEAST_DIFFERENT = 8  # clips for a t-SNE


def embed(features: dict[str, Vectors], label: np.ndarray, track_id: np.ndarray, seed: int) -> pd.DataFrame:
    """Two-dimensional views of clips (N, F): rows track_id, class, features, method, x, y.

    Methods are PCA, t-SNE (van der Maaten & Hinton 2008), and UMAP (McInnes et al. 2018, arXiv:1802.03426) where the
    package umap-learn is installed. The last two begin with the first principal components, so that they do not hang
    on chance, and are left out where fewer than LEAST_DIFFERENT clips differ.
    """
    from sklearn.decomposition import PCA

    parts = []
    for name, vectors in features.items():
        most = min(30, *vectors.shape)
        components = np.zeros((len(vectors), most))
        if np.ptp(vectors, axis=0).any():
            components = PCA(most, svd_solver="full").fit_transform(vectors.astype(np.float64))
        views = {"PCA": np.pad(components, ((0, 0), (0, 1)))[:, :2]}
        views |= _neighbours(components, seed)
        for method, places in views.items():
            parts.append(pd.DataFrame({
                "track_id": track_id, "class": label, "features": name, "method": method,
                "x": places[:, 0], "y": places[:, 1],
            }))
    return pd.concat(parts, ignore_index=True)


def _neighbours(components: Places, seed: int) -> dict[str, Places]:
    """Views of the rows that differ; equal rows share a place. scikit-learn's ends the process on rows all alike."""
    _, first, row = np.unique(components.round(9), axis=0, return_index=True, return_inverse=True)
    if len(first) < LEAST_DIFFERENT:
        return {}
    order = np.sort(first)
    views = {"t-SNE": _tsne(components[order], seed), "UMAP": _umap(components[order], seed)}
    place = np.searchsorted(order, first[row.ravel()])
    return {method: spread[place] for method, spread in views.items() if spread is not None}


def _tsne(points: Places, seed: int) -> Places:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1, max_iter=500)
    return np.asarray(model.fit_transform(points))


def _umap(points: Places, seed: int) -> Places | None:
    """None where umap-learn is not installed: it is in no extra, so that a default run draws the same everywhere."""
    try:
        umap = import_module("umap").UMAP
    except (ImportError, AttributeError):  # another package has the same name and no UMAP
        return None
    model = umap(n_neighbors=min(15, len(points) - 1), init="pca", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(points), np.float64)
