"""The user's own tracks are checked to the row."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.own_tracks import UNLABELLED, UNSPLIT, read_own_tracks, read_unsplit_tracks
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


def renumbered(old: int, new: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A fault: one track gets another id."""
    return lambda f: f.assign(track_id=f["track_id"].astype(object).where(f["track_id"] != old, new))


@pytest.mark.parametrize("spelled", [int, str, float])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_up_to_the_largest_that_the_tables_hold_are_kept(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path, spelled: type, suffix: str
) -> None:
    table = own(tracks)
    table["track_id"] = renumbered(59, 2**31 - 1)(table)["track_id"].astype(int).astype(spelled)
    path = tmp_path / f"tracks{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    read = read_own_tracks(path, trajectory_params)
    assert read.track_id.tolist() == [*range(59), 2**31 - 1] and read.track_id.dtype == np.int32
    np.testing.assert_allclose(read.points, tracks.points[:60], rtol=1e-12)


def test_a_track_id_that_fits_no_column_is_named_in_parquet_too(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    for dtype, value in (("int64", -5), ("uint64", 2**64 - 1), ("float64", 1e300), ("str", "clip_a"), ("bool", True)):
        table = own(tracks)
        table["track_id"] = np.repeat(pd.Series([value] * 60).astype(dtype).to_numpy(), tracks.points.shape[1])
        table.to_parquet(tmp_path / "tracks.parquet")
        with pytest.raises(UserError, match=r"\(row 1\), column 'track_id': .* is no track id"):
            read_own_tracks(tmp_path / "tracks.parquet", trajectory_params)


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
    "id below 0": (renumbered(0, -1), r"track -1, frame 0 \(row 1\), column 'track_id': -1 is no track id.*from 0 to"),
    "id beyond int32": (renumbered(59, 2**31), r"frame 0 \(row 945\), column 'track_id': 2147483648 is no track id"),
    "id that wraps to 3": (renumbered(59, 2**32 + 3), "track 4294967299, frame 0 .*: 4294967299 is no track id"),
    "id beyond int64": (renumbered(59, 2**63), "9223372036854775808 is no track id"),
    "id beyond uint64": (renumbered(59, 2**64), "18446744073709551616 is no track id"),
    "text id": (renumbered(59, "left_hand"), r"track left_hand, frame 0 \(row 945\).*: 'left_hand' is no track id"),
    "no id": (renumbered(59, None), "column 'track_id': nan is no track id"),
    "fractional id": (renumbered(59, 58.5), r"\(row 945\), column 'track_id': 58.5 is no track id"),
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


@pytest.mark.parametrize("count", [1, 2])
def test_tracks_for_trained_models_need_neither_splits_nor_classes(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path, count: int
) -> None:
    """Few tracks, or all of one class, are refused as a dataset; points, colours and lights are the dataset's own."""
    table, path = own(tracks, count), tmp_path / "tracks.csv"
    table.drop(columns="class").to_csv(path, index=False)
    read = read_unsplit_tracks(path, trajectory_params.world, trajectory_params.seed)
    assert set(read.label) == {UNLABELLED} and set(read.split) == {UNSPLIT} and len(read) == count
    with pytest.raises(UserError):
        read_own_tracks(path, trajectory_params)
    table.assign(**{"class": "linear", "split": "test"}).to_csv(path, index=False)
    one = read_unsplit_tracks(path, trajectory_params.world, trajectory_params.seed)
    assert set(one.label) == {"linear"} and set(one.split) == {"test"}
    own(tracks).to_csv(path, index=False)
    whole = read_own_tracks(path, trajectory_params)
    np.testing.assert_array_equal(whole.points[:count], read.points)
    pd.testing.assert_frame_equal(whole.drawn[:count], read.drawn)


def test_their_faults_are_named_too(tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    table = own(tracks, 3)
    table.assign(z=table["z"].where(table.index != 20)).to_csv(tmp_path / "tracks.csv", index=False)
    with pytest.raises(UserError, match=r"track 1, frame 4 \(row 21\), column 'z': missing or not finite"):
        read_unsplit_tracks(tmp_path / "tracks.csv", trajectory_params.world, 0)
