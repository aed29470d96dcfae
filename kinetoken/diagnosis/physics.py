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
COSINES = 5  # terms of a path's cosine transform
BOOTSTRAP_DRAWS = 200


def quantities(motion: Motion) -> dict[str, Array]:
    """What a linear reading is asked for, each (N, Q).

    position: of every frame, m; velocity: mean of the clip, m/s; acceleration: last less first velocity over
    time, m/s².
    """
    points, fps = motion.points, motion.fps
    frames = points.shape[1]
    found = {"position": points.reshape(len(points), -1)}
    if frames >= 3:
        step = np.diff(points, axis=1) * fps
        found["velocity"] = step.mean(1)
        found["acceleration"] = (step[:, -1] - step[:, 0]) * fps / (frames - 2)
    return found


def constants(motion: Motion) -> dict[str, Array]:
    """What was drawn once a clip, each (N, 1), NaN where a clip has none (a pitch of 0, a circle's, is none)."""
    found = {}
    for name in CONSTANTS:
        if name in motion.constants:
            values = motion.constants[name].to_numpy(np.float64)
            found[name] = np.where((values == 0) & (name == "pitch"), np.nan, values)[:, None]
    return found


def physics_numbers(patient: Patient, bits: float | None, seed: int) -> dict[str, Any]:
    """<quantity>_r2.<point of the chain> with intervals; beside the codes' the R² that a kilobit of a clip carries.

    Position, velocity and acceleration are read linearly. The constants are no linear function of a picture:
    they are read from the path that was read (`shape_of`), and `truth` is the same reading of the true path, the
    ceiling. The floor is 0 (the train mean). bits: entropy of a clip's codes if its tokens were independent, the
    most that they can hold.
    """
    motion = patient.motion
    rows = [patient.rows(split) for split in SPLITS]
    if motion is None or min(map(len, rows)) < LEAST_CLIPS:
        return {}
    rows[0], spare = _halves(patient, rows[0])
    wanted, drawn = quantities(motion), constants(motion)
    read: dict[str, dict[str, Fit]] = {name: {} for name in (*wanted, *drawn)}
    for point in (point for point in CHAIN if point in patient.tokens):
        flat = _features(patient.tokens[point], rows[0])
        reader = Ridge(flat[rows[0]], flat[rows[1]])
        for name, values in wanted.items():
            read[name][point] = reader.judged(flat[rows[2]], *(values[part] for part in rows))
        path = reader.predicted(flat, *(wanted["position"][part] for part in rows[:2])).reshape(motion.points.shape)
        for name, found in _constant_fits(path, drawn, [spare, *rows[1:]]).items():
            read[name][point] = found
    for name, found in _constant_fits(motion.points, drawn, [spare, *rows[1:]]).items():
        read[name]["truth"] = found
    return _as_numbers(read, bits, seed)


def _as_numbers(read: "dict[str, dict[str, Fit]]", bits: float | None, seed: int) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name, fits in read.items():
        for point, found in fits.items():
            low, high = found.interval(seed)
            ends = {point: found.r2, f"{point}_ci95_low": low, f"{point}_ci95_high": high}
            numbers[f"{name}_r2"] = numbers.get(f"{name}_r2", {}) | ends
        if bits and "codes" in fits:
            numbers[f"{name}_r2_per_kilobit"] = fits["codes"].r2 / bits * 1000
    return numbers


def _halves(patient: Patient, train: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Train clips that paths are learned from, at most MOST_TRAIN, and others that constants are learned from."""
    first = train[even_sample(patient.label[train], min(MOST_TRAIN, (len(train) + 1) // 2))]
    return first, np.setdiff1d(train, first)


def _constant_fits(path: Array, drawn: dict[str, Array], rows: list[NDArray[np.int64]]) -> "dict[str, Fit]":
    """Constants from paths (N, T, 3): only of clips that have them, and only where there are enough."""
    features, found = shape_of(path), {}
    for name, values in drawn.items():
        part = [some[np.isfinite(values[some, 0])] for some in rows]
        if min(map(len, part)) >= LEAST_CLIPS and np.ptp(values[part[2]]) > 0:
            scale = np.maximum(features[part[0]].std(0), 1e-9)
            known = [(features[some] / scale).astype(np.float32) for some in part]
            found[name] = Ridge(known[0], known[1]).judged(known[2], *(values[some] for some in part))
    return found


def shape_of(path: Array) -> Array:
    """What tells a path's size and bend, (N, T, 3) → (N, F): its first cosine terms, their products over the axes,
    and the roots of their energies (Ahmed et al. 1974 for the transform)."""
    from scipy.fft import dct

    terms = dct(path, axis=1, norm="ortho")[:, :COSINES]
    products = np.einsum("nia,nja->nij", terms[:, 1:], terms[:, 1:])
    upper = products[:, *np.triu_indices(products.shape[1])]
    energy = np.sqrt(np.einsum("nii->ni", products))
    return np.concatenate([terms.reshape(len(path), -1), upper, energy], 1)


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


class Ridge:
    """Ridge regression (Hoerl & Kennard 1970) from features (N, F); validation clips choose the penalty.

    One eigendecomposition of the smaller of the two Gram matrices serves all penalties and quantities. That is why it
    is not scikit-learn's, which solves anew for each penalty and reads the same: on the default run's 4,680 clips all
    of the physics takes 2.8 to 4.1 s of one thread this way, 4.0 to 4.9 s that way, and the sixth digit differs.
    """

    def __init__(self, train: Tokens, val: Tokens) -> None:
        self.mean = train.mean(0)
        self.known, self.seen = ((part - self.mean).astype(np.float64) for part in (train, val))
        self.wide = train.shape[1] > len(train)
        gram = self.known @ self.known.T if self.wide else self.known.T @ self.known
        self.value, self.vector = np.linalg.eigh(gram)
        self.back = self.known.T @ self.vector if self.wide else self.vector  # (F, R)
        self.seen = self.seen @ self.back

    def predicted(self, features: Tokens, train: Array, val: Array) -> Array:
        """Quantities (N, Q) of any clips' features (N, F), learned from those of train and val clips."""
        centre = train.mean(0)
        goal = train - centre
        turned = self.vector.T @ (goal if self.wide else self.known.T @ goal)
        weights = [turned / (np.maximum(self.value, 0) + penalty)[:, None] for penalty in PENALTIES]
        errors = [((self.seen @ weight + centre - val) ** 2).sum() for weight in weights]
        best = self.back @ weights[int(np.argmin(errors))]
        return np.asarray((features - self.mean) @ best + centre)

    def judged(self, features: Tokens, train: Array, val: Array, test: Array) -> Fit:
        """The fit on test clips."""
        return Fit((self.predicted(features, train, val) - test) ** 2, (test - test.mean(0)) ** 2)
