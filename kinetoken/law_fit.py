"""Least squares of the four laws to noisy 3-D points, for a thousand clips at once.

Each law is fitted by maximum a posteriori: squared errors in units of their standard deviation, plus
weak Gaussian priors where they are asked for. A straight line and a parabola are linear problems. A
circle or a helix whose angular velocity and axis are known is linear too (centre, cosine part, sine part
and rise), so a grid over those gives the starts, and Levenberg–Marquardt (Marquardt 1963, SIAM J. 11:431)
refines them. Laws are compared by the Bayesian information criterion (Schwarz 1978, Ann. Stat. 6:461).
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from einops import rearrange, repeat
from numpy.typing import NDArray

from kinetoken import laws
from kinetoken.laws import CLASSES, Array

Priors = Mapping[str, tuple[float, float]]

PRIOR_QUANTITIES = ("speed", "radius", "pitch", "gravity")
TURN_RATES = np.linspace(2.0, 17.0, 13)  # rad/s: 0.3 to 2.5 turns over one second; closer than a data second resolves
AMPLITUDE_RIDGE = 0.5  # m: keeps the grid's linear problems solvable for short arcs
HINGE_SOFTNESS = 0.01  # how far (in its own unit) a bound is overstepped for one standard deviation's cost
ITERATIONS = 60
CLIPS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class LawFit:
    """One law fitted to N clips; `parameters` are those of its function in `kinetoken.laws`.

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
    axes in metres, or (N, T, 3, 3) whitening matrices such as `camera_whitening` gives. `priors` holds
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
    problem = _Problem(
        np.asarray(t, np.float64), np.asarray(points, np.float64), _whitening(sigma, points.shape),
        dict(priors or {}), float(np.tan(max_tilt)),
    )
    blocks = [np.arange(i, min(i + CLIPS_AT_ONCE, len(points))) for i in range(0, len(points), CLIPS_AT_ONCE)]
    theta = np.concatenate([_fit_block(form, problem.take(block)) for block in blocks] or [np.zeros((0, form.size))])
    residual = np.square(problem.errors(form.curve(theta, problem.t))).sum(-1)
    penalty = np.square(_penalties(form, problem, theta)).sum(-1)
    return LawFit(law, form.natural(theta), residual, penalty, form.free, 3 * len(t))


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


def camera_whitening(points: Array, across_px: float, depth_fraction: float, focal_px: float) -> Array:
    """Whitening matrices (N, T, 3, 3) for points seen by a camera at the origin looking along +z.

    Errors are `across_px` pixels in each image direction and `depth_fraction` of the depth, independent:
    the rows are the gradients of u, v and log z at the points (N, T, 3), over their standard deviations.
    """
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)  # (N, T) each
    z = np.maximum(z, 0.05)  # an estimate at or behind the camera still gets a finite weight
    zero, lateral = np.zeros_like(z), focal_px / across_px / z
    u, v = (lateral, zero, -lateral * x / z), (zero, lateral, -lateral * y / z)
    return np.stack([np.stack(row, -1) for row in (u, v, (zero, zero, 1 / (depth_fraction * z)))], -2)


@dataclasses.dataclass(frozen=True)
class _Problem:
    t: Array  # (T,)
    points: Array  # (N, T, 3)
    whitening: Array  # (N, T, 3, 3)
    priors: dict[str, tuple[float, float]]
    max_lean: float  # tangent of the largest tilt

    def take(self, clips: NDArray[np.intp]) -> "_Problem":
        return dataclasses.replace(self, points=self.points[clips], whitening=self.whitening[clips])

    def errors(self, curve: Array) -> Array:
        """Whitened differences (N, 3T)."""
        return rearrange(self.whitening @ (curve - self.points)[..., None], "n t i 1 -> n (t i)")


class _Form(Protocol):
    """A law as a function of an unconstrained parameter vector theta (N, size)."""

    size: int
    free: int

    def starts(self, problem: _Problem) -> Array: ...  # (S, N, size)
    def curve(self, theta: Array, t: Array) -> Array: ...  # (N, T, 3)
    def jacobian(self, theta: Array, t: Array) -> Array: ...  # (N, T, 3, size)
    def quantities(self, theta: Array, t: Array) -> dict[str, Array]: ...  # (N,) each
    def natural(self, theta: Array) -> dict[str, Array]: ...


