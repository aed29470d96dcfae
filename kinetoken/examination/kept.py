"""What codes keep of the motion: the ball's place and velocity in the image, read by ridge regression at each point."""

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
    place = np.stack([u, v], -1)  # (N, T, 2)
    return {"position": place.reshape(len(place), -1), "velocity": (place[:, -1] - place[:, 0]) / (place.shape[1] - 1)}


def read_motion(
    tokens: dict[str, Tokens], split: np.ndarray, wanted: dict[str, Array], seed: int
) -> dict[str, dict[str, Reading]]:
    """Quantity → point of CHAIN → reading on the test clips; empty with too few clips.

    Training clips fit, validation clips choose the penalty. tokens (N, T', H', W', D) and split (N,) in one order.
    """
    train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
    train = train[:: -(-len(train) // MOST_TRAIN)] if len(train) else train
    if min(len(train), len(val), len(test)) < LEAST:
        return {}
    found: dict[str, dict[str, Reading]] = {name: {} for name in wanted}
    for point in (point for point in CHAIN if point in tokens):
        flat = _features(tokens[point], train)
        ridge = Ridge(flat[train], flat[val])
        for name, values in wanted.items():
            fit = ridge.judged(flat[test], values[train], values[val], values[test])
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


def _features(tokens: Tokens, train: NDArray[np.int64]) -> Tokens:
    """Whole clips (N, F), each channel scaled by its deviation over the training clips."""
    scale = np.maximum(tokens[train].std((0, 1, 2, 3)), 1e-6)
    return rearrange(tokens / scale, "n t h w d -> n (t h w d)")
