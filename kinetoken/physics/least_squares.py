"""Weighted least squares of a curve to the points of a thousand clips at once.

Squared errors in units of their standard deviation, plus weak Gaussian priors and soft bounds on what the curve's
parameters mean. Linear problems are solved at once, others refined by Levenberg–Marquardt (Marquardt 1963, SIAM J.
11:431).
"""

import dataclasses
from typing import Protocol

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.physics.laws import Array

HINGE_SOFTNESS = 0.01  # how far (in its own unit) a bound is overstepped for one standard deviation's cost
ITERATIONS = 60


@dataclasses.dataclass(frozen=True)
class Problem:
    """N clips' points, how far to trust them, and what is known beforehand; `priors` are (mean, deviation) by name."""

    t: Array  # (T,) s
    points: Array  # (N, T, 3) m
    whitening: Array  # (N, T, 3, 3) 1/m
    priors: dict[str, tuple[float, float]]
    max_lean: float  # tangent of the largest tilt

    def take(self, clips: NDArray[np.intp]) -> "Problem":
        return dataclasses.replace(self, points=self.points[clips], whitening=self.whitening[clips])

    def errors(self, curve: Array) -> Array:
        """Whitened differences (N, 3T)."""
        return rearrange(self.whitening @ (curve - self.points)[..., None], "n t i 1 -> n (t i)")


class Form(Protocol):
    """A curve as a function of an unconstrained parameter vector theta (N, size), `free` of them to be fitted."""

    size: int
    free: int

    def starts(self, problem: Problem) -> Array: ...  # (S, N, size)
    def curve(self, theta: Array, t: Array) -> Array: ...  # (N, T, 3)
    def jacobian(self, theta: Array, t: Array) -> Array: ...  # (N, T, 3, size)
    def quantities(self, theta: Array, t: Array) -> dict[str, Array]: ...  # (N,) each
    def natural(self, theta: Array) -> dict[str, Array]: ...


def linear_fits(basis: Array, problem: Problem, ridge: Array) -> tuple[Array, Array]:
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


def penalties(form: Form, problem: Problem, theta: Array) -> Array:
    """Priors and bounds as residuals (N, rows) in standard deviations."""
    found = form.quantities(theta, problem.t)
    rows = [(found[name] - mean) / std for name, (mean, std) in problem.priors.items() if name in found]
    if "gravity" in found:
        rows.append(np.maximum(-found["gravity"], 0) / HINGE_SOFTNESS)
    if "lean" in found:
        rows.append(np.maximum(found["lean"] - problem.max_lean, 0) / HINGE_SOFTNESS)
    return np.stack(rows, -1) if rows else np.zeros((len(theta), 0))


def _penalty_slopes(form: Form, problem: Problem, theta: Array) -> Array:
    """(N, rows, size) by central differences: the quantities are cheap and few."""
    columns = []
    for k in range(form.size):
        shift = np.zeros(form.size)
        shift[k] = 1e-6
        columns.append(penalties(form, problem, theta + shift) - penalties(form, problem, theta - shift))
    return np.stack(columns, -1) / 2e-6


def minimise(form: Form, problem: Problem, theta: Array) -> tuple[Array, Array]:
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


def _cost(form: Form, problem: Problem, theta: Array) -> Array:
    squares = np.square(problem.errors(form.curve(theta, problem.t))).sum(-1)
    return np.asarray(squares + np.square(penalties(form, problem, theta)).sum(-1))


def _damped_step(form: Form, problem: Problem, theta: Array, damping: Array) -> Array:
    errors = np.concatenate(
        [problem.errors(form.curve(theta, problem.t)), penalties(form, problem, theta)], -1
    )  # (N, M)
    slope = rearrange(problem.whitening @ form.jacobian(theta, problem.t), "n t i p -> n (t i) p")
    slope = np.concatenate([slope, _penalty_slopes(form, problem, theta)], 1)  # (N, M, size)
    normal = slope.swapaxes(1, 2) @ slope
    diagonal = np.einsum("npp->np", normal)
    scale = damping[:, None] * diagonal + np.where(diagonal > 0, 0.0, 1.0)  # a parameter held fixed stays put
    normal = normal + scale[..., None] * np.eye(form.size)
    return -np.linalg.solve(normal, slope.swapaxes(1, 2) @ errors[..., None])[..., 0]