class _Polynomial:
    """theta = start, velocity and, for a parabola, gravity."""

    def __init__(self, falls: bool) -> None:
        self.falls = falls
        self.size = self.free = 7 if falls else 6

    def basis(self, t: Array) -> Array:
        """(T, 3, size): the curve is linear in theta."""
        columns = [np.einsum("t,ia->tia", np.ones_like(t), np.eye(3)), np.einsum("t,ia->tia", t, np.eye(3))]
        if self.falls:
            columns.append(np.einsum("t,i->ti", -0.5 * t**2, laws.UP)[..., None])
        return np.concatenate(columns, -1)

    def starts(self, problem: _Problem) -> Array:
        theta, _ = _linear_fits(self.basis(problem.t)[None], problem, np.zeros(self.size))
        return theta.swapaxes(0, 1)

    def curve(self, theta: Array, t: Array) -> Array:
        return np.asarray(np.einsum("tia,na->nti", self.basis(t), theta))

    def jacobian(self, theta: Array, t: Array) -> Array:
        return repeat(self.basis(t), "t i a -> n t i a", n=len(theta))

    def quantities(self, theta: Array, t: Array) -> dict[str, Array]:
        velocity = repeat(theta[:, 3:6], "n i -> n t i", t=len(t))
        if not self.falls:
            return {"speed": np.linalg.norm(velocity, axis=-1).mean(-1)}
        velocity = velocity - theta[:, 6, None, None] * t[:, None] * laws.UP
        return {"speed": np.linalg.norm(velocity, axis=-1).mean(-1), "gravity": theta[:, 6]}

    def natural(self, theta: Array) -> dict[str, Array]:
        found = {"start": theta[:, :3], "velocity": theta[:, 3:6]}
        return {**found, "gravity": theta[:, 6]} if self.falls else found


class _Spiral:
    """theta = centre (3), cosine part A, sine part B, rise speed, omega, lean of the axis along x and z.

    p = c + A (cos ωt e1 + sin ωt e2) + B (cos ωt e2 − sin ωt e1) + rise t n, n along (lean x, 1, lean z).
    Unlike radius, phase, yaw and tilt these are smooth everywhere. The rise of a circle is held at 0.
    """

    size = 9

    def __init__(self, rises: bool) -> None:
        self.rises = rises
        self.free = 9 if rises else 8

    def starts(self, problem: _Problem) -> Array:
        """The best of the grid for each sense of rotation, slow and fast."""
        rates, leans = _axis_grid(problem.max_lean)
        basis = np.stack([self._basis(rate, lean, problem.t) for rate, lean in zip(rates, leans, strict=True)])
        ridge = np.array([0, 0, 0, AMPLITUDE_RIDGE**-2, AMPLITUDE_RIDGE**-2, 0])[: basis.shape[-1]]
        linear, residual = _linear_fits(basis, problem, ridge)  # (N, G, 5 or 6), (N, G)
        shape = linear.shape[:2]
        theta = np.zeros((*shape, self.size))
        theta[..., : linear.shape[-1]] = linear
        theta[..., 6], theta[..., 7:] = rates, leans
        penalties = _penalties(self, problem, rearrange(theta, "n g p -> (n g) p"))
        cost = residual + np.square(penalties).sum(-1).reshape(shape)
        middle = np.median(np.abs(rates))
        groups = [(np.sign(rates) == sign) & ((np.abs(rates) > middle) == fast) for sign in (1, -1) for fast in (0, 1)]
        best = [np.where(group, cost, np.inf).argmin(-1) for group in groups]
        return np.stack([theta[np.arange(len(theta)), index] for index in best])

    def _basis(self, rate: float, lean: Array, t: Array) -> Array:
        """(T, 3, 5 or 6): the curve is linear in the centre, A, B and the rise."""
        unit = np.concatenate([np.zeros(6), [rate], lean])[None]
        return np.asarray(self.jacobian(unit, t)[0][..., : 6 if self.rises else 5])

    def curve(self, theta: Array, t: Array) -> Array:
        e1, e2, axis = _lean_frame(theta[:, 7:])
        inward, forward = _turning(theta[:, 6], t, e1, e2)
        a, b, rise = (theta[:, k, None, None] for k in (3, 4, 5))
        return np.asarray(theta[:, None, :3] + a * inward + b * forward + rise * t[:, None] * axis[:, None])

    def jacobian(self, theta: Array, t: Array) -> Array:
        e1, e2, axis = _lean_frame(theta[:, 7:])
        inward, forward = _turning(theta[:, 6], t, e1, e2)
        a, b = theta[:, 3, None, None], theta[:, 4, None, None]
        slope = np.empty((len(theta), len(t), 3, self.size))
        slope[..., :3] = np.eye(3)
        slope[..., 3], slope[..., 4] = inward, forward
        slope[..., 5] = t[:, None] * axis[:, None] if self.rises else 0.0
        slope[..., 6] = t[:, None] * (a * forward - b * inward)
        step = 1e-6
        for k in (7, 8):  # how the frame turns with the lean: smooth, so central differences are exact enough
            shift = np.zeros(self.size)
            shift[k] = step
            slope[..., k] = (self.curve(theta + shift, t) - self.curve(theta - shift, t)) / (2 * step)
        return slope

    def quantities(self, theta: Array, t: Array) -> dict[str, Array]:
        radius, omega = np.hypot(theta[:, 3], theta[:, 4]), theta[:, 6]
        found = {"speed": np.hypot(radius * omega, theta[:, 5]), "radius": radius, "lean": np.hypot(*theta[:, 7:].T)}
        return {**found, "pitch": np.abs(self._pitch(theta))} if self.rises else found

    def _pitch(self, theta: Array) -> Array:
        omega = np.where(np.abs(theta[:, 6]) < 1e-6, 1e-6, theta[:, 6])
        return np.asarray(2 * np.pi * theta[:, 5] / omega)

    def natural(self, theta: Array) -> dict[str, Array]:
        lean = theta[:, 7:]
        yaw, tilt = np.arctan2(lean[:, 1], lean[:, 0]), np.arctan(np.hypot(*lean.T))
        here1, here2, _ = _lean_frame(lean)
        outward = theta[:, 3, None] * here1 + theta[:, 4, None] * here2  # (N, 3) from the centre at t = 0
        e1, e2, _ = laws.axis_frame(yaw, tilt)
        phase = np.arctan2((outward * e2).sum(-1), (outward * e1).sum(-1))
        return {
            "centre": theta[:, :3], "radius": np.hypot(theta[:, 3], theta[:, 4]), "omega": theta[:, 6],
            "phase": phase, "yaw": yaw, "tilt": tilt, "pitch": self._pitch(theta),
        }


