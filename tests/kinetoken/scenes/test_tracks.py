"""The tables of tracks come back as they were written."""

from pathlib import Path

import numpy as np
import pytest

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
