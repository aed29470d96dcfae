"""The law of a tracked ball, against tracks whose parameters are known."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.generation import laws as judging
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracking import Tracked
from tests.support.law_tracks import draw, positions, seen_by_camera


@pytest.fixture(scope="module")
def scene(tiny_data: Path) -> Scene:
    return ClipStore(tiny_data / "videos").scene


def ball(scene: Scene, law: str, count: int, seed: int, noise: float = 1.0) -> tuple[dict[str, np.ndarray], Tracked]:
    """Drawn parameters, and the ball as a tracker with the stated noise sees it."""
    drawn = draw(law, count, seed)
    points = seen_by_camera(positions(law, drawn), noise * judging.ACROSS_PX, noise * judging.DEPTH_FRACTION, seed)
    u, v, radius = scene.camera.project(points)
    return drawn, Tracked(u, v, radius, np.ones_like(u))


@pytest.mark.parametrize("law", CLASSES)
def test_parameters_are_found(scene: Scene, law: str) -> None:
    drawn, tracked = ball(scene, law, 40, 1, noise=0.01)
    found = judging.fit_to_ball(law, tracked, scene).quantities
    if law in ("linear", "parabolic"):
        expected = {"speed": np.linalg.norm(drawn["velocity"], axis=-1)}
        expected |= {"gravity": drawn["gravity"]} if law == "parabolic" else {}
    else:
        expected = {"radius": drawn["radius"], "speed": np.abs(drawn["omega"]) * drawn["radius"]}
        expected |= {"pitch": np.abs(drawn["pitch"])} if law == "helical" else {}
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.median(np.abs(found[name] / values - 1)) < 0.01, name


def test_real_tracks_are_lawful_and_those_of_another_law_are_not(scene: Scene) -> None:
    real = judging.fit_to_ball("linear", ball(scene, "linear", 400, 2)[1], scene)
    assert float(np.median(real.misfit)) == pytest.approx(1, abs=0.2), "noise as stated leaves about one"
    fresh = judging.fit_to_ball("linear", ball(scene, "linear", 400, 3)[1], scene)
    assert judging.lawful(fresh, real).mean() == pytest.approx(judging.LAWFUL, abs=0.04)
    for other in ("circular", "helical", "parabolic"):
        bent = judging.fit_to_ball("linear", ball(scene, other, 60, 4)[1], scene)
        assert judging.lawful(bent, real).mean() < 0.1, other


def test_distances_of_parameters_see_a_shift_and_nothing_else(scene: Scene) -> None:
    real, fresh = (judging.fit_to_ball("parabolic", ball(scene, "parabolic", 400, seed)[1], scene) for seed in (5, 6))
    for name, distance in judging.parameter_distances(fresh, real).items():
        assert distance < 1.36 * np.sqrt(2 / 400) * 1.2, name  # the 5 % point of Smirnov's distribution, and a fifth
    moved = judging.FittedLaw(fresh.misfit, {**fresh.quantities, "gravity": fresh.quantities["gravity"] * 3})
    assert judging.parameter_distances(moved, real)["gravity"] > 0.9
    nothing = fresh.take(np.zeros(400, bool))
    assert set(judging.parameter_distances(nothing, real).values()) == {1.0}


def test_a_lost_ball_is_fitted_all_the_same(scene: Scene) -> None:
    _, tracked = ball(scene, "circular", 5, 7)
    tracked.radius[2, 4:9] = 0
    assert np.isfinite(judging.fit_to_ball("circular", tracked, scene).misfit).all()
