"""The shape of latents and codes: how many directions they use, what quantizing costs, how classes lie."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]

BOOTSTRAP_DRAWS = 200


def effective_rank(vectors: Vectors) -> float:
    """exp of the entropy of the normalised singular values of the centred vectors (..., D), between 1 and D.

    Roy & Vetterli (2007), "The effective rank". 1 also for vectors that are all the same.
    """
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(0)
    return _rank_of_moment(centred.T @ centred)


def effective_rank_interval(vectors: Vectors, seed: int) -> tuple[float, float]:
    """95 % interval over clips, vectors (N, ..., D): the estimate ± 1.96 bootstrap standard deviations."""
    flat = vectors.reshape(len(vectors), -1, vectors.shape[-1]).astype(np.float64)  # (N, P, D)
    second, first = np.einsum("npd,npe->nde", flat, flat, optimize=True), flat.sum(1)
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), BOOTSTRAP_DRAWS).astype(np.float64)
    square = np.einsum("bn,nde->bde", weight, second, optimize=True)
    total = weight @ first
    count = len(flat) * flat.shape[1]
    drawn = [_rank_of_moment(m - np.outer(s, s) / count) for m, s in zip(square, total, strict=True)]
    whole, deviation = effective_rank(vectors), float(np.std(drawn))
    return max(1.0, whole - 1.96 * deviation), min(float(vectors.shape[-1]), whole + 1.96 * deviation)


def _rank_of_moment(moment: Array) -> float:
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(moment), 0))
    if singular.sum() <= 0:
        return 1.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def quantization_error(latents: Vectors, quantized: Vectors) -> float:
    """Mean squared error of quantizing over the latents' variance, both (..., D).

    0: the codes are the latents (no quantizer ran); near 1: the codes tell nothing of them. 1 for latents
    that do not vary.
    """
    flat = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
    variance = float(((flat - flat.mean(0)) ** 2).sum())
    error = float(((flat - quantized.reshape(flat.shape)) ** 2).sum())
    return error / variance if variance > 0 else 1.0


def quantization_error_interval(latents: Vectors, quantized: Vectors, seed: int) -> tuple[float, float]:
    """95 % percentile interval of quantization_error by the bootstrap over clips, both (N, ..., D) (Efron 1979)."""
    flat = latents.reshape(len(latents), -1, latents.shape[-1]).astype(np.float64)
    spread = ((flat - flat.mean((0, 1))) ** 2).sum((1, 2))
    error = ((flat - quantized.reshape(flat.shape)) ** 2).sum((1, 2))
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), BOOTSTRAP_DRAWS)
    total = weight @ spread
    drawn = np.divide(weight @ error, total, out=np.ones(BOOTSTRAP_DRAWS), where=total > 0)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class ClassDistances:
    """Root-mean-square distances a feature (Euclidean over √F), so that widths can be compared."""

    pairwise: float  # of two clips
    within: float  # of two clips of one class
    between: float  # of two clips of different classes
    means_least: float  # of the two class means that are closest
    means_most: float

    @property
    def separation(self) -> float:
        """Between over within: 1 where the class does not show in the distances."""
        return self.between / self.within if self.within > 0 else 1.0


def class_distances(features: Vectors, target: NDArray[np.int64]) -> ClassDistances:
    """Distances among clips (N, F) and class means. ValueError with fewer than two classes."""
    classes = np.unique(target)
    if len(classes) < 2:
        raise ValueError("class distances need at least two classes")
    width = np.sqrt(features.shape[1])
    flat = features.astype(np.float64)
    distance = _distances(flat) / width
    same = target[:, None] == target
    other = ~np.eye(len(target), dtype=bool)
    means = _distances(np.stack([flat[target == c].mean(0) for c in classes])) / width
    apart = means[np.triu_indices(len(classes), 1)]
    return ClassDistances(
        float(distance[other].mean()), float(distance[same & other].mean()), float(distance[~same].mean()),
        float(apart.min()), float(apart.max()),
    )


def _distances(rows: Array) -> Array:
    square = (rows**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(square[:, None] + square - 2 * rows @ rows.T, 0)))


def silhouettes(features: Vectors, target: NDArray[np.int64]) -> Array:
    """Each clip's silhouette (N,) among the true classes, features (N, F): in [−1, 1], about 0 where they overlap.

    Rousseeuw (1987).
    """
    from sklearn.metrics import silhouette_samples

    return np.asarray(silhouette_samples(features, target), np.float64)
