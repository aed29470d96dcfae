"""What one code, its place unknown, tells of the label: mutual information, corrected for its bias and tested."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

PERMUTATIONS = 199
BOOTSTRAP_DRAWS = 100
CHUNK = 25  # tables of counts held at once


def mutual_information_bits(joint: Array | Counts) -> Array:
    """Mutual information in bits of tables of counts (..., K, C), by their shares as they stand: (...).

    Biased upwards by about (K − 1)(C − 1) / 2N ln 2 where nothing is told (Shannon 1948; Miller 1955).
    """
    total = np.maximum(joint.sum((-2, -1), keepdims=True), 1)
    share = joint / total
    alone = share.sum(-1, keepdims=True) * share.sum(-2, keepdims=True)
    ratio = np.divide(share, alone, out=np.ones_like(share), where=share > 0)
    return np.asarray((share * np.log2(ratio)).sum((-2, -1)))


def extrapolated_bits(halves: Counts) -> float:
    """Mutual information in bits freed of its first-order bias, from counts (2, K, C) of two halves of the clips.

    The bias falls as 1/N, so twice the whole's estimate less the halves' mean is free of it (Strong et al. 1998,
    Phys. Rev. Lett. 80:197). Miller's correction would count tokens; those of one clip are not independent,
    and halves of clips know that. 0 where it would be negative.
    """
    whole, parts = mutual_information_bits(halves.sum(0)), mutual_information_bits(halves)
    return max(0.0, float(2 * whole - parts.mean()))


@dataclasses.dataclass(frozen=True)
class Chance:
    """What a sample of clips says of a mutual information: p-value of the permutation test, standard deviation."""

    p_value: float
    deviation: float
    clips: int


def chance(codes: NDArray[np.int32], target: NDArray[np.int64], num_classes: int, seed: int) -> Chance:
    """Permutation test and bootstrap over clips (n, ...) with classes (n,): labels are dealt anew, clips stay whole.

    p = (1 + permutations at least as high) / (1 + permutations), so never below 1/200 (Phipson & Smyth 2010).
    """
    rng = np.random.default_rng(seed)
    counts, hot = _sparse_counts(codes), np.eye(num_classes)[target]  # (n, K'), (n, C)
    observed = float(_information(counts, hot[None])[0])
    dealt = (hot[rng.permutation(len(hot))] for _ in range(PERMUTATIONS))
    drawn = (
        hot * rng.multinomial(len(hot), np.full(len(hot), 1 / len(hot)))[:, None] for _ in range(BOOTSTRAP_DRAWS)
    )
    by_chance, resampled = (_in_chunks(counts, weights) for weights in (dealt, drawn))
    above = int((by_chance >= observed - 1e-12).sum())
    return Chance((1 + above) / (1 + PERMUTATIONS), float(resampled.std()), len(hot))


def _sparse_counts(codes: NDArray[np.int32]) -> "csr_array":
    """(n, ...) → how often each clip uses each code that occurs, (n, K')."""
    from scipy.sparse import csr_array

    flat = codes.reshape(len(codes), -1)
    there = flat >= 0  # the rest is padding
    _, place = np.unique(flat[there], return_inverse=True)
    rows = np.repeat(np.arange(len(flat)), there.sum(1))
    return csr_array((np.ones(len(place)), (rows, place)), shape=(len(flat), int(place.max()) + 1))


def _in_chunks(counts: "csr_array", weights: Any) -> Array:  # noqa: ANN401 - an iterator of (n, C)
    found, held = [], []
    for one in weights:
        held.append(one)
        if len(held) == CHUNK:
            found.append(_information(counts, np.stack(held)))
            held = []
    if held:
        found.append(_information(counts, np.stack(held)))
    return np.concatenate(found)


def _information(counts: "csr_array", weights: Array) -> Array:
    """Mutual information (B,) of the tables that weights (B, n, C) of the clips make."""
    draws, clips, classes = weights.shape
    side = weights.transpose(1, 0, 2).reshape(clips, draws * classes)
    joint = np.asarray(counts.T @ side).reshape(-1, draws, classes).transpose(1, 0, 2)  # (B, K', C)
    return mutual_information_bits(joint)
