"""What can be known: the posterior of "persistent" on true positions, and the rule that stops best on it.

Log-odds after each frame are the Kalman likelihoods of the two processes' positions so far, and of having lived so
long; a transient candidate that died is known for certain. Depth tells nothing: it is drawn alike and stays. The
reference is the ceiling of every model that sees pixels, and regret is counted against its stopping rule.
"""

import numpy as np

from kinetoken.persistence.stopping import Steps, StoppingRegions, backward_induction
from kinetoken.physics.laws import Array
from kinetoken.scenes.candidates import CandidateMotion, CandidateTruth
from kinetoken.scenes.process import log_likelihoods, paths

CERTAIN = 50.0  # log-odds that stand for certainty
SIMULATED = 30000  # tracks, for the backward induction


def log_odds(points: Array, truth: CandidateTruth, motion: CandidateMotion, measured: float = 0.0) -> Array:
    """(N, T) of N candidates: points (N, T, 3) m, NaN where out of sight; 0 until they have appeared.

    `measured`, m, is the standard deviation of errors in x and y, for positions that were estimated.
    """
    return _log_odds(_from_appearance(points[..., :2], truth), truth, motion, measured)


def _from_appearance(xy: Array, truth: CandidateTruth) -> Array:
    """(N, T, 2) → the same, moved so that each begins with its first frame in sight; the rest is 0."""
    count, frames = xy.shape[:2]
    source = np.arange(frames) + truth.first[:, None]
    moved = xy[np.arange(count)[:, None], np.minimum(source, frames - 1)]
    return np.where((source <= truth.last[:, None])[..., None], moved, 0.0)


def _log_odds(xy: Array, truth: CandidateTruth, motion: CandidateMotion, measured: float) -> Array:
    """xy (N, T, 2) m from appearance on → (N, T) log-odds by frame of the clip."""
    count, frames = xy.shape[:2]
    persistent, transient = (
        log_likelihoods(motion.process(persistent=kind), np.moveaxis(xy, -1, 1), measured).sum(1)
        for kind in (True, False)
    )
    step = persistent - transient - np.log1p(-motion.hazard)  # and not having died
    step[:, 0] = persistent[:, 0] - transient[:, 0]  # all are there when they appear
    total = np.cumsum(step, 1)
    total = np.where(np.arange(frames) < truth.lifetime[:, None], np.clip(total, -CERTAIN, CERTAIN), -CERTAIN)
    age = np.arange(frames) - truth.first[:, None]
    return np.where(age < 0, 0.0, total[np.arange(count)[:, None], np.maximum(age, 0)])


def reference_stopper(
    motion: CandidateMotion, appears: tuple[int, int], num_frames: int, frame_cost: float, seed: int,
    simulated: int = SIMULATED,
) -> StoppingRegions:
    """The optimum after every frame, for `decide` with the first frame less the earliest as the group.

    By backward induction over tracks drawn from the same processes and hazard, none of them of the dataset.
    """
    rng = np.random.default_rng([seed, simulated])
    persistent = np.arange(simulated) % 2 == 0
    xy = np.empty((simulated, 2, num_frames))
    for kind in (True, False):
        normal = rng.standard_normal((int((persistent == kind).sum()), 2, num_frames))
        xy[persistent == kind] = paths(motion.process(persistent=kind), normal)
    first = rng.integers(appears[0], appears[1] + 1, simulated)
    lived = np.where(persistent, num_frames, rng.geometric(motion.hazard, simulated))
    truth = CandidateTruth(persistent, first, np.minimum(first + lived, num_frames) - 1, np.zeros(simulated, int))
    odds = _log_odds(np.moveaxis(xy, 1, -1), truth, motion, 0.0)
    seen = np.arange(1, num_frames + 1)
    return backward_induction(odds, persistent, first - appears[0], seen, num_frames, frame_cost)


def group_of(truth: CandidateTruth, appears: tuple[int, int]) -> Steps:
    """(N,) of each track, how late it appears: all that the reference knows besides its log-odds."""
    return np.asarray(truth.first - appears[0], np.int64)
