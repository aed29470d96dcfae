"""Provider "offline": no language model, but a fit. The law of motion by least squares, written out as text.

What a provider sees is `Evidence`: what the models read from the frames shown, and nothing else.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kinetoken.equations.facts import Facts, facts_of, render_sentence
from kinetoken.law_choice import choose_law, fit_laws
from kinetoken.law_fit import PRIOR_QUANTITIES, LawFit, Priors
from kinetoken.laws import CLASSES, Array, axis_frame
from kinetoken.params import NonNegative, Positive, Range

PROVIDER = "offline"
DECIMALS = 5  # of the numbers in equations: hundredths of a millimetre
IMPOSSIBLE = -1e9  # log-probability of a law that the classifier does not know


@dataclasses.dataclass(frozen=True)
class DescribeMotion:
    """Section describe_motion."""

    provider: Literal["offline"]
    source: Literal["codes", "i3d_magvit"]  # what reads the past: the heads on codes, or I3D + MAGVIT on both
    seed: NonNegative  # of the bootstrap
    clips: Positive  # described, of the test split, in equal parts for each law
    priors: dict[str, tuple[float, float]]  # what is plausible: mean and standard deviation of a quantity
    independence: Annotated[float, Range(gt=0, le=1)]  # share of the points' errors that are independent

    def __post_init__(self) -> None:
        for name, (_, std) in self.priors.items():
            if name not in PRIOR_QUANTITIES:
                raise ValueError(f"priors.{name}: unknown quantity; known are {', '.join(PRIOR_QUANTITIES)}")
            if std <= 0:
                raise ValueError(f"priors.{name}: the standard deviation must be > 0, is {std:g}")
        if self.clips < len(CLASSES):
            raise ValueError(f"clips: at least {len(CLASSES)}, one for each law")


class ClassReader(Protocol):
    """A classifier of codes (N, K, H', W'), any number of time slices."""

    classes: tuple[str, ...]

    def log_probabilities(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, C)


class PositionReader(Protocol):
    """A position head on codes; `sigma` holds its errors on validation: px across the view, depth_fraction."""

    sigma: Mapping[str, float]

    @property
    def focal(self) -> float: ...  # px

    def positions(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, frames, 3) m


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What may be known of N clips when they are described.

    times (K,) s of the frames shown; points (N, K, 3) m estimated there, with whitening (N, K, 3, 3) as
    in `law_fit`; classes (C,) and their log_probabilities (N, C) from the same frames.
    """

    times: Array
    points: Array
    whitening: Array
    classes: tuple[str, ...]
    log_probabilities: Array

    def law_log_prior(self) -> Array:
        """(N, laws) in the order of CLASSES; all alike if the classes are not the laws."""
        known = [self.classes.index(law) if law in self.classes else None for law in CLASSES]
        if all(place is None for place in known):
            return np.zeros((len(self.points), len(CLASSES)))
        missing = np.full(len(self.points), IMPOSSIBLE)
        return np.stack([missing if k is None else self.log_probabilities[:, k] for k in known], -1)


@dataclasses.dataclass(frozen=True)
class Description:
    """One clip in equations and words: `equations` has x, y and z in metres as text in t (seconds)."""

    law: str
    equations: dict[str, str]
    sentence: str
    facts: Facts
    quantities: dict[str, float]  # speed, and radius, pitch, gravity where the law has them


def describe(
    evidence: Evidence, clip_times: Array, *, priors: Priors | None = None, independence: float = 1.0
) -> list[Description]:
    """Fit all four laws to each clip's points, choose by evidence and classifier together, and write it out.

    `clip_times` (T,) is the time that the words are about. See `law_fit.fit_law` for `priors` and
    `law_choice.choose_law` for `independence`.
    """
    fits = fit_laws(evidence.times, evidence.points, evidence.whitening, priors=priors)
    chosen, _ = choose_law(fits, evidence.law_log_prior(), independence=independence)
    return [_describe_one(fits[CLASSES[law]], clip, clip_times) for clip, law in enumerate(chosen)]


def equation_texts(law: str, parameters: Mapping[str, Array]) -> dict[str, str]:
    """x, y and z as text in t for one clip's parameters (scalars and 3-vectors) of `law`."""
    if law in ("circular", "helical"):
        return _spiral_texts(parameters)
    fall = -0.5 * float(parameters["gravity"]) if law == "parabolic" else 0.0
    return {
        axis: _sum([(float(parameters["start"][i]), ""), (float(parameters["velocity"][i]), "*t"),
                    (fall if axis == "y" else 0.0, "*t**2")])
        for i, axis in enumerate("xyz")
    }


def _describe_one(fit: LawFit, clip: int, clip_times: Array) -> Description:
    one = fit.take(np.array([clip]))
    path = one.predict(clip_times)[0]  # (T, 3)
    parameters = {name: value[0] for name, value in one.parameters.items()}
    quantities = {"speed": float(np.linalg.norm(np.diff(path, axis=0), axis=-1).sum() / np.ptp(clip_times))}
    quantities |= {name: float(parameters[name]) for name in ("radius", "gravity") if name in parameters}
    if fit.law == "helical":
        quantities["pitch"] = abs(float(parameters["pitch"]))
    quantities = {name: round(value, DECIMALS) for name, value in quantities.items()}
    facts = facts_of(fit.law, path, clip_times)
    sentence = render_sentence(facts, quantities)
    return Description(fit.law, equation_texts(fit.law, parameters), sentence, facts, quantities)


def _spiral_texts(parameters: Mapping[str, Array]) -> dict[str, str]:
    """c + rate t + amplitude cos(ωt + shift) along each axis."""
    one = {name: np.asarray(value)[None] for name, value in parameters.items()}
    e1, e2, axis = (vector[0] for vector in axis_frame(one["yaw"], one["tilt"]))
    omega, phase = float(parameters["omega"]), float(parameters["phase"])
    rate = float(parameters["pitch"]) * omega / (2 * np.pi) * axis
    texts = {}
    for i, name in enumerate("xyz"):
        amplitude = float(parameters["radius"]) * float(np.hypot(e1[i], e2[i]))
        shift = phase - float(np.arctan2(e2[i], e1[i]))
        sign = -1.0 if omega < 0 else 1.0  # the cosine is even: keep its frequency positive
        turn = (sign * shift + np.pi) % (2 * np.pi) - np.pi
        angle = _sum([(sign * omega, "*t"), (turn, "")])
        middle = float(parameters["centre"][i])
        texts[name] = _sum([(middle, ""), (float(rate[i]), "*t"), (amplitude, f"*cos({angle})")])
    return texts


def _sum(terms: list[tuple[float, str]]) -> str:
    """Terms (coefficient, factor) as text, those that round to nothing left out."""
    text = ""
    for coefficient, factor in terms:
        number = f"{abs(coefficient):.{DECIMALS}f}".rstrip("0").rstrip(".")
        if number == "0":
            continue
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {number}{factor}" if text else f"{'-' if sign == '-' else ''}{number}{factor}"
    return text or "0"


def as_probabilities(log_probabilities: NDArray[np.float64], classes: tuple[str, ...]) -> list[dict[str, float]]:
    """(N, C) as one mapping a clip, rounded for a file."""
    return [
        {name: round(float(np.exp(value)), 4) for name, value in zip(classes, row, strict=True)}
        for row in log_probabilities
    ]
