"""Drawn tracks obey the world and give nothing away; the user's own are checked to the row."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.errors import UserError
from kinetoken.laws import CLASSES
from kinetoken.trajectories import (
    Counts,
    Tracks,
    Trajectories,
    draw_tracks,
    level_speed,
    parabola_length,
    read_own_tracks,
    read_tracks,
    write_tracks,
)


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
    # chords cut the corners of a circle by up to 2 % at this frame rate
    np.testing.assert_allclose(steps, tracks.drawn["speed"], rtol=0.025)


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


def test_tables_round_trip(tracks: Tracks, tmp_path: Path) -> None:
    write_tracks(tracks, tmp_path / "a.parquet", tmp_path / "b.parquet")
    back = read_tracks(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert back.world == tracks.world
    np.testing.assert_array_equal(back.label, tracks.label)
    np.testing.assert_allclose(back.points, tracks.points, atol=1e-6)
    np.testing.assert_allclose(back.drawn["speed"], tracks.drawn["speed"], rtol=1e-6)


# --- the user's own ---


def own(tracks: Tracks, count: int = 60) -> pd.DataFrame:
    frames = tracks.points.shape[1]
    rows = {"track_id": np.repeat(np.arange(count), frames), "frame": np.tile(np.arange(frames), count)}
    points = {axis: tracks.points[:count, :, i].ravel() for i, axis in enumerate("xyz")}
    return pd.DataFrame({**rows, **points, "class": np.repeat(tracks.label[:count], frames)})


def test_own_tracks_are_read_and_split_by_class(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    own(tracks).to_csv(tmp_path / "tracks.csv", index=False)
    read = read_own_tracks(tmp_path / "tracks.csv", trajectory_params)
    np.testing.assert_allclose(read.points, tracks.points[:60], rtol=1e-12)
    for name in CLASSES:
        assert set(read.split[read.label == name]) == {"train", "val", "test"}
    assert read.drawn["colour_r"].between(0, 1).all()


FAULTS = {
    "missing column": (lambda f: f.drop(columns="z"), "column 'z' is missing"),
    "nan": (lambda f: f.assign(x=f["x"].where(f.index != 20)), r"track 1, frame 4 \(row 21\), column 'x'"),
    "text": (lambda f: f.assign(y=f["y"].astype(object).where(f.index != 3, "high")), r"frame 3 .*'y': 'high'"),
    "ragged": (lambda f: f.drop(index=[47]), "track 2 has 15 frames, the first has 16"),
    "gap": (lambda f: f.drop(index=[18]), "track 1, frame 3 .* expected 2"),
    "unsorted": (lambda f: f.iloc[[1, 0, *range(2, len(f))]], "track 0, frame 1 .* expected 0"),
    "duplicate id": (lambda f: f.assign(track_id=f["track_id"].replace(5, 0)), "track 0 appears twice"),
    "one class": (lambda f: f.assign(**{"class": "linear"}), "all tracks are 'linear'"),
    "mixed class": (lambda f: f.assign(**{"class": f["class"].where(f.index != 5, "x")}), "differs within the track"),
    "unknown split": (lambda f: f.assign(split="dev"), "'dev' is none of train, val, test, ood"),
    "empty split": (lambda f: f.assign(split="train"), "split 'val' is empty"),
    "fractional frame": (lambda f: f.assign(frame=f["frame"] + 0.5), "column 'frame': must be whole"),
    "uneven time": (lambda f: f.assign(t=f["frame"] ** 2), "equally spaced"),
    "no rows": (lambda f: f.iloc[:0], "no rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_own_tracks_are_named(
    fault: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    break_it, message = FAULTS[fault]
    path = tmp_path / "tracks.csv"
    break_it(own(tracks)).to_csv(path, index=False)
    with pytest.raises(UserError, match=message) as caught:
        read_own_tracks(path, trajectory_params)
    assert str(path) in str(caught.value)
