"""How a codebook is used: over all tokens, at each place of the grid, and where the ball is.

On clips that are mostly background most tokens say "background", so figures over all tokens are low for a
healthy codebook and tell little; the foreground ones do.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from einops import reduce
from numpy.typing import NDArray

from kinetoken.scenes.rendering import MASK_COVERAGE, Scene, ball_coverage

Array = NDArray[np.float64]
Indices = NDArray[np.int32]
Mask = NDArray[np.bool_]

CHUNK = 64  # clips whose coverage is held at once
BOOTSTRAP_DRAWS = 200
NEAR_DEAD = 0.01  # of the share that each code has in uniform use


@dataclasses.dataclass(frozen=True)
class Usage:
    """Figures of one distribution over codebook entries: floors from a single code, ceilings from a uniform one."""

    usage: float  # share of the codebook seen at least once, in (0, 1]
    perplexity: float  # 2^entropy: from 1 (one code) to the codebook's size
    entropy_bits: float
    top1_share: float  # of the commonest code, in (0, 1]
    dead_codes: int  # never seen
    near_dead_codes: int  # seen, but less than a hundredth as often as in uniform use


def usage_of(counts: NDArray[np.int64] | Array, size: int | None = None) -> Usage:
    """Usage from how often each code was seen (K,), of a codebook that has `size` entries where not all are counted.

    ValueError if nothing was seen (Shannon 1948 for the entropy).
    """
    size = size or len(counts)
    total = float(counts.sum())
    if total <= 0:
        raise ValueError("no token was counted")
    share = counts[counts > 0] / total
    entropy = float(-(share * np.log2(share)).sum())
    near_dead = int((share < NEAR_DEAD / size).sum())
    dead = size - len(share)
    return Usage(len(share) / size, 2**entropy, entropy, float(share.max()), dead, near_dead)


def mean_usage(found: list[Usage]) -> Usage:
    """One usage for several codebooks: means, perplexity from the mean entropy, and all dead codes together."""
    entropy = float(np.mean([one.entropy_bits for one in found]))
    return Usage(
        float(np.mean([one.usage for one in found])), 2**entropy, entropy,
        float(np.mean([one.top1_share for one in found])), sum(one.dead_codes for one in found),
        sum(one.near_dead_codes for one in found),
    )


def usage_intervals(
    counts: NDArray[np.int64], seed: int, of: Callable[[NDArray[np.int64] | Array], Usage] = usage_of,
    size: int | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of Usage's shares and entropies over clips or random groups of clips, counts (N, K).

    `of`: the usage of counts (K,), where they are those of several codebooks; `size`: the entries of one.

    The estimate ± 1.96 bootstrap standard deviations: a resample holds fewer distinct clips, so percentiles
    would lie below the estimate itself.
    """
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), BOOTSTRAP_DRAWS)
    drawn = [of(row) for row in weight.astype(np.float64) @ counts if row.sum() > 0]
    whole = of(counts.sum(0))
    size = size or counts.shape[1]
    return {
        name: _around(getattr(whole, name), float(np.std([getattr(one, name) for one in drawn])), low, high)
        for name, (low, high) in usage_ends(size).items()
    }


def usage_ends(codebook_size: int) -> dict[str, tuple[float, float]]:
    """The least and the most that usage, perplexity, entropy_bits and top1_share can be."""
    least = 1 / codebook_size
    return {
        "usage": (least, 1.0), "perplexity": (1.0, float(codebook_size)),
        "entropy_bits": (0.0, float(np.log2(codebook_size))), "top1_share": (least, 1.0),
    }


def _around(value: float, deviation: float, low: float, high: float) -> tuple[float, float]:
    return max(low, value - 1.96 * deviation), min(high, value + 1.96 * deviation)


def foreground_tokens(scene: Scene, points: Array, grid: tuple[int, int, int]) -> Mask:
    """Tokens whose cell of pixels and frames meets the ball's mask. points (N, T, 3) m → (N, T', H', W').

    The cell is the block of frames and pixels that the token stands for (its stride), not the wider field
    that the network sees.
    """
    return np.concatenate([
        tokens_that_meet(ball_coverage(scene, points[start : start + CHUNK]) > MASK_COVERAGE, grid)
        for start in range(0, len(points), CHUNK)
    ])


def tokens_that_meet(mask: NDArray[np.bool_], grid: tuple[int, int, int]) -> Mask:
    """Tokens in whose cell any pixel of the mask lies: (N, T, H, W) → (N, T', H', W')."""
    slices, rows, columns = grid
    found: Mask = reduce(mask, "n (t f) (h a) (w b) -> n t h w", "max", t=slices, h=rows, w=columns)
    return found


def fsq_digits(codes: Indices | NDArray[np.int64], levels: tuple[int, ...]) -> NDArray[np.int64]:
    """Index of each FSQ channel's level, (...) → (..., L): mixed radix, first channel least significant.

    Mentzer et al. 2023, arXiv:2309.15505.
    """
    basis = np.cumprod([1, *levels[:-1]], dtype=np.int64)
    return np.asarray(codes[..., None] // basis % np.array(levels), np.int64)
