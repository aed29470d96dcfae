"""The renderer against geometry: where the ball is, how large, how its edge is weighed."""

import dataclasses

import numpy as np
import pytest

from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.rendering import LOOK, Rendering, Scene, add_noise, ball_coverage, render
from kinetoken.scenes.tracking import track_ball


@pytest.fixture(scope="module")
def scene(trajectory_params: Trajectories, rendering_params: Rendering) -> Scene:
    return Scene(trajectory_params.world, rendering_params.look)


WHITE = {"colour_r": 1.0, "colour_g": 1.0, "colour_b": 1.0, "light_azimuth": 0.0, "light_tilt": 0.0,
         "light_strength": 1.0}


def look(count: int) -> dict[str, np.ndarray]:
    return {name: np.full(count, WHITE[name]) for name in LOOK}


def test_coverage_agrees_with_rays_through_many_points_of_each_pixel(scene: Scene) -> None:
    points = np.array([[0.3, 0.2, 2.5], [-0.9, -0.5, 3.3], [0.0, 0.0, 4.4]])
    found = ball_coverage(scene, points)
    fine = (np.arange(64 * 16) + 0.5) / 16 - 0.5  # sub-pixel positions
    dx, dy = (fine - scene.camera.centre) / scene.camera.focal, (scene.camera.centre - fine) / scene.camera.focal
    ray = np.stack(np.broadcast_arrays(dx[None, :], dy[:, None], 1.0), -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    for point, coverage in zip(points, found, strict=True):
        away = np.sqrt((point**2).sum() - (ray @ point) ** 2)
        exact = (away < scene.world.ball_radius).reshape(64, 16, 64, 16).mean((1, 3))
        assert np.abs(coverage - exact).max() < 0.12  # a straight-edge filter against the true area
        # an edge ramp one pixel wide adds E[(r + δ)²] − r² = 1/12 to the squared radius, δ uniform in ±½
        assert coverage.sum() == pytest.approx(exact.sum() + np.pi / 12, rel=0.01)


def test_drawn_ball_is_where_and_as_large_as_the_projection_says(
    scene: Scene, trajectory_params: Trajectories
) -> None:
    tracks = draw_tracks(trajectory_params)
    drawn = {name: tracks.drawn[name].to_numpy() for name in LOOK}
    frames = render(scene, tracks.points, drawn).astype(np.float32) / 255
    found = track_ball(frames, scene.background())
    u, v, radius = scene.camera.project(tracks.points)
    assert np.hypot(found.u - u, found.v - v).mean() < 0.15
    assert np.abs(found.radius - radius).mean() < 0.15


def test_outside_ball_and_shadow_the_clip_is_the_background(scene: Scene) -> None:
    frames = render(scene, np.array([[[0.6, 0.5, 2.6]]]), look(1))[0, 0]
    background = np.asarray(scene.background() * 255 + 0.5).astype(np.uint8)
    assert (frames[:, :32] == background[:, :32]).all()
    assert (frames[:, 32:] != background[:, 32:]).any()


def test_shadow_darkens_the_floor_below_the_ball_and_less_than_the_tracker_sees(scene: Scene) -> None:
    point = np.array([[[0.0, 0.2, 3.0]]])
    change = scene.background() - render(scene, point, look(1))[0, 0].astype(np.float32) / 255
    row = round(scene.camera.centre + scene.camera.focal * -scene.world.floor_y / 3.0)
    assert change[row, 31].mean() > 0.05
    assert change[45:].max() < 0.1
    black = dataclasses.replace(scene, look=dataclasses.replace(scene.look, background="black"))
    assert render(black, point, look(1))[0, 0, 45:].max() == 0


def test_a_ball_at_the_edge_is_drawn_in_part(scene: Scene) -> None:
    coverage = ball_coverage(scene, np.array([[scene.world.half_view * 3.0, 0.0, 3.0]]))[0]
    assert coverage[:, -1].max() == 1
    assert 0 < coverage.sum() < 0.6 * np.pi * (scene.camera.focal * 0.2 / 3) ** 2


def test_noise_has_its_standard_deviation_and_its_own_generator() -> None:
    grey = np.full((2, 4, 32, 32, 3), 128, np.uint8)
    noisy = add_noise(grey, 0.05, [np.random.default_rng(1), np.random.default_rng(2)])
    assert noisy.std() / 255 == pytest.approx(0.05, rel=0.05)
    again = add_noise(grey[1:], 0.05, [np.random.default_rng(2)])
    np.testing.assert_array_equal(noisy[1:], again)
    assert add_noise(grey, 0.0, []) is grey
