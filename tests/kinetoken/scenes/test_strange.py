"""Strange scenes: in view, as fast and coloured as the sound tracks that they are made of, the same every time."""

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.physics.world import World
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.rendering import LOOK, Rendering, Scene, ball_coverage, render, to_bytes
from kinetoken.scenes.strange import KINDS, PATHS, SHARPNESS, strange_clips
from kinetoken.scenes.tracks import Tracks


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params).take(np.arange(12))


@pytest.fixture(scope="module")
def scene(tracks: Tracks, rendering_params: Rendering) -> Scene:
    return Scene(tracks.world, rendering_params.look)


def speeds(world: World, points: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(np.diff(points, axis=1), axis=-1) * world.fps)


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([3, i]) for i in range(count)]


@pytest.mark.parametrize("kind", sorted(PATHS))
def test_paths_stay_in_view_at_the_speed_of_their_tracks(tracks: Tracks, kind: str) -> None:
    paths = PATHS[kind](tracks.world, tracks.points, rngs(len(tracks)))
    assert paths.shape == tracks.points.shape and tracks.world.in_view(paths).all()
    given, found = speeds(tracks.world, tracks.points).mean(1), speeds(tracks.world, paths)
    if kind == "still":
        assert (found == 0).all()
        np.testing.assert_array_equal(paths[:, 0], tracks.points[:, 0])
    elif kind == "walk":
        np.testing.assert_allclose(found, np.broadcast_to(given[:, None], found.shape), rtol=1e-9)
        np.testing.assert_array_equal(paths[:, 0], tracks.points[:, 0])
    else:  # a straight line is cut short only in the frame in which it bounces
        np.testing.assert_allclose(np.sort(found, 1)[:, 1:], np.broadcast_to(given[:, None], found.shape)[:, 1:])


def test_a_walk_is_smooth_and_forgets_where_it_went(tracks: Tracks) -> None:
    points = np.repeat(tracks.points[:1], 400, axis=0)
    step = np.diff(PATHS["walk"](tracks.world, points, rngs(400)), axis=1)
    unit = step / np.linalg.norm(step, axis=-1, keepdims=True)
    agree = (unit[:, :1] * unit).sum(-1).mean(0)  # (T − 1,): correlation with the first direction
    assert agree[1] > 0.85 and 0.2 < agree[5] < 0.65 and abs(agree[-1]) < 0.35


def test_a_bounce_turns_once_and_the_floor_is_touched(tracks: Tracks) -> None:
    world = tracks.world
    paths = PATHS["bounce"](world, tracks.points, rngs(len(tracks)))
    velocity = np.diff(paths, axis=1)
    change = np.linalg.norm(np.diff(velocity, axis=1), axis=-1)
    turned = change > 1e-9
    assert ((turned.sum(1) >= 1) & (turned.sum(1) <= 2)).all(), "one bounce lies in one step, or between two"
    size = np.linalg.norm(velocity[:, 0], axis=-1)
    thrown = np.linalg.norm(velocity[:, -1] - velocity[:, 0], axis=-1)
    assert (thrown >= 2 * SHARPNESS * size - 1e-9).all()
    floor = paths[::2]
    lowest = floor[..., 1].min(1) - world.ball_radius - world.floor_y
    assert (lowest >= -1e-9).all() and (lowest <= size[::2]).all()
    np.testing.assert_allclose(velocity[1::2, 0, 1], velocity[1::2, -1, 1], atol=1e-9)  # a wall is upright


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_the_same_again_and_each_by_itself(scene: Scene, tracks: Tracks, kind: str) -> None:
    clips = strange_clips(scene, tracks, kind, 5, seed=1)
    assert clips.shape == (5, 16, 64, 64, 3) and clips.dtype == np.uint8
    np.testing.assert_array_equal(strange_clips(scene, tracks, kind, 5, seed=1), clips)
    np.testing.assert_array_equal(strange_clips(scene, tracks, kind, 3, seed=1), clips[:3])
    if kind in ("walk", "bounce", "two_balls", "noise"):
        assert (strange_clips(scene, tracks, kind, 5, seed=2) != clips).any()


def test_two_balls_are_both_sound_tracks_and_nothing_else(scene: Scene, tracks: Tracks) -> None:
    """Of two tracks, each clip shows both: each pixel is one of the two clips', a shadow of both, or an edge."""
    two = tracks.take(np.arange(2))
    both = strange_clips(scene, two, "two_balls", 2, seed=0)
    np.testing.assert_array_equal(both[0], both[1])
    alone = render(scene, two.points, {name: two.drawn[name].to_numpy() for name in LOOK})
    cover = ball_coverage(scene, two.points)  # (2, T, H, W)
    free = (cover == 0).all(0)
    np.testing.assert_array_equal(both[0][free], alone.min(0)[free])
    for this in (0, 1):
        inside = (cover[this] == 1) & (cover[1 - this] == 0)
        assert inside.sum() > 100
        assert np.abs(both[0][inside].astype(int) - alone[this][inside]).max() <= 1
    nearer = two.points[..., 2].argmin(0)  # (T,)
    inside = (cover == 1).all(0)
    front = np.take_along_axis(alone, nearer[None, :, None, None, None], 0)[0]
    assert np.abs(both[0][inside].astype(int) - front[inside]).max(initial=0) <= 1


def test_an_empty_room_is_the_background_and_noise_is_everything_but(scene: Scene, tracks: Tracks) -> None:
    empty, noise = (strange_clips(scene, tracks, kind, 2, seed=0) for kind in ("empty", "noise"))
    np.testing.assert_array_equal(empty, np.broadcast_to(to_bytes(scene.background()), empty.shape))
    assert abs(noise.mean() - 127.5) < 1 and abs(noise.std() - 73.9) < 1


def test_more_clips_than_tracks_begin_with_the_first_again(scene: Scene, tracks: Tracks) -> None:
    few = tracks.take(np.arange(2))
    still = strange_clips(scene, few, "still", 4, seed=0)
    np.testing.assert_array_equal(still[:2], still[2:])


def test_what_cannot_be_drawn_is_refused(scene: Scene, tracks: Tracks) -> None:
    with pytest.raises(ValueError, match="no kind 'spin'"):
        strange_clips(scene, tracks, "spin", 1, seed=0)
    with pytest.raises(UserError, match="no sound track"):
        strange_clips(scene, tracks.take(np.arange(0)), "walk", 1, seed=0)
    fast = tracks.take(np.arange(1))
    fast.points = 40 * fast.points
    with pytest.raises(UserError, match=r"no bounce at .* m/s from .* stays in view"):
        strange_clips(scene, fast, "bounce", 1, seed=0)
