"""Rows for `dvc plots`: every decision, accuracy over frames, and what deciding took."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.persistence.evaluation import Trial
from kinetoken.persistence.stopping import Flags, Steps, curve
from kinetoken.physics.laws import Array
from kinetoken.scenes.candidates import PERSISTENT, TRANSIENT, CandidateTruth

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)
REFERENCE = "reference"


def decision_rows(trials: Mapping[str, Trial], truth: CandidateTruth, track_id: np.ndarray) -> "pd.DataFrame":
    """One row a test track and extractor: actual, predicted, frames seen, confidence, decided early or not."""
    import pandas as pd

    names = np.array([TRANSIENT, PERSISTENT])
    return pd.concat([
        pd.DataFrame({
            "extractor": name, "track_id": track_id, "actual": names[truth.persistent.astype(int)],
            "predicted": names[trial.decisions.persistent.astype(int)], "frames": trial.frames,
            "confidence": trial.decisions.confidence, "early": trial.decisions.early.astype(int),
            "lifetime": truth.lifetime,
        })
        for name, trial in trials.items()
    ], ignore_index=True)


def operating_rows(
    trials: Mapping[str, Trial], persistent: Flags, reference: tuple[Array, Steps] | None
) -> "pd.DataFrame":
    """Accuracy over frames: each extractor's fixed times, its simple rule over confidences, and its own rule.

    reference: log-odds (N, T) of the truth and the frames seen at each of its times.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    known = {name: (trial.log_odds, trial.seen) for name, trial in trials.items()}
    if reference is not None:
        known[REFERENCE] = reference
    for name, (odds, seen) in known.items():
        frames = int(seen[-1])
        for k, count in enumerate(seen):
            right = float(((odds[:, k] > 0) == persistent).mean())
            rows.append({"extractor": name, "rule": "fixed time", "frames": int(count), "accuracy": right})
        for mean, right in curve(odds, persistent, seen, CONFIDENCES):
            rows.append({"extractor": name, "rule": "confidence", "frames": mean, "accuracy": right})
        if name in trials:
            decided = trials[name].decisions
            rows.append({
                "extractor": name, "rule": "thresholds", "frames": float(trials[name].frames.mean()),
                "accuracy": float((decided.persistent == persistent).mean()),
            })
        for row in rows:
            row.setdefault("earliness", 1 - row["frames"] / frames)
    return pd.DataFrame(rows)


def compute_rows(trials: Mapping[str, Trial]) -> "pd.DataFrame":
    """One row a track and extractor: multiply-adds until the decision, millions, and the share of a whole clip's."""
    import pandas as pd

    return pd.concat([
        pd.DataFrame({
            "extractor": name,
            "million_multiply_adds": np.cumsum(trial.compute.multiply_adds)[trial.decisions.step] / 1e6,
            "share": trial.compute.share(trial.decisions.step),
        })
        for name, trial in trials.items()
    ], ignore_index=True)
