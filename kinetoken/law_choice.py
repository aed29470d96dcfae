"""Which of the four laws a clip follows, and what the one that it is known to follow foretells.

Laws are compared by the Bayesian information criterion (Schwarz 1978, Ann. Stat. 6:461).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kinetoken.law_fit import LawFit, Priors, fit_law
from kinetoken.laws import CLASSES, Array


def fit_laws(
    t: Array, points: Array, sigma: Array | None = None, *, priors: Priors | None = None
) -> dict[str, LawFit]:
    """All four laws fitted to the same points, in the order of `CLASSES`."""
    return {law: fit_law(law, t, points, sigma, priors=priors) for law in CLASSES}


def predict_known_law(
    labels: NDArray[np.str_], t: Array, points: Array, at: Array, sigma: Array | None = None,
    *, priors: Priors | None = None,
) -> Array:
    """The oracle: each clip's true law (`labels`, N names) fitted to its points and evaluated at times `at`.

    Positions (N, len(at), 3) in metres: the best that a reader of the same points can be expected to do.
    """
    predicted = np.empty((len(points), len(at), 3))
    for law in np.unique(labels):
        clips = np.flatnonzero(labels == law)
        known = None if sigma is None else sigma[clips]
        predicted[clips] = fit_law(str(law), t, points[clips], known, priors=priors).predict(at)
    return predicted


def choose_law(
    fits: Mapping[str, LawFit], log_prior: Array | None = None, *, independence: float = 1.0
) -> tuple[NDArray[np.intp], Array]:
    """The most probable law of each clip: its index (N,) in `fits`, and log-probabilities (N, laws).

    Minus half the Bayesian information criterion, priors counted, plus `log_prior` (N, laws), normalised.
    Where even the best law leaves more than the stated noise, the noise is taken to be what it leaves.
    `independence` is the share of the values whose errors are independent: errors that drift slowly from
    frame to frame carry less evidence than their number says.
    """
    given = list(fits.values())
    residual = np.stack([fit.residual for fit in given], -1)  # (N, laws)
    penalty = np.stack([fit.penalty for fit in given], -1)
    values, free = given[0].values, np.array([fit.free for fit in given])
    excess = (residual / np.maximum(values - free, 1)).min(-1, keepdims=True)
    fit_cost = independence * residual / np.maximum(excess, 1.0)
    score = -0.5 * (fit_cost + penalty + free * np.log(max(values * independence, 1.0)))
    score = score if log_prior is None else score + log_prior
    score = score - score.max(-1, keepdims=True)
    log_probability = score - np.log(np.exp(score).sum(-1, keepdims=True))
    return log_probability.argmax(-1), log_probability
