"""What goes into a provider, and what comes out of it."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.equations.facts import Facts
from kinetoken.llm.outcomes import Outcome
from kinetoken.physics.laws import CLASSES, Array

IMPOSSIBLE = -1e9  # log-probability of a law that the classifier does not know


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What may be known of N clips when they are described: what the models read from the frames shown, nothing else.

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
    """One clip in equations and words: `equations` has x, y and z in metres as text in t (seconds), or nothing."""

    equations: dict[str, str]
    sentence: str
    facts: Facts  # that the sentence states
    quantities: dict[str, float]  # speed, and radius, pitch, gravity; only where a fit found them
    outcome: Outcome = Outcome.ANSWERED
    detail: str = ""  # why there are no equations
    model: str = ""  # the language model that answered, by its own word


def as_probabilities(log_probabilities: NDArray[np.float64], classes: tuple[str, ...]) -> list[dict[str, float]]:
    """(N, C) as one mapping a clip, rounded for a file."""
    return [
        {name: round(float(np.exp(value)), 4) for name, value in zip(classes, row, strict=True)}
        for row in log_probabilities
    ]
