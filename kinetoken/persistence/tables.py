"""Rows for `dvc plots`, and the summary that says which extractor is best where, as Markdown."""

from collections.abc import Mapping, Sequence
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


def summary(metrics: Mapping[str, Any], rows: "pd.DataFrame", names: Sequence[str]) -> str:
    """Markdown: every extractor's figures, and the best one for each number of frames that one may watch."""
    head = (
        "| extractor | accuracy at the stop | stopped early | mean frame | compute saved | harmonic mean | ECE | "
        "regret | attention over uniform |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for name in names:
        m = metrics[name]
        regret = f"{m['regret']:.2f}" if "regret" in m else "no optimum known"
        lines.append(
            f"| {name} | {m['accuracy']:.1%} ({m['accuracy_ci95_low']:.1%}–{m['accuracy_ci95_high']:.1%}) | "
            f"{m['early_stop_rate']:.1%} | {m['mean_decision_frame']:.1f} | {m['compute_saved']:.1%} | "
            f"{m['harmonic_mean']:.3f} | {m['ece']:.3f} ({m['ece_floor']:.3f}) | {regret} | "
            f"{m['attention_ratio']:.1f} (untrained {m['attention_ratio_untrained']:.1f}) |"
        )
    best = _best_by_frames(rows, names)
    return (
        "# Early persistence decisions\n\n" + head + "\n".join(lines) + "\n\nIn brackets after ECE: what a perfectly "
        "calibrated model would measure on as many tracks.\n\n## Which extractor for which budget\n\n"
        "| mean frames at most | best | accuracy | by rule |\n|---|---|---|---|\n" + "\n".join(best) + "\n"
    )


def _best_by_frames(rows: "pd.DataFrame", names: Sequence[str]) -> list[str]:
    lines = []
    for budget in (3, 4, 5, 6, 8, 10, 12, 16, 32):
        within = rows[rows["extractor"].isin(names) & (rows["frames"] <= budget)]
        if within.empty:
            lines.append(f"| {budget} | none decides so early | | |")
            continue
        top = within.sort_values(["accuracy", "frames"], ascending=[False, True]).to_dict("records")[0]
        rule = f"{top['rule']}, {top['frames']:.1f} frames"
        lines.append(f"| {budget} | {top['extractor']} | {top['accuracy']:.1%} | {rule} |")
    return lines
