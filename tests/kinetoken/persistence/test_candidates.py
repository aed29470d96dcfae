"""Candidates' tables and clips: what is said of each is true, the four laws as fair as the rest, noise and clutter."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.candidates import (
    CandidateCounts,
    CandidateMotion,
    CandidateTracks,
    CandidateTruth,
    draw_candidates,
    truth_of,
)
from kinetoken.scenes.clutter import ClutteredRendering, render_candidates
from kinetoken.scenes.rendering import LOOK, Scene
from kinetoken.scenes.tracks import Tracks

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def params() -> CandidateTracks:
    return load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)


def of_four_laws(params: CandidateTracks, *counts: int) -> CandidateTracks:
    motion = dataclasses.replace(params.motion, law="four_laws")
    return dataclasses.replace(params, motion=motion, counts=CandidateCounts(*counts))


@pytest.fixture(scope="module")
def four_laws(params: CandidateTracks) -> Tracks:
    return draw_candidates(of_four_laws(params, 400, 8, 8))


def test_no_number_tells_the_kind(four_laws: Tracks, params: CandidateTracks) -> None:
    gaussian = draw_candidates(dataclasses.replace(params, counts=CandidateCounts(400, 8, 8)))
    for tracks in (four_laws, gaussian):
        persistent = truth_of(tracks.drawn, "drawn", 32).persistent[:400]
        assert persistent.sum() == 200
        for every in (2, 4, 8):
            for rest in range(every):
                found = persistent[rest::every]
                assert abs(found.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(found)), (every, rest)


def test_tracks_of_the_four_laws_are_the_same_however_many_are_drawn(
    four_laws: Tracks, params: CandidateTracks
) -> None:
    few = draw_candidates(of_four_laws(params, 3, 2, 5))
    for split, count in (("train", 3), ("val", 2), ("test", 5)):
        ours, theirs = few.points[few.split == split], four_laws.points[four_laws.split == split]
        np.testing.assert_array_equal(ours, theirs[:count])


def test_the_four_laws_stay_in_view_and_start_where_their_walks_do(four_laws: Tracks) -> None:
    truth = truth_of(four_laws.drawn, "drawn", 32)
    present = np.isfinite(four_laws.points[..., 0])
    assert four_laws.world.in_view(np.where(present[..., None], four_laws.points, [0.0, 0.0, 3.0])).all()
    start = four_laws.points[np.arange(len(four_laws)), truth.first]
    for axis in range(3):
        assert ks_2samp(start[truth.persistent, axis], start[~truth.persistent, axis]).pvalue > 1e-4
    assert set(truth.law[truth.persistent]) == {1, 2, 3, 4} and set(truth.law[~truth.persistent]) == {0}


@pytest.mark.parametrize("law", ["gaussian", "four_laws"])
def test_the_speed_in_the_table_is_that_of_the_tracks(
    params: CandidateTracks, law: Literal["gaussian", "four_laws"]
) -> None:
    motion = dataclasses.replace(params.motion, law=law)
    tracks = draw_candidates(dataclasses.replace(params, motion=motion, counts=CandidateCounts(400, 2, 2)))
    step = np.linalg.norm(np.diff(tracks.points, axis=1), axis=-1) * params.world.fps
    found = np.sqrt(np.nanmean(step**2))
    assert np.sqrt((tracks.drawn["speed"] ** 2).mean()) == pytest.approx(found, rel=0.05)


def test_a_process_noise_too_small_for_the_process_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(ValueError, match="memory|process_noise"):
        CandidateMotion("gaussian", 0.46, 0.11, 1e-9, (3.0, 3.8), 0.125)


def test_lifetimes_fall_into_bands() -> None:
    lived = np.array([1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 32])
    truth = CandidateTruth(np.arange(11) == 10, np.zeros(11, int), lived - 1, np.where(np.arange(11) == 10, 2, 0))
    assert truth.lifetime.tolist() == lived.tolist()
    assert truth.lifetime_bands.tolist() == [
        "01-02", "01-02", "03-04", "03-04", "05-08", "05-08", "09-16", "09-16", "17-31", "17-31", "to_the_end"
    ]
    assert truth.law_names.tolist() == ["diffusion"] * 10 + [CLASSES[1]]
    some = truth.take(np.array([10, 0]))
    assert (some.lifetime.tolist(), some.persistent.tolist()) == ([32, 1], [True, False])


@pytest.mark.parametrize(("first", "last"), [(5, 4), (-1, 4), (0, 32)])
def test_a_candidate_that_never_appears_is_named_by_its_row(first: int, last: int) -> None:
    table = pd.DataFrame({
        "persistent": [1.0, 0.0], "first_frame": [0.0, first], "last_frame": [31.0, last], "law": [0.0, 0.0],
    })
    with pytest.raises(UserError, match=f"here: row 1: a candidate in sight from frame {first} to {last} of 32"):
        truth_of(table, "here", 32)
    for column in table:
        with pytest.raises(UserError, match=f"here: tracks without '{column}'"):
            truth_of(table.drop(columns=column), "here", 32)


@pytest.fixture(scope="module")
def look() -> ClutteredRendering:
    return load_params(ROOT / "params.yaml", "render_videos.persistence", ClutteredRendering)


def drawn_clips(params: CandidateTracks, look: ClutteredRendering, rows: slice, *, hidden: bool = False) -> np.ndarray:
    tracks = draw_candidates(dataclasses.replace(params, counts=CandidateCounts(8, 2, 2)))
    points = np.full_like(tracks.points[rows], np.nan) if hidden else tracks.points[rows]
    looks = {name: tracks.drawn[name].to_numpy()[rows] for name in LOOK}
    rngs = [np.random.default_rng([look.seed, int(i)]) for i in tracks.track_id[rows]]
    return render_candidates(Scene(tracks.world, look.look), look.clutter, points, looks, rngs)


def noisy(look: ClutteredRendering, noise: float) -> ClutteredRendering:
    return dataclasses.replace(look, look=dataclasses.replace(look.look, noise=noise))


def test_noise_is_the_same_with_and_without_a_candidate_and_in_any_company(
    params: CandidateTracks, look: ClutteredRendering
) -> None:
    with_noise = noisy(look, 0.02)
    clips, empty = (drawn_clips(params, with_noise, slice(0, 4), hidden=hidden) for hidden in (False, True))
    tracks = draw_candidates(dataclasses.replace(params, counts=CandidateCounts(8, 2, 2)))
    absent = np.isnan(tracks.points[:4, :, 0])
    assert absent.any() and not absent.all()
    np.testing.assert_array_equal(clips[absent], empty[absent])
    assert (clips[~absent] != empty[~absent]).any((1, 2, 3)).all()
    np.testing.assert_array_equal(clips[2], drawn_clips(params, with_noise, slice(2, 3))[0])
    clean = drawn_clips(params, look, slice(0, 4)).astype(float)
    assert (clips - clean).std() == pytest.approx(0.02 * 255, rel=0.03)


def test_without_things_every_frame_is_one_texture_of_the_spread_that_was_asked(
    params: CandidateTracks, look: ClutteredRendering
) -> None:
    bare = dataclasses.replace(look.clutter, things=(0, 0))
    clips = drawn_clips(params, dataclasses.replace(look, clutter=bare), slice(0, 8), hidden=True)
    assert (clips == clips[:, :1]).all()
    scene = Scene(params.world, look.look)
    spread = (clips[:, 0] / 255 - scene.background()).std((1, 2, 3))
    np.testing.assert_allclose(spread, np.hypot(bare.texture, bare.grain), rtol=0.03)
    assert len({clip.tobytes() for clip in clips}) == 8


def test_things_that_do_not_drift_stand_still_and_faster_ones_move_more(
    params: CandidateTracks, look: ClutteredRendering
) -> None:
    moved = []
    for drift in (0.0, 0.2, 1.5):
        clutter = dataclasses.replace(look.clutter, drift=drift)
        clips = drawn_clips(params, dataclasses.replace(look, clutter=clutter), slice(0, 4), hidden=True).astype(float)
        moved.append(np.abs(np.diff(clips, axis=1)).mean())
    assert moved[0] == 0 and 0 < 2 * moved[1] < moved[2]
