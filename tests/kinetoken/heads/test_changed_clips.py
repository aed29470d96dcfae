"""Where the ball is in a changed clip."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.heads.changed_clips import change_points
from kinetoken.heads.classifier import CHANGES
from kinetoken.scenes.camera import Camera
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import read_tracks


@pytest.mark.parametrize("change", CHANGES)
def test_the_changed_ball_is_where_the_changed_points_are(tiny_data: Path, change: str) -> None:
    """The pixels that leave the background lie about the projected points, in changed clips as in others."""
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    store = ClipStore(tiny_data / "videos")
    pixels = store.take(np.arange(8)).pixels
    camera = Camera.of(tracks.world, store.shape[1])
    found, expected = [], camera.project_log(change_points(tracks.points[:8], change))[..., :2]
    changed = CHANGES[change](pixels).astype(float)
    background = np.median(changed, axis=1, keepdims=True)
    away = np.abs(changed - background).sum(-1)  # (N, T, H, W)
    away[away < 60] = 0
    v, u = np.mgrid[: away.shape[2], : away.shape[3]]
    for weight in (u, v):
        found.append((away * weight).sum((-1, -2)) / np.maximum(away.sum((-1, -2)), 1e-9))
    seen = away.sum((-1, -2)) > 2000
    errors = np.linalg.norm(np.stack(found, -1) - expected, axis=-1)[seen]
    unchanged = np.linalg.norm(camera.project_log(tracks.points[:8])[..., :2] - expected, axis=-1)[seen]
    assert len(errors) > 40 and np.median(errors) < 1.5 < np.median(unchanged)


def test_twice_is_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(2, 16, 3))
    for change in CHANGES:
        np.testing.assert_array_equal(change_points(change_points(points, change), change), points)
