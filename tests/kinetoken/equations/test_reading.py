"""What is taken from the readings, true points as a control, and the truth for scoring in the readings' order."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.equations.evidence import Evidence
from kinetoken.equations.reading import TRUE_POINT_ERROR, evidence_of, on_true_points, true_tracks, without_classes
from kinetoken.physics.laws import CLASSES
from kinetoken.readings.table import Readings
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks

EVIDENCE = Evidence(
    np.arange(12) / 16, np.zeros((3, 12, 3)), np.zeros((3, 12, 3, 3)), CLASSES, np.full((3, 4), np.log(0.25))
)
READ, TRUE = Path("readings.parquet"), Path("trajectories.parquet")


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


def readings_of(tracks: Tracks, *track_id: int) -> Readings:
    draw, clips = np.random.default_rng(0), len(track_id)
    return Readings(
        "classifier", tracks.world, CLASSES, np.array(track_id, np.int32), draw.normal(size=(clips, 4)),
        draw.normal(size=(clips, 2)), draw.normal(size=(clips, 12, 3)), draw.normal(size=(clips, 12, 3, 3)),
        np.empty((clips, 0), np.str_),
    )


def test_true_points_end_with_the_past_and_are_trusted() -> None:
    truth = np.random.default_rng(1).normal(size=(3, 16, 3))
    exact = on_true_points(EVIDENCE, truth)
    assert (exact.points == truth[:, :12]).all() and exact.times is EVIDENCE.times
    np.testing.assert_allclose(exact.whitening @ np.full(3, TRUE_POINT_ERROR), np.ones((3, 12, 3)))


def test_without_classes_all_laws_are_alike() -> None:
    sure = dataclasses.replace(EVIDENCE, log_probabilities=np.log([[0.7, 0.1, 0.1, 0.1]] * 3))
    assert np.ptp(sure.law_log_prior()) > 1 and np.ptp(without_classes(sure).law_log_prior()) == 0


def test_evidence_is_what_was_read(tracks: Tracks) -> None:
    readings = readings_of(tracks, 1, 2, 3)
    evidence = evidence_of(readings)
    assert evidence.times.tolist() == tracks.world.times[:12].tolist() and evidence.classes == CLASSES
    for name in ("points", "whitening", "log_probabilities"):
        assert getattr(evidence, name) is getattr(readings, name)


def test_the_truth_is_in_the_order_of_the_readings(tracks: Tracks) -> None:
    wanted = tracks.track_id[[40, 3, 17]]
    turned = tracks.take(np.random.default_rng(0).permutation(len(tracks)))
    chosen = true_tracks(readings_of(tracks, *wanted), turned, READ, TRUE)
    rows = np.searchsorted(tracks.track_id, wanted)
    assert chosen.track_id.tolist() == wanted.tolist() and (chosen.points == tracks.points[rows]).all()
    assert chosen.label.tolist() == tracks.label[rows].tolist()
    np.testing.assert_array_equal(chosen.drawn.to_numpy(), tracks.drawn.to_numpy()[rows])


def test_truth_that_does_not_belong_is_refused(tracks: Tracks) -> None:
    known = int(tracks.track_id[5])
    readings = readings_of(tracks, known)
    with pytest.raises(UserError, match=r"^trajectories.parquet: no track 99999, which readings.parquet has"):
        true_tracks(readings_of(tracks, known, 99999), tracks, READ, TRUE)
    other = dataclasses.replace(tracks, world=dataclasses.replace(tracks.world, ball_radius=0.3))
    with pytest.raises(UserError, match=r"^readings.parquet: read from clips of another world than trajectories"):
        true_tracks(readings, other, READ, TRUE)