FORMS: dict[str, _Form] = {
    "linear": _Polynomial(falls=False), "circular": _Spiral(rises=False),
    "helical": _Spiral(rises=True), "parabolic": _Polynomial(falls=True),
}


def _whitening(sigma: Array | None, shape: tuple[int, ...]) -> Array:
    if sigma is None:
        return np.broadcast_to(np.eye(3), (*shape, 3))
    if sigma.shape == shape:
        return np.asarray(np.eye(3) / np.asarray(sigma, np.float64)[..., None])
    if sigma.shape == (*shape, 3):
        return np.asarray(sigma, np.float64)
    raise ValueError(f"sigma has shape {sigma.shape}, expected {shape} or {(*shape, 3)}")


def _axis_grid(max_lean: float) -> tuple[Array, Array]:
    """Angular velocities (G,) of both signs and leans (G, 2) of the axis, all combinations."""
    around = np.arange(6) * np.pi / 3
    leans = np.concatenate([np.zeros((1, 2)), 0.6 * max_lean * np.stack([np.cos(around), np.sin(around)], -1)])
    rates = np.concatenate([TURN_RATES, -TURN_RATES])
    return np.repeat(rates, len(leans)), np.tile(leans, (len(rates), 1))


def _lean_frame(lean: Array) -> tuple[Array, Array, Array]:
    """e1, e2 and the axis n = e1 × e2, each (N, 3), for the axis along (lean x, 1, lean z)."""
    axis = np.stack([lean[:, 0], np.ones(len(lean)), lean[:, 1]], -1)
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    e1 = np.stack([axis[:, 1], -axis[:, 0], np.zeros(len(lean))], -1)
    e1 = e1 / np.linalg.norm(e1, axis=-1, keepdims=True)
    return e1, np.cross(axis, e1), axis


def _turning(omega: Array, t: Array, e1: Array, e2: Array) -> tuple[Array, Array]:
    """cos ωt e1 + sin ωt e2, and the same a quarter turn on: (N, T, 3) each."""
    angle = (omega[:, None] * t)[..., None]  # (N, T, 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    e1, e2 = e1[:, None], e2[:, None]
    return cosine * e1 + sine * e2, cosine * e2 - sine * e1


