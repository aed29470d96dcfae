"""Does attention look at the candidate? Its weight on the tokens that meet the candidate, over uniform attention.

At a decision after step k the tokens are those of all cells in the steps 0 … k. A token's weight is the head's on its
step times the reader's on its cell. No loss asks for it.
"""

import numpy as np

from kinetoken.persistence.evaluation import DetectorPredictions
from kinetoken.persistence.extractors import CELL
from kinetoken.persistence.stopping import Flags, Steps
from kinetoken.physics.laws import Array
from kinetoken.scenes.rendering import Scene


def meets_candidate(points: Array, scene: Scene, stride: int, side: int) -> Flags:
    """(N, S, cells): does the candidate's disc touch the cell in one of the step's frames? points (N, T, 3) m."""
    present = np.isfinite(points[..., 0])
    u, v, radius = scene.camera.project(np.where(present[..., None], points, [0.0, 0.0, 1.0]))
    low = np.arange(side) * CELL - 0.5  # px, a cell's edge
    def gap(x: Array) -> Array:
        """(N, T, side): from the disc's middle to the nearest point of each row or column of cells."""
        return np.maximum(np.maximum(low - x[..., None], x[..., None] - (low + CELL)), 0)

    near = np.hypot(gap(v)[..., :, None], gap(u)[..., None, :]) < radius[..., None, None]
    near &= present[..., None, None]
    steps = near.reshape(len(points), -1, stride, side * side)
    return np.asarray(steps.any(2))


def token_weights(watched: DetectorPredictions, step: Steps) -> Array:
    """(N, S, cells) at the decision after step `step` (N,): over time times over space."""
    over_time = watched.over_time[np.arange(len(step)), step]  # (N, S)
    return np.asarray(over_time[..., None] * watched.over_space)


def attention_ratio(weights: Array, meets: Flags, step: Steps) -> Array:
    """(N,) mean weight on tokens that meet the candidate × number of tokens; NaN where none has met it yet.

    weights, meets (N, S, cells). Uniform attention scores 1.
    """
    known = np.arange(weights.shape[1]) <= step[:, None]
    on = meets & known[..., None]
    count = on.sum((1, 2))
    tokens = (step + 1) * weights.shape[2]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(count > 0, (weights * on).sum((1, 2)) / np.maximum(count, 1) * tokens, np.nan))
