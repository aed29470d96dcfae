"""Two kinds of motion that look alike in any two frames and differ in any three.

Each coordinate of a candidate, in metres from the middle of its room, is a stationary Gaussian process of second order,

    x[t+1] = (1 + m) r x[t] − m x[t−1] + e[t],      r = 1 − step² / (2 spread²)

Its standard deviation is `spread` and that of its step from frame to frame is `step`, whatever the memory m is: one
frame, and two frames in a row, are distributed alike for every m, at any time. m = 0 is diffusion, each step drawn
anew; the nearer m is to 1, the more of its velocity a thing keeps: the velocity then changes by noise of
sqrt(1 − m²) of its own standard deviation, which is constant velocity with process noise in a weak restoring force.

Source: Box & Jenkins, Time Series Analysis (1970), section 3.2 (variance and correlations of AR(2)).
"""

import dataclasses

import numpy as np

from kinetoken.core.params import PositiveFloat
from kinetoken.physics.laws import Array


@dataclasses.dataclass(frozen=True)
class Process:
    """One coordinate's law, and its state-space form: states are (x[t], x[t−1])."""

    spread: PositiveFloat  # m, standard deviation of the position about the middle
    step: PositiveFloat  # m, standard deviation of the displacement from one frame to the next
    memory: float  # m, in [0, 1)

    def __post_init__(self) -> None:
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be in [0, 1), is {self.memory}")
        if self.step >= 2 * self.spread:
            raise ValueError(f"a step of {self.step} m is too long for a spread of {self.spread} m")

    @property
    def correlation(self) -> float:
        """Of positions one frame apart."""
        return 1 - self.step**2 / (2 * self.spread**2)

    @property
    def weights(self) -> Array:
        """(2,): what the next position takes of this one and of the one before."""
        return np.array([(1 + self.memory) * self.correlation, -self.memory])

    @property
    def noise(self) -> float:
        """m, standard deviation of e: what no past foretells of the next position."""
        return float(self.spread * np.sqrt((1 - self.memory**2) * (1 - self.correlation**2)))

    @property
    def transition(self) -> Array:
        """(2, 2): the state's mean a frame on."""
        return np.array([self.weights, [1.0, 0.0]])

    @property
    def stationary(self) -> Array:
        """(2, 2) m²: covariance of the state at any time."""
        return self.spread**2 * np.array([[1.0, self.correlation], [self.correlation, 1.0]])


def memory_of(process_noise: float) -> float:
    """The memory at which the velocity's change from frame to frame is `process_noise` of its standard deviation."""
    return float(np.sqrt(1 - process_noise**2))


def paths(process: Process, normal: Array) -> Array:
    """(..., T) standard normal numbers → (..., T) m: paths of one coordinate."""
    frames = normal.shape[-1]
    x = np.empty_like(normal)
    r, noise, weights = process.correlation, process.noise, process.weights
    x[..., 0] = process.spread * normal[..., 0]
    if frames > 1:
        x[..., 1] = r * x[..., 0] + process.spread * np.sqrt(1 - r**2) * normal[..., 1]
    for t in range(2, frames):
        x[..., t] = weights[0] * x[..., t - 1] + weights[1] * x[..., t - 2] + noise * normal[..., t]
    return x


def log_likelihoods(process: Process, x: Array, measured: float = 0.0) -> Array:
    """(..., T) m → (..., T): log density of each position given those before it, by a Kalman filter.

    `measured`, m, is the standard deviation of independent errors in x. Kalman (1960).
    """
    state = np.zeros((*x.shape[:-1], 2))
    covariance = process.stationary
    transition = process.transition
    density = np.empty_like(x)
    for t in range(x.shape[-1]):
        if t:
            state = state @ transition.T
            covariance = transition @ covariance @ transition.T + np.diag([process.noise**2, 0.0])
        variance = covariance[0, 0] + measured**2
        gain = covariance[:, 0] / variance
        miss = x[..., t] - state[..., 0]
        density[..., t] = -0.5 * (np.log(2 * np.pi * variance) + miss**2 / variance)
        state = state + miss[..., None] * gain
        covariance = covariance - np.outer(gain, covariance[0])
    return density
