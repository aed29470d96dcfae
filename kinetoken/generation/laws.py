"""Does a generated ball obey the law of the class that was asked for, with parameters such as real ones have?

The law is fitted to the ball tracked in decoded clips, generated and real alike, so that what the tracker gets wrong
is wrong for both.
"""

import dataclasses

import numpy as np

from kinetoken.physics.fitting import LawFit, fit_law
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scenes.paths import Array
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracking import Tracked

ACROSS_PX, DEPTH_FRACTION = 0.15, 0.02  # about what the tracker gets wrong; only their ratio steers the fit
LAWFUL = 0.95  # share of real clips that pass


@dataclasses.dataclass
class FittedLaw:
    """One law fitted to N balls: what it leaves (N,), in squared standard deviations a value, and its parameters."""

    misfit: Array
    quantities: dict[str, Array]  # speed m/s, radius m, pitch m a turn, gravity m/s², (N,) each

    def take(self, rows: np.ndarray | slice) -> "FittedLaw":
        return FittedLaw(self.misfit[rows], {name: values[rows] for name, values in self.quantities.items()})


def fit_to_ball(law: str, tracked: Tracked, scene: Scene) -> FittedLaw:
    """The law fitted to tracked balls (N, T); a frame without a ball counts as one at the farthest there is."""
    camera = scene.camera
    smallest = camera.radius_px(scene.world.far) / 2
    points = camera.unproject(tracked.u, tracked.v, np.maximum(tracked.radius, smallest))
    whitening = camera_whitening(points, ACROSS_PX, DEPTH_FRACTION, camera.focal)
    fit = fit_law(law, scene.world.times, points, whitening)
    return FittedLaw(fit.residual / max(fit.values - fit.free, 1), _quantities(fit))


def _quantities(fit: LawFit) -> dict[str, Array]:
    found = fit.parameters
    if "velocity" in found:
        speed = {"speed": np.linalg.norm(found["velocity"], axis=-1)}
        return {**speed, "gravity": found["gravity"]} if "gravity" in found else speed
    circle = {"radius": found["radius"], "speed": np.abs(found["omega"]) * found["radius"]}
    return {**circle, "pitch": np.abs(found["pitch"])} if fit.law == "helical" else circle


def lawful(fitted: FittedLaw, real: FittedLaw) -> Array:
    """(N,) 1 where the law fits as well as it fits 95 % of real clips: the score of clips drawn from the world."""
    return np.asarray(fitted.misfit <= np.quantile(real.misfit, LAWFUL), np.float64)


def parameter_distances(fitted: FittedLaw, real: FittedLaw) -> dict[str, float]:
    """Two-sample Kolmogorov–Smirnov distance of each parameter's distribution from the real one; 1 with no clips."""
    from scipy.stats import ks_2samp

    if not len(fitted.misfit):
        return dict.fromkeys(real.quantities, 1.0)
    return {
        name: float(ks_2samp(values, real.quantities[name]).statistic) for name, values in fitted.quantities.items()
    }
