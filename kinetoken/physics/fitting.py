"""Least squares of one of the four laws to noisy 3-D points, for a thousand clips at once.

The law is fitted by maximum a posteriori: squared errors in units of their standard deviation, plus weak Gaussian
priors where they are asked for. Which of the laws a clip follows is chosen by the Bayesian information criterion
(Schwarz 1978, Ann. Stat. 6:461).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.physics import laws
from kinetoken.physics.forms import FORMS
from kinetoken.physics.laws import CLASSES, Array
from kinetoken.physics.least_squares import Form, Problem, minimise, penalties

Priors = Mapping[str, tuple[float, float]]

PRIOR_QUANTITIES = ("speed", "radius", "pitch", "gravity")
CLIPS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class LawFit:
    """One law fitted to N clips; `parameters` are those of its function in `kinetoken.physics.laws`.

    `residual` (N,) is the sum of squared errors over their variances, `penalty` (N,) that of the priors;
    `free` parameters were fitted to `values` numbers a clip.
    """

    law: str
    parameters: dict[str, Array]
    residual: Array
    penalty: Array
    free: int
    values: int

    def predict(self, t: Array) -> Array:
        """Positions (N, T, 3) in metres at times t (T,) in seconds."""
        function = laws.helical if self.law in ("circular", "helical") else getattr(laws, self.law)
        return np.asarray(function(t, **self.parameters))

    def take(self, clips: NDArray[np.intp] | NDArray[np.bool_]) -> "LawFit":
        """The same for some of the clips."""
        return dataclasses.replace(
            self, parameters={name: value[clips] for name, value in self.parameters.items()},
            residual=self.residual[clips], penalty=self.penalty[clips],
        )


def fit_law(
    law: str,
    t: Array,
    points: Array,
    sigma: Array | None = None,
    *,
    priors: Priors | None = None,
    max_tilt: float = np.pi / 6,
) -> LawFit:
    """Fit `law` to `points` (N, T, 3) seen at times `t` (T,).

    `sigma` says how far to trust them: None (all alike, 1 m), (N, T, 3) standard deviations along the
    axes in metres, or (N, T, 3, 3) whitening matrices such as `scenes.camera.camera_whitening` gives. `priors` holds
    (mean, standard deviation) for any of `speed` (mean over the times seen, m/s), `radius` (m), `pitch`
    (its size, m a turn) and `gravity` (m/s²); a law ignores those it does not have. Gravity pulls down
    and the axis of a circle or helix leans at most `max_tilt` rad from the vertical, both softly.

    Raises ValueError for an unknown law or prior, points that are not finite or do not match `t`.
    """
    if law not in FORMS:
        raise ValueError(f"no law '{law}'; known are {', '.join(FORMS)}")
    if unknown := sorted(set(priors or {}) - set(PRIOR_QUANTITIES)):
        raise ValueError(f"no prior for '{unknown[0]}'; known are {', '.join(PRIOR_QUANTITIES)}")
    if points.ndim != 3 or points.shape[1:] != (len(t), 3):
        raise ValueError(f"points have shape {points.shape}, expected (clips, {len(t)}, 3)")
    if not np.isfinite(points).all():
        raise ValueError("points are not all finite")
    form = FORMS[law]
    problem = Problem(
        np.asarray(t, np.float64), np.asarray(points, np.float64), _whitening(sigma, points.shape),
        dict(priors or {}), float(np.tan(max_tilt)),
    )
    blocks = [np.arange(i, min(i + CLIPS_AT_ONCE, len(points))) for i in range(0, len(points), CLIPS_AT_ONCE)]
    theta = np.concatenate([_fit_block(form, problem.take(block)) for block in blocks] or [np.zeros((0, form.size))])
    residual = np.square(problem.errors(form.curve(theta, problem.t))).sum(-1)
    penalty = np.square(penalties(form, problem, theta)).sum(-1)
    return LawFit(law, form.natural(theta), residual, penalty, form.free, 3 * len(t))


def _whitening(sigma: Array | None, shape: tuple[int, ...]) -> Array:
    if sigma is None:
        return np.broadcast_to(np.eye(3), (*shape, 3))
    if sigma.shape == shape:
        return np.asarray(np.eye(3) / np.asarray(sigma, np.float64)[..., None])
    if sigma.shape == (*shape, 3):
        return np.asarray(sigma, np.float64)
    raise ValueError(f"sigma has shape {sigma.shape}, expected {shape} or {(*shape, 3)}")


def _fit_block(form: Form, problem: Problem) -> Array:
    """theta (N, size) of the least cost over all starts."""
    starts = form.starts(problem)  # (S, N, size)
    clips = np.tile(np.arange(len(problem.points)), len(starts))
    theta, cost = minimise(form, problem.take(clips), rearrange(starts, "s n p -> (s n) p"))
    best = cost.reshape(len(starts), -1).argmin(0)
    return np.asarray(theta.reshape(starts.shape)[best, np.arange(starts.shape[1])])


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


def predict_chosen_law(t: Array, points: Array, at: Array, sigma: Array | None = None) -> Array:
    """All laws fitted to each clip's points, and the most probable one evaluated at times `at`: no label is needed.

    Positions (N, len(at), 3) in metres; arguments as those of `fit_law`.
    """
    fits = fit_laws(t, points, sigma)
    chosen, _ = choose_law(fits)
    ahead = np.stack([fit.predict(at) for fit in fits.values()])  # (laws, N, len(at), 3)
    return np.asarray(ahead[chosen, np.arange(len(points))])


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
