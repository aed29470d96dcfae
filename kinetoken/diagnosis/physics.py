"""Physics probes: how much of position, velocity, acceleration and the drawn constants a linear reading finds."""

import dataclasses
from typing import Any

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.diagnosis.chain import CHAIN, Tokens, even_sample
from kinetoken.diagnosis.patient import SPLITS, Motion, Patient

Array = NDArray[np.float64]

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
CONSTANTS = ("gravity", "path_radius", "pitch")
MOST_TRAIN = 1500  # clips that a ridge is fitted on
LEAST_CLIPS = 8  # of each split for a quantity to be read
BOOTSTRAP_DRAWS = 200


def quantities(motion: Motion) -> dict[str, Array]:
    """What is to be read, each (N, Q), NaN rows where a clip has none.

    position: of every frame, m; velocity: mean of the clip, m/s; acceleration: last less first velocity over
    time, m/s²; then the constants that were drawn (a pitch of 0, a circle's, counts as none).
    """
    points, fps = motion.points, motion.fps
    frames = points.shape[1]
    found = {"position": points.reshape(len(points), -1)}
    if frames >= 3:
        step = np.diff(points, axis=1) * fps
        found["velocity"] = step.mean(1)
        found["acceleration"] = (step[:, -1] - step[:, 0]) * fps / (frames - 2)
    for name in CONSTANTS:
        if name in motion.constants:
            values = motion.constants[name].to_numpy(np.float64)
            if name == "pitch":
                values = np.where(values == 0, np.nan, values)
            found[name] = values[:, None]
    return found


def physics_numbers(patient: Patient, bits: float | None, seed: int) -> dict[str, Any]:
    """<quantity>_r2.<point of the chain> with intervals; beside the codes' the R² that a kilobit of a clip carries.

    The floor is 0 (the train mean); the ceiling of a point is the reading before it. bits: entropy of a clip's
    codes if its tokens were independent, the most that they can hold.
    """
    if patient.motion is None:
        return {}
    numbers: dict[str, Any] = {}
    for name, values in quantities(patient.motion).items():
        known = np.asarray(np.isfinite(values).all(1))
        rows = [found[known[found]] for found in map(patient.rows, SPLITS)]
        if min(map(len, rows)) < LEAST_CLIPS:
            continue
        values = values[:, np.ptp(values[rows[2]], axis=0) > 0]
        if values.shape[1] == 0:
            continue
        rows[0] = rows[0][even_sample(patient.label[rows[0]], MOST_TRAIN)]
        read: dict[str, float] = {}
        for point in CHAIN:
            if point in patient.tokens:
                flat = _features(patient.tokens[point], rows[0])
                found = ridge(*((flat[part], values[part]) for part in rows))
                low, high = found.interval(seed)
                read |= {point: found.r2, f"{point}_ci95_low": low, f"{point}_ci95_high": high}
        numbers[f"{name}_r2"] = read
        if bits and "codes" in read:
            numbers[f"{name}_r2_per_kilobit"] = read["codes"] / bits * 1000
    return numbers


def _features(tokens: Tokens, train: NDArray[np.int64]) -> Tokens:
    """Whole clips (N, F), each channel scaled by its deviation over train: places seldom visited stay small."""
    scale = np.maximum(tokens[train].std((0, 1, 2, 3)), 1e-6)
    return rearrange(tokens / scale, "n t h w d -> n (t h w d)")


@dataclasses.dataclass(frozen=True)
class Fit:
    """A ridge regression's errors on test clips: squared errors of it and of the test mean, both (N, Q)."""

    error: Array
    spread: Array

    @property
    def r2(self) -> float:
        """1 − error over spread, the mean over quantities: 1 is exact, 0 no better than the mean."""
        return float(_r2(self.error.sum(0), self.spread.sum(0)))

    def interval(self, seed: int) -> tuple[float, float]:
        """95 % percentile interval by the bootstrap over test clips (Efron 1979)."""
        rng = np.random.default_rng(seed)
        count = len(self.error)
        weight = rng.multinomial(count, np.full(count, 1 / count), BOOTSTRAP_DRAWS).astype(np.float64)
        low, high = np.percentile(_r2(weight @ self.error, weight @ self.spread), [2.5, 97.5])
        return float(low), float(high)


def _r2(error: Array, spread: Array) -> Array:
    return np.asarray((1 - error / np.maximum(spread, 1e-12)).mean(-1))


Pair = tuple[NDArray[np.float32], Array]


def ridge(train: Pair, val: Pair, test: Pair) -> Fit:
    """Ridge regression from features (N, F) to quantities (N, Q), the penalty chosen on validation (Hoerl 1970).

    One eigendecomposition of the smaller of the two Gram matrices serves all penalties.
    """
    mean = train[0].mean(0)
    known, seen, judged = ((part[0] - mean).astype(np.float64) for part in (train, val, test))
    centre = train[1].mean(0)
    goal = train[1] - centre
    wide = known.shape[1] > len(known)
    value, vector = np.linalg.eigh(known @ known.T if wide else known.T @ known)
    turned = vector.T @ (goal if wide else known.T @ goal)
    back = known.T @ vector if wide else vector  # (F, R)
    weights = [back @ (turned / (value + penalty)[:, None]) for penalty in PENALTIES]
    errors = [((seen @ w + centre - val[1]) ** 2).sum() for w in weights]
    best = weights[int(np.argmin(errors))]
    spread = (test[1] - test[1].mean(0)) ** 2
    return Fit((judged @ best + centre - test[1]) ** 2, spread)
