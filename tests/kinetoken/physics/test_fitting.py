"""The fits against closed forms, against scipy, and against what noise must do."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from kinetoken.physics.fitting import PRIOR_QUANTITIES, fit_law, predict_known_law
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.camera import camera_whitening
from tests.support.law_tracks import FOCAL, PAST, TIMES, draw, positions, seen_by_camera


@pytest.mark.parametrize("law", CLASSES)
def test_noiseless_points_give_back_parameters_and_future(law: str) -> None:
    drawn = draw(law, 200)
    path = positions(law, drawn)
    fit = fit_law(law, PAST, path[:, :12], np.full((200, 12, 3), 1e-4))
    np.testing.assert_allclose(fit.predict(TIMES), path, atol=2e-4)
    for name in ("velocity", "gravity", "radius", "omega", "tilt"):
        if name in drawn:
            np.testing.assert_allclose(fit.parameters[name], drawn[name], rtol=2e-3, atol=2e-3)
    if law == "helical":
        np.testing.assert_allclose(fit.parameters["pitch"], drawn["pitch"], rtol=2e-3)
    if law == "circular":
        assert (fit.parameters["pitch"] == 0).all()


@pytest.mark.parametrize("law", CLASSES)
def test_agrees_with_scipy_on_noisy_points(law: str) -> None:
    drawn = draw(law, 8, seed=1)
    points = seen_by_camera(positions(law, drawn)[:, :12], 0.2, 0.01, seed=2)
    whitening = camera_whitening(points, 0.2, 0.01, FOCAL)
    fit = fit_law(law, PAST, points, whitening, max_tilt=np.radians(80))
    names = [name for name in drawn if not (law == "circular" and name == "pitch")]

    def unpack(vector: np.ndarray) -> dict[str, np.ndarray]:
        sizes = [drawn[name][0].size for name in names]
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        values = {name: part[None] if len(part) > 1 else part for name, part in zip(names, parts, strict=True)}
        return values | ({"pitch": np.zeros(1)} if law == "circular" else {})

    for clip in range(8):
        def errors(vector: np.ndarray, clip: int = clip) -> np.ndarray:
            path = positions(law, unpack(vector), PAST)[0]
            return (whitening[clip] @ (path - points[clip])[..., None]).ravel()

        start = np.concatenate([np.atleast_1d(drawn[name][clip]) for name in names])  # scipy may start at the truth
        other = least_squares(errors, start, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=500)
        assert fit.residual[clip] == pytest.approx(2 * other.cost, rel=1e-3) or fit.residual[clip] < 2 * other.cost


def test_residual_is_the_weighted_sum_of_squares() -> None:
    points = seen_by_camera(positions("parabolic", draw("parabolic", 20)), 0.3, 0.02, seed=3)
    sigma = np.random.default_rng(0).uniform(0.01, 0.1, points.shape)
    fit = fit_law("parabolic", TIMES, points, sigma)
    np.testing.assert_allclose(fit.residual, np.square((fit.predict(TIMES) - points) / sigma).sum((1, 2)))
    assert (fit.penalty == 0).all() and (fit.free, fit.values) == (7, 48)


def test_extrapolation_error_grows_with_noise_and_weights_help() -> None:
    path = positions("circular", draw("circular", 100))
    means = []
    for px, fraction in ((0.05, 0.002), (0.2, 0.01), (0.4, 0.03)):
        points = seen_by_camera(path[:, :12], px, fraction, seed=4)
        whitening = camera_whitening(points, px, fraction, FOCAL)
        known = predict_known_law(np.full(100, "circular"), PAST, points, TIMES, whitening)
        means.append(np.linalg.norm(known - path, axis=-1)[:, 12:].mean())
        blind = fit_law("circular", PAST, points).predict(TIMES)
        assert means[-1] < np.linalg.norm(blind - path, axis=-1)[:, 12:].mean()
    assert means[0] < 0.5 * means[1] < means[2]


def test_priors_pull_where_points_are_poor() -> None:
    drawn = draw("helical", 150)
    path = positions("helical", drawn)
    points = seen_by_camera(path[:, :12], 0.3, 0.03, seed=5)
    whitening = camera_whitening(points, 0.3, 0.03, FOCAL)
    bands = {"speed": (1.6, 0.25), "radius": (0.275, 0.05), "pitch": (0.8, 0.13), "gravity": (4.5, 1.0)}
    assert set(bands) == set(PRIOR_QUANTITIES)
    free, guided = (fit_law("helical", PAST, points, whitening, priors=p) for p in (None, bands))
    error = [np.linalg.norm(f.predict(TIMES) - path, axis=-1)[:, 12:].mean() for f in (free, guided)]
    assert error[1] < 0.9 * error[0]
    missed = [np.abs(f.parameters["pitch"] - drawn["pitch"]).mean() for f in (free, guided)]
    assert missed[1] < 0.8 * missed[0]
    assert (guided.penalty > 0).all() and (free.penalty == 0).any()


def test_bounds_on_gravity_and_tilt() -> None:
    upward = positions("parabolic", {**draw("parabolic", 5), "gravity": np.full(5, -4.0)})
    assert fit_law("parabolic", TIMES, upward, np.full(upward.shape, 0.05)).parameters["gravity"].min() > -0.2
    lying = positions("circular", {**draw("circular", 5), "tilt": np.full(5, 1.2)})
    sigma = np.full(lying.shape, 0.05)
    assert np.degrees(fit_law("circular", TIMES, lying, sigma).parameters["tilt"]).max() < 33
    open_bound = fit_law("circular", TIMES, lying, sigma, max_tilt=1.4)
    np.testing.assert_allclose(open_bound.parameters["tilt"], 1.2, atol=0.01)


@pytest.mark.parametrize(("law", "change", "message"), [
    ("square", {}, "no law 'square'"), ("linear", {"priors": {"mass": (1, 1)}}, "no prior for 'mass'"),
    ("linear", {"points": np.zeros((2, 5, 3))}, "expected"), ("linear", {"sigma": np.ones((2, 16))}, "sigma has shape"),
    ("linear", {"points": np.full((2, 16, 3), np.nan)}, "finite"),
])
def test_bad_input_is_refused(law: str, change: dict[str, object], message: str) -> None:
    arguments = {"t": TIMES, "points": np.zeros((2, 16, 3))} | change
    with pytest.raises(ValueError, match=message):
        fit_law(law, **arguments)  # type: ignore[arg-type]


def test_no_clips_give_an_empty_fit() -> None:
    assert fit_law("helical", TIMES, np.zeros((0, 16, 3))).predict(TIMES).shape == (0, 16, 3)
