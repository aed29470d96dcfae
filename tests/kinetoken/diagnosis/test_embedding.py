"""Two-dimensional views of clips: which there are, with and without the package of UMAP."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinetoken.diagnosis.embedding import embed

CODES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
CODES[11] = CODES[0]  # equal clips share a place
LABEL, IDS = np.array(["left", "right"] * 6), np.arange(12)


class FakeUmap:
    asked: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        FakeUmap.asked = options

    def fit_transform(self, points: np.ndarray) -> np.ndarray:
        return points[:, :2].astype(np.float32) + 1


def test_umap_is_a_view_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    without = embed({"codes": CODES}, LABEL, IDS, seed=4)
    assert without["method"].unique().tolist() == ["PCA", "t-SNE"]
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    found = embed({"codes": CODES}, LABEL, IDS, seed=4)
    assert found["method"].unique().tolist() == ["PCA", "t-SNE", "UMAP"]
    assert found[found["method"] != "UMAP"].reset_index(drop=True).equals(without)
    assert FakeUmap.asked == {"n_neighbors": 10, "init": "pca", "random_state": 4, "n_jobs": 1}
    drawn = found[found["method"] == "UMAP"].reset_index(drop=True)
    places = without.loc[without["method"] == "PCA", ["x", "y"]].to_numpy() + 1
    np.testing.assert_allclose(drawn[["x", "y"]], places, atol=1e-5)  # as the fake gives them, equal rows at one place


def test_a_package_that_only_bears_the_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace())
    assert "UMAP" not in set(embed({"codes": CODES}, LABEL, IDS, seed=4)["method"])


def test_clips_that_are_all_alike_have_no_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    assert set(embed({"codes": np.ones((12, 5), np.float32)}, LABEL, IDS, seed=4)["method"]) == {"PCA"}
