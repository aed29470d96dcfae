"""Decisions as data: attention on each candidate, and what a few of them rested on."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinetoken.core.artifacts import write_csv
from kinetoken.persistence.experiment import ExtractorResult, Material
from kinetoken.persistence.reasons import reason_of, sentence

REASONS = 40  # decisions recorded of each extractor, evenly over the test tracks
WRONG = 6  # and of its wrong ones the first so many, which may be among them


def chosen(material: Material, shown: int) -> np.ndarray:
    """Places among the test tracks, evenly over them, persistent and transient in turn."""
    persistent = material.truth.persistent[material.rows("test")]
    kinds = [np.flatnonzero(persistent == kind) for kind in (True, False)]
    each = [rows[np.linspace(0, len(rows) - 1, min((shown + 1) // 2, len(rows))).astype(int)] for rows in kinds]
    both = [row for pair in zip(*each, strict=False) for row in pair]
    return np.array(both[:shown], np.int64)


def write_records(
    outcomes: Mapping[str, ExtractorResult], material: Material, shown: int, ratios: Path, reasons: Path
) -> None:
    """Attention on every test track's candidate as CSV, and what a few decisions rested on as JSON lines."""
    import pandas as pd

    test = material.dataset.split("test")
    kind, track_id, persistent = test.label, test.track_id, material.truth.persistent[test.rows]
    write_csv(ratios, pd.concat([
        pd.DataFrame({
            "extractor": name, "kind": kind, "attention": outcome.attention, "uniform": 1.0,
        }).dropna()
        for name, outcome in outcomes.items()
    ], ignore_index=True))
    rows = chosen(material, max(shown, REASONS))
    with reasons.open("w", encoding="utf-8") as sink:
        for name, outcome in outcomes.items():
            wrong = np.flatnonzero(outcome.trial.decisions.persistent != persistent)[:WRONG]
            for row in [*rows, *np.setdiff1d(wrong, rows)]:
                record = reason(name, outcome, int(row), int(track_id[row]))
                sink.write(json.dumps(record | {"actual": str(kind[row])}, sort_keys=True) + "\n")


def reason(name: str, outcome: ExtractorResult, row: int, track_id: int) -> dict[str, Any]:
    """The record of one test decision, and its sentence."""
    decided, trial = outcome.trial.decisions, outcome.trial
    step, frames = int(decided.step[row]), int(trial.frames[row])
    ratio = outcome.attention[row]
    found = reason_of(
        track_id, name, bool(decided.persistent[row]), float(decided.confidence[row]), frames,
        outcome.watched.place[row, :frames], outcome.watched.presence[row, :frames], trial.log_odds[row, : step + 1],
        float(ratio) if np.isfinite(ratio) else 0.0,
    )
    return dataclasses.asdict(found) | {"sentence": sentence(found)}
