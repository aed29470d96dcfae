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


def recoded(
    latents: Vectors, codes: Indices, tables: list[Vectors], starts: list[int], levels: tuple[int, ...]
) -> Indices | None:
    """The nearest vectors to each latent (N, T', H', W', D), as codes (N, T', H', W') or (N, T', H', W', Q).

    tables: a codebook's vectors (K, D), or those of Q codebooks that each code what the ones before leave over;
    starts: the number of each one's first code. Latents may be what was rounded, or for FSQ what was bounded before;
    for other codebooks nearness is Euclidean or by angle: whichever agrees most with the codes. None if none agrees for
    a quarter of the clips, or vectors are too many or of another width.
    """
    width = latents.shape[-1]
    if any(table.shape[1] != width or len(table) > MOST_CODES for table in tables) or (codes < 0).any():
        return None
    flat = latents.reshape(-1, width)
    tries = [_coded(flat, tables, starts)]
    if levels:
        tries.append(_coded(bounded_latents(flat, levels), tables, starts))
    elif len(tables) == 1:
        tries.append(_coded(_unit(flat), [_unit(tables[0])], starts))
    found = [one.reshape(codes.shape) for one in tries]
    best = max(found, key=lambda one: _belonging(one, codes))
    return best if _belonging(best, codes) >= BELONG else None


def _coded(points: Vectors, tables: list[Vectors], starts: list[int]) -> NDArray[np.int32]:
    """(M, Q): residual quantization of points (M, D)."""
    found = []
    for table, start in zip(tables, starts, strict=True):
        code = nearest(points, table)
        points = points - table[code]
        found.append(code + start)
    return np.stack(found, -1)


def _belonging(made: Indices, codes: Indices) -> float:
    """Share of clips whose codes as made are in the table: in their row, at their places or others, or in another row.

    Clips of one code only do not count, as their agreement says little.
    """
    first, second = (np.ascontiguousarray(one.reshape(len(codes), -1)) for one in (made, codes))
    same = (first == second).mean(1) >= AGREE
    moved = (np.sort(first, 1) == np.sort(second, 1)).mean(1) >= AGREE
    rows = {row.tobytes() for row in second}
    elsewhere = np.array([row.tobytes() in rows for row in first])
    return float(((same | moved | elsewhere) & (np.ptp(first, axis=1) > 0)).mean())


def nearest(points: Vectors, vectors: Vectors) -> NDArray[np.int32]:
    """Index of the nearest vector (K, D) to each point (M, D), by Euclidean distance."""
    length = (vectors**2).sum(1) / 2
    parts = [
        (length - points[start : start + ROWS] @ vectors.T).argmin(1) for start in range(0, len(points), ROWS)
    ]
    return np.concatenate(parts).astype(np.int32)


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
