"""The tables of tracks come back as they were written."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.artifacts import read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks, read_tracks, write_tracks


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


def test_tables_round_trip(tracks: Tracks, tmp_path: Path) -> None:
    write_tracks(tracks, tmp_path / "a.parquet", tmp_path / "b.parquet")
    back = read_tracks(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert back.world == tracks.world
    np.testing.assert_array_equal(back.label, tracks.label)
    np.testing.assert_allclose(back.points, tracks.points, atol=1e-6)
    np.testing.assert_allclose(back.drawn["speed"], tracks.drawn["speed"], rtol=1e-6)


def test_ids_that_the_tables_cannot_hold_are_refused_in_writing_and_reading(tracks: Tracks, tmp_path: Path) -> None:
    paths = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for stray in (-1, 2**31, 2**32 + 1):
        ids = tracks.track_id.astype(np.int64)
        ids[4] = stray
        with pytest.raises(UserError, match=f"b.parquet: row 4, column 'track_id': {stray} is no track id"):
            write_tracks(dataclasses.replace(tracks, track_id=ids), *paths)
        assert not any(path.exists() for path in paths)
        write_tracks(tracks, *paths)
        once = read_table(paths[1])
        write_table(paths[1], once.set_column(0, "track_id", [ids]))
        with pytest.raises(UserError, match=f"b.parquet: row 4, column 'track_id': {stray} is no track id"):
            read_tracks(*paths)
        for path in paths:
            path.unlink()


def test_the_two_tables_must_hold_the_same_tracks_in_the_same_order(tracks: Tracks, tmp_path: Path) -> None:
    paths = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_tracks(tracks, *paths)
    once = read_table(paths[1])
    order = np.arange(len(once))
    order[[2, 3]] = 3, 2
    for other in (once.take(order), once.slice(1)):
        write_table(paths[1], other)
        with pytest.raises(UserError, match="b.parquet: not the tracks of .*a.parquet"):
            read_tracks(*paths)
