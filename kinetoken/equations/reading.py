"""What whoever describes motion takes from the readings table, and the truth that is set beside it for scoring."""

import dataclasses
from pathlib import Path

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import rows_by_track
from kinetoken.equations.evidence import Evidence
from kinetoken.physics.laws import Array
from kinetoken.readings.table import Readings
from kinetoken.scenes.tracks import Tracks

TRUE_POINT_ERROR = 1e-4  # m: what true points are trusted to, in place of the position head's own errors


def evidence_of(readings: Readings) -> Evidence:
    """What a provider may be given of the clips that were read."""
    return Evidence(
        readings.times, readings.points, readings.whitening, readings.classes, readings.log_probabilities
    )


def on_true_points(evidence: Evidence, truth: Array) -> Evidence:
    """The same with the true positions (N, T, 3) of the past in place of the estimated ones: a control."""
    past = len(evidence.times)
    exact = np.broadcast_to(np.eye(3) / TRUE_POINT_ERROR, (len(truth), past, 3, 3))
    return dataclasses.replace(evidence, points=truth[:, :past], whitening=exact)


def without_classes(evidence: Evidence) -> Evidence:
    """The same, with nothing said of the class."""
    return dataclasses.replace(evidence, log_probabilities=np.zeros_like(evidence.log_probabilities))


def true_tracks(readings: Readings, tracks: Tracks, source: Path, trajectories: Path) -> Tracks:
    """The tracks of the clips that were read (from `source`), in their order, for scoring.

    UserError for readings of another world, and naming the first clip that has no track.
    """
    if readings.world != tracks.world:
        raise UserError(f"{source}: read from clips of another world than {trajectories}; both must come from one run")
    absent = f"{trajectories}: no track {{}}, which {source} has; both must come from one run".format
    return tracks.take(rows_by_track(readings.track_id, tracks.track_id, absent))
