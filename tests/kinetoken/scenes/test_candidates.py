"""Candidates: nothing but motion and lifetime may tell which kind one is."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.scenes.candidates import (
    CandidateCounts,
    CandidateMotion,
    CandidateTracks,
    draw_candidates,
    motion_of,
    truth_of,
)
from kinetoken.scenes.clutter import Clutter, ClutteredRendering, render_candidates
from kinetoken.scenes.rendering import LOOK, Scene
from kinetoken.scenes.tracks import Tracks

ROOT = Path(__file__).parents[3]
SURE = 1e-4  # below this a test of equal distributions fails


@pytest.fixture(scope="module")
def params() -> CandidateTracks:
    drawn = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    return dataclasses.replace(drawn, counts=CandidateCounts(1200, 40, 60))


@pytest.fixture(scope="module")
def tracks(params: CandidateTracks) -> Tracks:
    return draw_candidates(params)


def test_one_of_each_two_persists_and_its_number_does_not_tell_which(tracks: Tracks) -> None:
    persistent = truth_of(tracks.drawn, "drawn", 32).persistent
    np.testing.assert_array_equal(persistent[::2] ^ persistent[1::2], True)
    assert abs(persistent[::2].mean() - 0.5) < 4 * 0.5 / np.sqrt(len(persistent) / 2)
    np.testing.assert_array_equal(tracks.label == "persistent", persistent)


def test_what_is_not_motion_is_drawn_alike(tracks: Tracks) -> None:
    truth = truth_of(tracks.drawn, "drawn", 32)
    rows = np.arange(len(tracks))
    start = tracks.points[rows, truth.first]
    second = np.flatnonzero(truth.lifetime > 1)
    step = np.full((len(rows), 3), np.nan)
    step[second] = tracks.points[second, truth.first[second] + 1] - start[second]
    columns = {name: tracks.drawn[name].to_numpy() for name in LOOK}
    columns |= {f"start {axis}": start[:, i] for i, axis in enumerate("xyz")}
    columns |= {f"step {axis}": step[:, i] for i, axis in enumerate("xy")}
    columns |= {"length of the step": np.hypot(step[:, 0], step[:, 1]), "appears": truth.first.astype(float)}
    for name, values in columns.items():
        kinds = [values[(truth.persistent == kind) & np.isfinite(values)] for kind in (True, False)]
        assert kstest(*kinds).pvalue > SURE, name


def test_in_sight_from_its_first_frame_to_its_last_and_nowhere_else(tracks: Tracks) -> None:
    truth = truth_of(tracks.drawn, "drawn", 32)
    frame = np.arange(32)
    inside = (frame >= truth.first[:, None]) & (frame <= truth.last[:, None])
    np.testing.assert_array_equal(np.isfinite(tracks.points).all(-1), inside)
    assert (truth.last[truth.persistent] == 31).all() and set(truth.first) == {0, 1, 2}
    seen = np.where(inside[..., None], tracks.points, [0.0, 0.0, 3.4])
    assert tracks.world.in_view(seen).all()
    depth = tracks.points[..., 2]
    np.testing.assert_array_equal(np.nanmin(depth, 1), np.nanmax(depth, 1))


def test_transient_ones_die_at_one_hazard(params: CandidateTracks, tracks: Tracks) -> None:
    truth = truth_of(tracks.drawn, "drawn", 32)
    alive = truth.lifetime[~truth.persistent]
    for age in (1, 2, 5):
        there = alive[alive >= age]
        died = (there == age).mean()
        assert abs(died - params.motion.hazard) < 4 * np.sqrt(0.125 * 0.875 / len(there))


def test_a_track_is_the_same_however_many_are_drawn(params: CandidateTracks, tracks: Tracks) -> None:
    few = draw_candidates(dataclasses.replace(params, counts=CandidateCounts(12, 4, 4)))
    np.testing.assert_array_equal(few.points[:12], tracks.points[:12])
    np.testing.assert_array_equal(few.drawn.to_numpy()[:12], tracks.drawn.to_numpy()[:12])


def test_what_the_optimum_must_know_travels_with_the_tracks(params: CandidateTracks, tracks: Tracks) -> None:
    found = motion_of(tracks.drawn)
    assert found is not None
    for name in ("spread", "step", "process_noise", "hazard"):
        assert getattr(found, name) == getattr(params.motion, name)


def test_four_laws_give_walks_with_steps_as_long(params: CandidateTracks) -> None:
    motion = dataclasses.replace(params.motion, law="four_laws")
    drawn = draw_candidates(dataclasses.replace(params, motion=motion, counts=CandidateCounts(80, 8, 8)))
    truth = truth_of(drawn.drawn, "drawn", 32)
    assert set(truth.law_names) == {"diffusion", "linear", "circular", "helical", "parabolic"}
    assert motion_of(drawn.drawn) is None
    length = np.linalg.norm(np.diff(drawn.points, axis=1), axis=-1)
    mean = [np.nanmean(length[truth.persistent == kind]) for kind in (True, False)]
    assert mean[0] == pytest.approx(mean[1], rel=0.05)


@pytest.mark.parametrize(("change", "message"), [
    ({"appears": (3, 1)}, "appears"), ({"appears": (0, 32)}, "appears"),
])
def test_frames_of_appearance_that_cannot_be(params: CandidateTracks, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(params, **change)  # type: ignore[arg-type]


def test_motion_that_cannot_be(params: CandidateTracks) -> None:
    with pytest.raises(ValueError, match="depth"):
        dataclasses.replace(params.motion, depth=(3.0, 2.0))
    wide = dataclasses.replace(params, motion=dataclasses.replace(params.motion, spread=5.0))
    with pytest.raises(UserError, match="stays in view at depth"):
        draw_candidates(wide)
    with pytest.raises(ValueError, match="too long"):
        CandidateMotion("gaussian", 0.1, 0.3, 0.3, (3.0, 3.5), 0.1)


def test_tracks_of_another_kind_are_no_candidates(tracks: Tracks) -> None:
    with pytest.raises(UserError, match="without 'persistent'"):
        truth_of(tracks.drawn.drop(columns="persistent"), "these", 32)


@pytest.fixture(scope="module")
def look() -> ClutteredRendering:
    return load_params(ROOT / "params.yaml", "render_videos.persistence", ClutteredRendering)


def drawn_clips(tracks: Tracks, look: ClutteredRendering, rows: slice, *, hidden: bool = False) -> np.ndarray:
    points = tracks.points[rows] * (np.nan if hidden else 1.0)
    looks = {name: tracks.drawn[name].to_numpy()[rows] for name in LOOK}
    rngs = [np.random.default_rng([look.seed, int(i)]) for i in tracks.track_id[rows]]
    return render_candidates(Scene(tracks.world, look.look), look.clutter, points, looks, rngs)


def test_the_candidate_changes_nothing_but_the_pixels_that_it_covers(
    tracks: Tracks, look: ClutteredRendering
) -> None:
    clips, empty = (drawn_clips(tracks, look, slice(0, 8), hidden=hidden) for hidden in (False, True))
    scene = Scene(tracks.world, look.look)
    differs = (clips != empty).any(-1)  # (N, T, H, W)
    present = np.isfinite(tracks.points[:8, :, 0])
    np.testing.assert_array_equal(differs.any((2, 3)), present)
    u, v, radius = scene.camera.project(np.where(present[..., None], tracks.points[:8], [0.0, 0.0, 1.0]))
    rows, columns = np.mgrid[:64, :64]
    far = np.hypot(rows - v[..., None, None], columns - u[..., None, None]) > 1.2 * radius[..., None, None] + 1.5
    assert not (differs & far).any()


def test_a_clip_is_the_same_alone_and_in_company(tracks: Tracks, look: ClutteredRendering) -> None:
    np.testing.assert_array_equal(drawn_clips(tracks, look, slice(0, 6))[4], drawn_clips(tracks, look, slice(4, 5))[0])


def test_clutter_is_in_every_clip_and_moves(tracks: Tracks, look: ClutteredRendering) -> None:
    empty = drawn_clips(tracks, look, slice(0, 6), hidden=True).astype(float)
    assert (empty.std((2, 3)).mean(-1) > 5).all()
    assert (np.abs(empty[:, -1] - empty[:, 0]).max((1, 2, 3)) > 20).all()


@pytest.mark.parametrize(("change", "message"), [({"things": (4, 2)}, "things"), ({"size": (5.0, 3.0)}, "size"),
                                                  ({"size": (1.0, 9.0)}, "size")])
def test_clutter_that_cannot_be(look: ClutteredRendering, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(look.clutter, **change)  # type: ignore[arg-type]
    assert isinstance(look.clutter, Clutter)
