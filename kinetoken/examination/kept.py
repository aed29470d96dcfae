"""What codes keep of the motion: the ball's place and velocity in the image, read by ridge regression at each point.

The reading is linear, so a point that reads better than the pixels does not hold more than they do: it shows the same
in a form that is easier to read. What the pixels hold is the upper bound: the ball tracked in the original clips.
"""

import dataclasses

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.diagnosis.chain import CHAIN, Tokens
from kinetoken.diagnosis.physics import MOST_TRAIN, Fit, Ridge
from kinetoken.examination.motion_set import MotionSet
from kinetoken.scores import with_interval

Array = NDArray[np.float64]

LEAST = 4  # clips of each split for a regression


@dataclasses.dataclass(frozen=True)
class Reading:
    """Of one quantity at one point of the chain: R² and the error in pixels, each with its 95 % interval."""

    r2: float
    r2_interval: tuple[float, float]
    error: float
    error_interval: tuple[float, float]
    baseline: float  # error of the training clips' mean


def image_motion(motion: MotionSet) -> dict[str, Array]:
    """position (N, 2T): u and v of each frame in px; velocity (N, 2): mean over the clip, px a frame."""
    u, v, _ = motion.scene.camera.project(motion.tracks.points)
    return quantities(np.stack([u, v], -1))


def quantities(place: Array) -> dict[str, Array]:
    """The same from the ball's place (N, T, 2) in px."""
    return {"position": place.reshape(len(place), -1), "velocity": (place[:, -1] - place[:, 0]) / (place.shape[1] - 1)}


@dataclasses.dataclass(frozen=True)
class Bound:
    """R² and the error in px of the ball tracked in the original test clips."""

    r2: float
    error: float


def upper_bounds(tracked: dict[str, Array], true: dict[str, Array]) -> dict[str, Bound]:
    """Quantity → bound, of the same clips."""
    found = {}
    for name, values in true.items():
        fit = Fit((tracked[name] - values) ** 2, (values - values.mean(0)) ** 2)
        found[name] = Bound(fit.r2, float(_distances(fit).mean()))
    return found


def read_motion(
    tokens: dict[str, Tokens], split: np.ndarray, wanted: dict[str, Array], seed: int
) -> dict[str, dict[str, Reading]]:
    """Quantity → point of CHAIN → reading on the test clips; empty with too few clips.

    Training clips fit, validation clips choose the penalty, and whether channels are scaled. tokens (N, T', H', W', D)
    and split (N,) in one order.
    """
    train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
    train = train[:: -(-len(train) // MOST_TRAIN)] if len(train) else train
    if min(len(train), len(val), len(test)) < LEAST:
        return {}
    found: dict[str, dict[str, Reading]] = {name: {} for name in wanted}
    for point in (point for point in CHAIN if point in tokens):
        features = _features(tokens[point], train)
        ridges = [Ridge(flat[train], flat[val]) for flat in features]
        for name, values in wanted.items():
            goals = values[train], values[val]
            seen = [_error(ridge, flat[val], goals) for ridge, flat in zip(ridges, features, strict=True)]
            best = int(np.argmin(seen))
            fit = ridges[best].judged(features[best][test], *goals, values[test])
            centre = Fit((values[train].mean(0) - values[test]) ** 2, fit.spread)
            error = with_interval("error", _distances(fit), seed)
            found[name][point] = Reading(
                fit.r2, fit.interval(seed), error["error"], (error["error_ci95_low"], error["error_ci95_high"]),
                float(_distances(centre).mean()),
            )
    return found


def _distances(fit: Fit) -> Array:
    """(N,) mean over places of the distance in the image."""
    return np.asarray(np.sqrt(fit.error.reshape(len(fit.error), -1, 2).sum(-1)).mean(1))


def _error(ridge: Ridge, seen: Tokens, goals: tuple[Array, Array]) -> float:
    """Squared error on the validation clips."""
    return float(((ridge.predicted(seen, *goals) - goals[1]) ** 2).sum())


def _features(tokens: Tokens, train: NDArray[np.int64]) -> list[Tokens]:
    """Whole clips (N, F): each channel scaled by its deviation over the training clips, and all by one number."""
    known = tokens[train]
    scales = (np.maximum(known.std((0, 1, 2, 3)), 1e-6), np.maximum(known.std(), np.float32(1e-6)))
    return [rearrange(tokens / scale, "n t h w d -> n (t h w d)") for scale in scales]
