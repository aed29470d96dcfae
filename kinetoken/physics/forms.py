"""The four laws as functions of an unconstrained parameter vector, smooth everywhere, as a fit wants them.

A straight line and a parabola are linear problems. A circle or a helix whose angular velocity and axis are known is
linear too (centre, cosine part, sine part and rise), so a grid over those gives the starts.
"""

import numpy as np
from einops import rearrange, repeat

from kinetoken.physics import laws
from kinetoken.physics.laws import Array
from kinetoken.physics.least_squares import Form, Problem, linear_fits, penalties

TURN_RATES = np.linspace(2.0, 17.0, 13)  # rad/s: 0.3 to 2.5 turns over one second; closer than a data second resolves
AMPLITUDE_RIDGE = 0.5  # m: keeps the grid's linear problems solvable for short arcs


class Polynomial:
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

    def starts(self, problem: Problem) -> Array:
        theta, _ = linear_fits(self.basis(problem.t)[None], problem, np.zeros(self.size))
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


class Spiral:
    """theta = centre (3), cosine part A, sine part B, rise speed, omega, lean of the axis along x and z.

    p = c + A (cos ωt e1 + sin ωt e2) + B (cos ωt e2 − sin ωt e1) + rise t n, n along (lean x, 1, lean z).
    Unlike radius, phase, yaw and tilt these are smooth everywhere. The rise of a circle is held at 0.
    """

    size = 9

    def __init__(self, rises: bool) -> None:
        self.rises = rises
        self.free = 9 if rises else 8

    def starts(self, problem: Problem) -> Array:
        """The best of the grid for each sense of rotation, slow and fast."""
        rates, leans = _axis_grid(problem.max_lean)
        basis = np.stack([self._basis(rate, lean, problem.t) for rate, lean in zip(rates, leans, strict=True)])
        ridge = np.array([0, 0, 0, AMPLITUDE_RIDGE**-2, AMPLITUDE_RIDGE**-2, 0])[: basis.shape[-1]]
        linear, residual = linear_fits(basis, problem, ridge)  # (N, G, 5 or 6), (N, G)
        shape = linear.shape[:2]
        theta = np.zeros((*shape, self.size))
        theta[..., : linear.shape[-1]] = linear
        theta[..., 6], theta[..., 7:] = rates, leans
        penalty = penalties(self, problem, rearrange(theta, "n g p -> (n g) p"))
        cost = residual + np.square(penalty).sum(-1).reshape(shape)
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


FORMS: dict[str, Form] = {
    "linear": Polynomial(falls=False), "circular": Spiral(rises=False),
    "helical": Spiral(rises=True), "parabolic": Polynomial(falls=True),
}


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
