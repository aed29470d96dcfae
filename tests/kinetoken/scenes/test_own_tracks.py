"""The user's own tracks are checked to the row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.own_tracks import read_own_tracks
from kinetoken.scenes.tracks import Tracks


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


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
