"""What clips really show, by their tracks or by their pixels."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.prediction.truth import Truth, true_paths
from kinetoken.scenes.paths import scene_path


@pytest.fixture(scope="module")
def tracked(tiny_data: Path) -> Dataset:
    return Dataset.open(DatasetPaths(
        videos=tiny_data / "videos", trajectories=tiny_data / "trajectories.parquet",
        track_params=tiny_data / "track_params.parquet",
    ))


@pytest.fixture(scope="module")
def untracked(tiny_data: Path) -> Dataset:
    """The same clips, as if nobody knew where the ball is."""
    return Dataset.open(DatasetPaths(videos=tiny_data / "videos"))


def test_tracks_are_projected_and_the_mask_is_the_balls(tracked: Dataset) -> None:
    here = tracked.split("test")
    truth = Truth.of(here, 12, 16)
    u, v, _ = tracked.scene.camera.project(here.points)
    np.testing.assert_array_equal(truth.u, u)
    np.testing.assert_array_equal(truth.v, v)
    assert truth.frames.shape[1] == truth.mask.shape[1] == 4 and truth.shared_background is not None
    rows, columns = np.nonzero(truth.mask[0, 0])
    assert np.hypot(rows.mean() - v[0, 12], columns.mean() - u[0, 12]) < 0.6


def test_pixels_alone_tell_the_same_places(tracked: Dataset, untracked: Dataset) -> None:
    known, found = (Truth.of(each.split("test"), 12, 16) for each in (tracked, untracked))
    # the median of a clip holds a ghost of a ball that tarries; of one that gets about there is hardly any
    about = np.hypot(np.ptp(known.u, axis=1), np.ptp(known.v, axis=1)) > 14
    assert about.sum() >= 8
    away = np.hypot(known.u - found.u, known.v - found.v)[about]
    assert np.median(away) < 0.5 and np.mean(away < 1.5) > 0.8
    assert found.background.shape[:2] == (len(known.u), 1) and found.shared_background is None
    np.testing.assert_array_equal(found.behind(np.array([2, 1])), found.background[[2, 1]])
    overlap = (known.mask & found.mask)[about].sum() / found.mask[about].sum()
    assert overlap > 0.7


def test_paths_are_those_of_the_truth(tracked: Dataset, untracked: Dataset) -> None:
    here = tracked.split("val")
    np.testing.assert_array_equal(true_paths(here), scene_path(tracked.scene, here.points))
    away = (true_paths(untracked.split("val")) - true_paths(here))[..., :2].norm(dim=-1) * 64 / 4
    assert float(away.median()) < 0.5


def test_later_frames_are_what_happens_after_all_before_them(tracked: Dataset) -> None:
    whole = Truth.of(tracked.split("test"), 4, 16)
    part = whole.of_frames(8, 12)
    straight = Truth.of(tracked.split("test"), 12, 16)
    for name in ("frames", "u", "v", "mask"):
        np.testing.assert_array_equal(getattr(part, name), getattr(straight, name))
    assert part.past_frames == 12
