"""What the true paths and their circumstances alone tell about the class: two ceilings and two controls.

`path_features` describes a path by its differential geometry; a small classifier on them is the ceiling of
what any reader of the codes can reach. Circumstances (speed, colour, light, start) must tell nothing.
"""

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.physics.fitting import choose_law, fit_laws
from kinetoken.scenes.camera import Camera, camera_whitening
from kinetoken.scenes.tracks import Tracks
from kinetoken.scores import Labels

Array = NDArray[np.float64]

LEAST_FRAMES = 4  # for a third derivative
NUISANCE = ("speed", "start_x", "start_y", "start_z", "colour_r", "colour_g", "colour_b", "light_azimuth",
            "light_tilt", "light_strength")
TREES = 100
SEEN_PX = 0.15  # standard deviation of what a good reader gets wrong of u, v and radius


def path_features(points: Array, fps: float) -> dict[str, Array]:
    """Geometry of paths (N, T, 3) m → one value (N,) each, SI units; turning in rad, in all and from frame to frame.

    Curvature and torsion by finite differences of the Frenet formulas (do Carmo 1976, section 1-5). Raises
    UserError for fewer than four frames.
    """
    if points.shape[1] < LEAST_FRAMES:
        raise UserError(f"clips of {points.shape[1]} frames: path features need at least {LEAST_FRAMES}")
    steps = np.diff(points, axis=1) * fps  # (N, T-1, 3) m/s
    acceleration = np.diff(steps, axis=1) * fps  # (N, T-2, 3) m/s²
    jerk = np.diff(acceleration, axis=1) * fps  # (N, T-3, 3) m/s³
    velocity = (steps[:, 1:] + steps[:, :-1]) / 2
    speed = np.linalg.norm(velocity, axis=-1)
    binormal = np.cross(velocity, acceleration)
    curvature = np.linalg.norm(binormal, axis=-1) / np.maximum(speed**3, 1e-9)
    between = (binormal[:, 1:] + binormal[:, :-1]) / 2
    torsion = (between * jerk).sum(-1) / np.maximum((between**2).sum(-1), 1e-6)
    turning = np.arctan2(np.linalg.norm(np.cross(steps[:, :-1], steps[:, 1:]), axis=-1),
                         (steps[:, :-1] * steps[:, 1:]).sum(-1))  # (N, T-2) rad between steps, 0 where one is nil
    strength = np.linalg.norm(acceleration, axis=-1)
    toward = acceleration.mean(1) / np.maximum(strength.mean(1, keepdims=True), 1e-9)
    spread = _spread(points)
    length = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1)
    return {
        "curvature": curvature.mean(1), "curvature_change": curvature.std(1),
        "torsion": np.abs(np.median(torsion, axis=1)),
        "turning": turning.sum(1), "turning_mean": turning.mean(1), "acceleration": strength.mean(1),
        "acceleration_turning": np.linalg.norm(acceleration.std(1), axis=-1),
        "acceleration_up": acceleration[..., 1].mean(1),
        **{f"acceleration_toward_{axis}": toward[:, i] for i, axis in enumerate("xyz")},
        **{f"spread_{i}": spread[:, i] for i in range(3)}, "out_of_plane": spread[:, 2],
        "straightness": np.linalg.norm(points[:, -1] - points[:, 0], axis=-1) / np.maximum(length, 1e-9),
        "speed": speed.mean(1), "speed_change": speed.std(1),
    }


def _spread(points: Array) -> Array:
    """Root-mean-square extent along the principal axes, largest first: (N, T, 3) → (N, 3) m."""
    centred = points - points.mean(1, keepdims=True)
    return np.asarray(np.linalg.svd(centred, compute_uv=False) / np.sqrt(points.shape[1]))


def path_table(tracks: Tracks) -> Array:
    """(N, F) features of the true paths."""
    return np.stack(list(path_features(tracks.points, tracks.world.fps).values()), 1)


def law_fit_correct(tracks: Tracks, image_size: int, seed: int) -> Array:
    """Is each track's law (N,) the one that fits its true positions best, seen with `SEEN_PX` of noise? 0 or 1.

    The noise is Gaussian, in pixels of an image of `image_size`, on u, v and the ball's radius alike. It is about what
    a clip shows of its law: a reader that also knows which motions are frequent can do a little better.
    """
    camera, rng = Camera.of(tracks.world, image_size), np.random.default_rng([seed, 15])
    u, v, radius = (each + SEEN_PX * rng.standard_normal(each.shape) for each in camera.project(tracks.points))
    radius = np.maximum(radius, SEEN_PX)
    points = camera.unproject(u, v, radius)
    whitening = camera_whitening(points, SEEN_PX, SEEN_PX / float(radius.mean()), camera.focal)
    fits = fit_laws(tracks.world.times, points, whitening)
    chosen, _ = choose_law(fits)
    return np.asarray(np.array(list(fits))[chosen] == tracks.label, np.float64)


def nuisance_table(tracks: Tracks) -> Array:
    """(N, F) what was drawn in the same way for all classes, and the first position."""
    drawn = np.stack([tracks.drawn[name].to_numpy(np.float64) for name in NUISANCE], 1)
    return np.concatenate([drawn, tracks.points[:, 0]], 1)


def forest_correct(table: Array, target: Labels, train: np.ndarray, test: np.ndarray, seed: int) -> Array:
    """Is each test row's class right by extremely randomised trees (Geurts 2006)? → (N_test,) 0 or 1.

    table (N, F), target (N,), train and test (N,) masks.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(TREES, random_state=seed, n_jobs=1).fit(table[train], target[train])
    return np.asarray(forest.predict(table[test]) == target[test], np.float64)
