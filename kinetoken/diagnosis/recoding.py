"""Codes made anew from latents and code vectors: do they agree with the table's?

Only where they do for many clips are latents known to be those that were quantized, and then the clips that differ show
a fault of the table.
"""

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import Indices
from kinetoken.diagnosis.chain import bounded_latents

Vectors = NDArray[np.float32]

BELONG = 0.25  # share of clips whose codes must agree with their latents for the others' disagreement to mean anything
AGREE = 0.99  # share of a clip's tokens that must be the same: rounding between machines stays far below
MOST_CODES = 4096
ROWS = 65536  # tokens compared at once


def recoded(latents: Vectors, codes: Indices, vectors: Vectors, levels: tuple[int, ...]) -> Indices | None:
    """The nearest of the vectors (K, D) to each latent (N, T', H', W', D), as codes (N, T', H', W').

    Latents may be what was rounded, or for FSQ what was bounded before; for other codebooks nearness is Euclidean or
    by angle: whichever agrees most with the codes. None if none agrees for a quarter of the clips, or vectors are too
    many or of another width.
    """
    if vectors.shape[1] != latents.shape[-1] or len(vectors) > MOST_CODES or (codes < 0).any():
        return None
    flat = latents.reshape(-1, latents.shape[-1])
    tries = [nearest(bounded_latents(flat, levels), vectors)] if levels else []
    found = [one.reshape(codes.shape) for one in (*tries, nearest(flat, vectors))]
    if not levels and _belonging(found[0], codes) < BELONG:
        found.append(nearest(_unit(flat), _unit(vectors)).reshape(codes.shape))
    best = max(found, key=lambda one: _belonging(one, codes))
    return best if _belonging(best, codes) >= BELONG else None


def _belonging(made: Indices, codes: Indices) -> float:
    """Share of clips whose codes agree, at their places or as a multiset: chance does neither."""
    first, second = made.reshape(len(codes), -1), codes.reshape(len(codes), -1)
    same = np.maximum((first == second).mean(1), (np.sort(first, 1) == np.sort(second, 1)).mean(1))
    varied = np.ptp(second, axis=1) > 0  # where a clip is one code, agreement of the two says little
    return float(((same >= AGREE) & varied).mean())


def nearest(points: Vectors, vectors: Vectors) -> NDArray[np.int32]:
    """Index of the nearest vector (K, D) to each point (M, D), by Euclidean distance."""
    length = (vectors**2).sum(1) / 2
    parts = [
        (length - points[start : start + ROWS] @ vectors.T).argmin(1) for start in range(0, len(points), ROWS)
    ]
    return np.concatenate(parts).astype(np.int32)


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
