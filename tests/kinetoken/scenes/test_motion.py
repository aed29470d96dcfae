"""Drawn tracks obey the world and give nothing away."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes import motion
from kinetoken.scenes.motion import Counts, Trajectories, draw_tracks, level_speed, parabola_length
from kinetoken.scenes.tracks import Tracks


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(dataclasses.replace(trajectory_params, counts=Counts(train=800, val=8, test=40, ood=80)))


def test_splits_are_stratified_and_in_order(tracks: Tracks) -> None:
    table = pd.crosstab(tracks.split, tracks.label)
    assert table.loc["train"].tolist() == [200] * 4
    assert table.loc["ood"].tolist() == [20] * 4
    np.testing.assert_array_equal(tracks.track_id, np.arange(len(tracks)))


def test_every_track_stays_in_view(tracks: Tracks) -> None:
    world = tracks.world
    assert world.in_view(tracks.points).all()
    edge = (np.abs(tracks.points[..., :2]) + world.ball_radius) / tracks.points[..., 2:]
    assert edge.max() < world.half_view


def test_ood_lies_beyond_the_training_bands(tracks: Tracks, trajectory_params: Trajectories) -> None:
    far, near = tracks.drawn[tracks.split == "ood"], tracks.drawn[tracks.split != "ood"]
    for column in ("speed", "path_radius", "gravity"):
        assert far[column].min() > near[column].max(), column
    assert near["speed"].between(*trajectory_params.bands.speed).all()


def test_speed_is_the_mean_along_the_path_for_every_class(tracks: Tracks) -> None:
    steps = np.linalg.norm(np.diff(tracks.points, axis=1), axis=-1).mean(1) * tracks.world.fps
    # chords cut the corners of a circle: of 2 x radians by sin x / x
    half = tracks.drawn["omega"].abs().fillna(0) / tracks.world.fps / 2
    circle = np.where(tracks.label == "circular", np.sinc(half / np.pi), 1.0)
    np.testing.assert_allclose(steps / circle, tracks.drawn["speed"], rtol=0.025)


def test_helix_and_circle_differ_in_pitch_alone(tracks: Tracks) -> None:
    drawn = tracks.drawn
    circle, helix = drawn[tracks.label == "circular"], drawn[tracks.label == "helical"]
    assert (circle["pitch"] == 0).all()
    assert (helix["pitch"].abs() >= 0.6).all()
    assert {np.sign(p) for p in helix["pitch"]} == {-1.0, 1.0}


@pytest.mark.parametrize("column", ["start_x", "start_y", "start_z", "speed", "colour_r", "light_azimuth"])
def test_nuisance_has_the_same_distribution_in_every_class(tracks: Tracks, column: str) -> None:
    from scipy.stats import ks_2samp

    train = tracks.split == "train"
    groups = [tracks.drawn.loc[train & (tracks.label == name), column] for name in CLASSES]
    p_values = [ks_2samp(a, b).pvalue for i, a in enumerate(groups) for b in groups[i + 1 :]]
    assert min(p_values) > 0.001


def test_a_track_is_the_same_however_many_are_drawn(tracks: Tracks, trajectory_params: Trajectories) -> None:
    few = draw_tracks(dataclasses.replace(trajectory_params, counts=Counts(train=20, val=8, test=8, ood=4)))
    np.testing.assert_array_equal(few.points[:20], tracks.points[:20])
    ours, theirs = few.points[few.split == "ood"], tracks.points[tracks.split == "ood"]
    np.testing.assert_array_equal(ours, theirs[:4])


def test_impossible_world_is_refused_by_name(trajectory_params: Trajectories) -> None:
    fast = dataclasses.replace(trajectory_params.bands, speed=(30.0, 30.0))
    with pytest.raises(UserError, match="linear track with speed 30.00"):
        draw_tracks(dataclasses.replace(trajectory_params, bands=fast))


def test_arc_length_of_a_throw_agrees_with_quadrature() -> None:
    from scipy.integrate import quad

    level, rise, gravity, duration = 0.8, 2.1, 4.4, 0.9
    expected, _ = quad(lambda t: np.hypot(level, rise - gravity * t), 0, duration)
    found = parabola_length(np.array(level), np.array(rise), np.array(gravity), duration)
    assert found == pytest.approx(expected, rel=1e-10)
    solved, possible = level_speed(np.array([expected]), np.array([rise]), np.array([gravity]), duration)
    assert possible.all()
    assert solved[0] == pytest.approx(level, rel=1e-9)


def test_arcs_are_as_long_as_asked_for(tracks: Tracks, trajectory_params: Trajectories) -> None:
    low, high = trajectory_params.turns
    round_ones = np.isin(tracks.label, ("circular", "helical"))
    turns = tracks.drawn["omega"].abs()[round_ones] * tracks.world.times[-1] / (2 * np.pi)
    assert (turns >= low).all() and (turns <= high).all()
    assert turns.min() < 1.2 * low


def test_every_law_has_a_track_from_every_start(tracks: Tracks, trajectory_params: Trajectories) -> None:
    """Or a start near an edge would tell which laws it cannot be: from there a fast line leaves, a circle does not."""
    some = np.flatnonzero(tracks.split == "train")[:60]
    start = tracks.drawn[["start_x", "start_y", "start_z"]].to_numpy()[some]
    assert tracks.world.in_view(start[:, None]).all()
    np.testing.assert_allclose(start, tracks.points[some, 0], atol=1e-9)
    tries = np.random.default_rng(8).random((len(some), 400, 7))
    speed = tracks.drawn["speed"].to_numpy()[some]
    for draw in motion._LAWS.values():
        natural, paths = draw(tries, start[:, None], speed[:, None], trajectory_params.bands, trajectory_params)
        assert (tracks.world.in_view(paths) & natural["possible"]).any(1).mean() > 0.95


def test_a_start_in_the_middle_draws_the_tracks_that_it_always_drew(trajectory_params: Trajectories) -> None:
    """Where all laws are possible from the first candidate, none of it is drawn again: committed studies stay true."""
    params = dataclasses.replace(
        trajectory_params, start_low=(-0.1, -0.1, 3.0), start_high=(0.1, 0.1, 3.2), turns=(0.0, 100.0),
        counts=Counts(train=8, val=4, test=4, ood=0),
        bands=dataclasses.replace(trajectory_params.bands, speed=(1.4, 1.5), path_radius=(0.2, 0.3)),
    )
    drawn = draw_tracks(params)
    for row, index in enumerate(range(8)):
        first = np.random.default_rng([params.seed, 0, index]).random(4)
        expected = np.array(params.start_low) + first[:3] * 0.2
        np.testing.assert_allclose(drawn.points[row, 0], expected)
