"""Physics probes: how much of position, velocity, acceleration and the drawn constants a linear reading finds."""

import dataclasses
from collections.abc import Iterator
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
    for names, rows, values in _groups(patient, quantities(patient.motion)):
        for point in (point for point in CHAIN if point in patient.tokens):
            flat = _features(patient.tokens[point], rows[0])
            reader = Ridge(*(flat[part] for part in rows))
            for name in names:
                found = reader.read(*(values[name][part] for part in rows))
                low, high = found.interval(seed)
                read = {point: found.r2, f"{point}_ci95_low": low, f"{point}_ci95_high": high}
                numbers[f"{name}_r2"] = numbers.get(f"{name}_r2", {}) | read
        if bits and "codes" in patient.tokens:
            numbers |= {f"{name}_r2_per_kilobit": numbers[f"{name}_r2"]["codes"] / bits * 1000 for name in names}
    return numbers


Group = tuple[list[str], list[NDArray[np.int64]], dict[str, Array]]


def _groups(patient: Patient, values: dict[str, Array]) -> Iterator[Group]:
    """Quantities known for the same clips, with the clips' rows by split: one decomposition serves them all."""
    groups: dict[bytes, list[str]] = {}
    for name, found in values.items():
        groups.setdefault(np.isfinite(found).all(1).tobytes(), []).append(name)
    for names in groups.values():
        known = np.asarray(np.isfinite(values[names[0]]).all(1))
        rows = [found[known[found]] for found in map(patient.rows, SPLITS)]
        if min(map(len, rows)) < LEAST_CLIPS:
            continue
        varied = {name: values[name][:, np.ptp(values[name][rows[2]], axis=0) > 0] for name in names}
        rows[0] = rows[0][even_sample(patient.label[rows[0]], MOST_TRAIN)]
        yield [name for name in names if varied[name].shape[1]], rows, varied


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
    """Ridge regression (Hoerl & Kennard 1970) from features (N, F) of train, val and test clips.

    One eigendecomposition of the smaller of the two Gram matrices serves all penalties and quantities.
    """

    def __init__(self, train: Tokens, val: Tokens, test: Tokens) -> None:
        mean = train.mean(0)
        self.known, self.seen, self.judged = ((part - mean).astype(np.float64) for part in (train, val, test))
        self.wide = train.shape[1] > len(train)
        self.value, self.vector = np.linalg.eigh(
            self.known @ self.known.T if self.wide else self.known.T @ self.known
        )
        back = self.known.T @ self.vector if self.wide else self.vector  # (F, R)
        self.seen, self.judged = self.seen @ back, self.judged @ back  # (N, R)

    def read(self, train: Array, val: Array, test: Array) -> Fit:
        """The fit of quantities (N, Q), the penalty chosen on validation."""
        centre = train.mean(0)
        goal = train - centre
        turned = self.vector.T @ (goal if self.wide else self.known.T @ goal)
        weights = [turned / (self.value + penalty)[:, None] for penalty in PENALTIES]
        errors = [((self.seen @ weight + centre - val) ** 2).sum() for weight in weights]
        best = weights[int(np.argmin(errors))]
        return Fit((self.judged @ best + centre - test) ** 2, (test - test.mean(0)) ** 2)
