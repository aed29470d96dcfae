"""The motion set: the paths of the dataset `motion`, whatever a tokenizer's size, length and frame rate."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.examination.adapter import facts_of
from kinetoken.examination.motion_set import SEED, MotionSet, SetRequest, open_motion_set, trajectories
from kinetoken.scenes.motion import Trajectories, draw_tracks
from tests.support.tokenizers import Toy

ROOT = Path(__file__).parents[3]


def test_at_sixteen_frames_it_is_the_dataset_motion_but_for_seed_counts_and_ranges() -> None:
    """Its ranges are the narrow ones of version 1: a motion card is compared with others of the same set."""
    ours = trajectories(SetRequest(64, 16, 16.0, 400))
    theirs = load_params(ROOT / "params.yaml", "generate_trajectories.motion", Trajectories)
    same = {"seed": 0, "counts": theirs.counts, "ood_bands": theirs.bands, "source": ""}
    same |= {name: getattr(theirs, name) for name in ("world", "start_low", "start_high", "bands", "turns")}
    assert ours.bands.speed == (1.4, 2.1) and ours.turns[0] == 0
    assert dataclasses.replace(ours, **same) == dataclasses.replace(theirs, **same)  # type: ignore[arg-type]
    assert ours.seed == SEED != theirs.seed
    assert vars(ours.counts) == {"train": 240, "val": 40, "test": 120, "ood": 0}


@pytest.mark.parametrize(("frames", "fps"), [(4, 4.0), (17, 24.0), (49, 24.0), (5, 2.0)])
def test_a_clip_of_another_duration_shows_the_same_paths(frames: int, fps: float) -> None:
    """First and last positions are those at 16 frames, 16 a second; in between as many as there are frames."""
    base = draw_tracks(trajectories(SetRequest(64, 16, 16.0, 40)))
    other = draw_tracks(trajectories(SetRequest(64, frames, fps, 40)))
    assert other.points.shape == (40, frames, 3) and (other.label == base.label).all()
    ends = [np.abs(one.points[:, place] - two.points[:, place]).max(-1) for one, two in ((base, other),)
            for place in (0, -1)]
    # the orientation may be another try where a position between those seen leaves the view
    assert np.median(ends[0]) < 1e-9 and np.median(ends[1]) < 1e-9


def test_it_is_kept_in_a_folder_and_read_back(toy_set: MotionSet, tmp_path: Path) -> None:
    again = open_motion_set(toy_set.request, toy_set.store.folder, Progress.silent())
    assert np.array_equal(again.tracks.points, toy_set.tracks.points) and again.counts == toy_set.counts
    assert again.counts == {"train": 48, "val": 8, "test": 24} and again.store.shape == (4, 16, 16)
    fresh = open_motion_set(toy_set.request, tmp_path / "new", Progress.silent())
    assert all((tmp_path / "new" / file.name).read_bytes() == file.read_bytes()
               for file in toy_set.store.folder.iterdir())
    assert {str(label) for label in fresh.tracks.label} == {"linear", "circular", "helical", "parabolic"}


def test_another_set_or_another_folder_is_refused(toy_set: MotionSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this motion set has size 16, 32 is asked for; choose another folder"):
        open_motion_set(SetRequest(32, 4, 4.0, 80), toy_set.store.folder, Progress.silent())
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="no motion set"):
        open_motion_set(toy_set.request, tmp_path, Progress.silent())
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="--clips 39: at least 40"):
        SetRequest.of(facts_of(Toy()), 39)
