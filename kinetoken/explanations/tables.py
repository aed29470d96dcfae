"""The numbers and plot tables of explained decisions."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.explanations.explaining import ATTRIBUTED, DIFFERENCE, RANDOM, RANDOM_WEIGHTS, ExplainedClips
from kinetoken.scores import bootstrap_interval, with_interval

Array = NDArray[np.float64]

HEADLINES = Headlines(
    required=(
        "completeness_error", "rank_correlation.signed", "rank_correlation.random_weights",
        "rank_correlation.difference", "deletion.attributed", "deletion.random", "deletion.difference",
        "deletion.none",
    ),
    further=("on_ball.attributed", "on_ball.random_weights", "on_ball.difference", "deletion.ball"),
    bounded=("on_ball.attributed", "deletion.attributed"),
)


def numbers_of(found: ExplainedClips) -> dict[str, Any]:
    """Nested metrics, each with its interval over clips, and its baseline as far as it has one."""
    slices = slice_shares(found.attribution)
    rankings = {RANDOM_WEIGHTS: np.abs(found.of_random_weights), DIFFERENCE: found.difference}
    numbers: dict[str, Any] = {
        "completeness_error": float(found.incomplete.max()),
        "rank_correlation": _each({
            kind: rank_correlation(np.abs(found.attribution), other) for kind, other in rankings.items()
        }, 0.0) | with_interval("signed", rank_correlation(found.attribution, found.of_random_weights))
        | {"signed_floor": 0.0},
        "deletion": _each(found.right) | {f"{ATTRIBUTED}_floor": float(found.right[RANDOM].mean())},
        "slice": _each({str(n + 1): slices[:, n] for n in range(slices.shape[1])}, 1 / slices.shape[1]),
    }
    if found.ball is not None:
        shares = {ATTRIBUTED: np.abs(found.attribution), **rankings}
        uniform = float(found.ball.mean())
        numbers["on_ball"] = _each({kind: on_mask(each, found.ball) for kind, each in shares.items()}, uniform)
    return numbers


def _each(values: dict[str, Array], floor: float | None = None) -> dict[str, float]:
    """Name → mean over clips with its interval, and one baseline for all."""
    numbers: dict[str, float] = {}
    for name, each in values.items():
        numbers |= with_interval(name, each) | ({} if floor is None else {f"{name}_floor": floor})
    return numbers


def on_mask(weights: Array, mask: NDArray[np.bool_]) -> Array:
    """Share of a clip's weight (N, T', H', W'), at least 0, that lies on the masked tokens: (N,)."""
    shares = _shares(weights.reshape(len(weights), -1))
    return np.asarray((shares * mask.reshape(len(mask), -1)).sum(1))


def slice_shares(attribution: Array) -> Array:
    """Share of a clip's absolute attribution in each time slice: (N, T', H', W') → (N, T')."""
    shares = _shares(np.abs(attribution).reshape(len(attribution), -1))
    return np.asarray(shares.reshape(*attribution.shape[:2], -1).sum(2))


def _shares(weights: Array) -> Array:
    """(N, tokens) → the same, adding up to 1 in each clip; equal shares where nothing has weight."""
    total = weights.sum(1, keepdims=True)
    return np.asarray(np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1]))


def rank_correlation(one: Array, other: Array) -> Array:
    """Spearman's correlation over the tokens of each clip: (N, T', H', W') twice → (N,); 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (one, other)]
    first, second = (each - each.mean(1, keepdims=True) for each in ranks)
    scale = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.asarray((first * second).sum(1) / np.where(scale > 0, scale, 1))


def attribution_table(found: ExplainedClips) -> pd.DataFrame:
    """Mean absolute attribution in nats: class, slice, row, column, attribution."""
    parts = []
    for name in found.classes:
        mean = np.abs(found.attribution[found.codes.label == name]).mean(0)  # (T', H', W')
        slices, rows, columns = np.indices(mean.shape).reshape(3, -1)
        parts.append(pd.DataFrame({
            "class": name, "slice": slices + 1, "row": rows, "column": columns, "attribution": mean.ravel(),
        }))
    return pd.concat(parts, ignore_index=True)


def slice_table(found: ExplainedClips) -> pd.DataFrame:
    """Which time slices carried the decision: class, slice, share of the absolute attribution, interval, baseline."""
    shares = slice_shares(found.attribution)
    return pd.DataFrame([
        {"class": name, "slice": n + 1, **with_interval("share", shares[found.codes.label == name, n]),
         "share_floor": 1 / shares.shape[1]}
        for name in found.classes for n in range(shares.shape[1])
    ])


def deletion_table(found: ExplainedClips) -> pd.DataFrame:
    """test (deletion, insertion), tokens (whose order), share of the tokens deleted or kept, accuracy, interval."""
    rows = []
    for (test, kind, share), right in found.replaced.items():
        low, high = bootstrap_interval(right)
        rows.append({
            "test": test, "tokens": kind, "share": share, "accuracy": float(right.mean()), "accuracy_ci95_low": low,
            "accuracy_ci95_high": high,
        })
    return pd.DataFrame(rows)