def _linear_fits(basis: Array, problem: _Problem, ridge: Array) -> tuple[Array, Array]:
    """Weighted linear least squares of G bases (G, T, 3, Q) to N clips: (N, G, Q) and residuals (N, G)."""
    grid, size = len(basis), basis.shape[-1]
    information = problem.whitening.swapaxes(-1, -2) @ problem.whitening  # (N, T, 3, 3)
    weighted = (information @ problem.points[..., None])[..., 0]  # (N, T, 3)
    products = np.einsum("gtia,gtjb->tijgab", basis, basis).reshape(-1, grid * size * size)
    normal = (information.reshape(len(information), -1) @ products).reshape(-1, grid, size, size)
    right = weighted.reshape(len(weighted), -1) @ rearrange(basis, "g t i a -> (t i) (g a)")
    right = right.reshape(-1, grid, size)
    # a breath of damping relative to each column keeps arcs too short for their law solvable
    damping = np.einsum("ngaa->nga", normal) * 1e-10 + ridge
    theta = np.linalg.solve(normal + damping[..., None] * np.eye(size), right[..., None])[..., 0]
    power = (weighted * problem.points).sum((-1, -2))[:, None]
    residual = power - 2 * (theta * right).sum(-1) + np.einsum("nga,ngab,ngb->ng", theta, normal, theta, optimize=True)
    return theta, residual


def _penalties(form: _Form, problem: _Problem, theta: Array) -> Array:
    """Priors and bounds as residuals (N, rows) in standard deviations."""
    found = form.quantities(theta, problem.t)
    rows = [(found[name] - mean) / std for name, (mean, std) in problem.priors.items() if name in found]
    if "gravity" in found:
        rows.append(np.maximum(-found["gravity"], 0) / HINGE_SOFTNESS)
    if "lean" in found:
        rows.append(np.maximum(found["lean"] - problem.max_lean, 0) / HINGE_SOFTNESS)
    return np.stack(rows, -1) if rows else np.zeros((len(theta), 0))


def _penalty_slopes(form: _Form, problem: _Problem, theta: Array) -> Array:
    """(N, rows, size) by central differences: the quantities are cheap and few."""
    columns = []
    for k in range(form.size):
        shift = np.zeros(form.size)
        shift[k] = 1e-6
        columns.append(_penalties(form, problem, theta + shift) - _penalties(form, problem, theta - shift))
    return np.stack(columns, -1) / 2e-6


def _fit_block(form: _Form, problem: _Problem) -> Array:
    """theta (N, size) of the least cost over all starts."""
    starts = form.starts(problem)  # (S, N, size)
    clips = np.tile(np.arange(len(problem.points)), len(starts))
    theta, cost = _minimise(form, problem.take(clips), rearrange(starts, "s n p -> (s n) p"))
    best = cost.reshape(len(starts), -1).argmin(0)
    return np.asarray(theta.reshape(starts.shape)[best, np.arange(starts.shape[1])])


def _minimise(form: _Form, problem: _Problem, theta: Array) -> tuple[Array, Array]:
    """Levenberg–Marquardt on every clip at once: theta (N, size) and its cost (N,)."""
    theta, damping = theta.copy(), np.full(len(theta), 1e-3)
    cost = _cost(form, problem, theta)
    moving = np.arange(len(theta))
    for _ in range(ITERATIONS):
        here, now = problem.take(moving), theta[moving]
        tried = now + _damped_step(form, here, now, damping[moving])
        reached = _cost(form, here, tried)
        better = reached < cost[moving]
        gain = np.where(better, cost[moving] - reached, 0.0)
        theta[moving[better]], cost[moving[better]] = tried[better], reached[better]
        damping[moving] = np.where(better, damping[moving] * 0.1, damping[moving] * 10)
        small = better & (gain <= 1e-7 * cost[moving] + 1e-12)
        moving = moving[~(small | (damping[moving] > 1e8))]
        damping = np.maximum(damping, 1e-12)
        if not len(moving):
            break
    return theta, cost


def _cost(form: _Form, problem: _Problem, theta: Array) -> Array:
    squares = np.square(problem.errors(form.curve(theta, problem.t))).sum(-1)
    return np.asarray(squares + np.square(_penalties(form, problem, theta)).sum(-1))


def _damped_step(form: _Form, problem: _Problem, theta: Array, damping: Array) -> Array:
    errors = np.concatenate(
        [problem.errors(form.curve(theta, problem.t)), _penalties(form, problem, theta)], -1
    )  # (N, M)
    slope = rearrange(problem.whitening @ form.jacobian(theta, problem.t), "n t i p -> n (t i) p")
    slope = np.concatenate([slope, _penalty_slopes(form, problem, theta)], 1)  # (N, M, size)
    normal = slope.swapaxes(1, 2) @ slope
    diagonal = np.einsum("npp->np", normal)
    scale = damping[:, None] * diagonal + np.where(diagonal > 0, 0.0, 1.0)  # a parameter held fixed stays put
    normal = normal + scale[..., None] * np.eye(form.size)
    return -np.linalg.solve(normal, slope.swapaxes(1, 2) @ errors[..., None])[..., 0]
