"""The stage's rows as JSON lines: what was said of each clip and each decision, and its verdicts."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.core.per_track import PerTrack
from kinetoken.equations.evidence import Description, Evidence, as_probabilities
from kinetoken.equations.params import DescribeMotion
from kinetoken.equations.reasons import Explained
from kinetoken.readings.table import Readings

if TYPE_CHECKING:
    import pandas as pd


def write_descriptions(
    path: Path, params: DescribeMotion, clips: PerTrack, evidence: Evidence, told: list[Description],
    rows: "pd.DataFrame", readings: Readings,
) -> None:
    """One JSON object a line, in the order of the clips; errors that do not exist are null.

    `unlike_training` and `novelty_p` say whether the clip is like those that the models know, null where they cannot.
    """
    unlike, p = readings.unlike_training, readings.novelty_p
    probabilities = as_probabilities(evidence.log_probabilities, evidence.classes)
    with path.open("w", encoding="utf-8") as sink:
        for clip, one in enumerate(told):
            row: dict[str, Any] = {
                "track_id": int(clips.track_id[clip]), "provider": params.provider, "outcome": one.outcome.value,
                **({"asked": params.language_model.model, "model": one.model} if params.asks else {}), **one.equations,
                "description": one.sentence, "law": one.facts.law, "true_law": str(clips.label[clip]),
                "facts": dataclasses.asdict(one.facts), "quantities": one.quantities, "detail": one.detail,
                "class_probabilities": probabilities[clip], "points": np.round(evidence.points[clip], 4).tolist(),
                "unlike_training": None if unlike is None else bool(unlike[clip]),
                "novelty_p": None if p is None else _plain(p[clip]),
                "verdicts": {name: _plain(rows[name].iloc[clip]) for name in rows},
            }
            sink.write(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_reasons(path: Path, params: DescribeMotion, explained: list[Explained]) -> None:
    """One JSON object a line: the record, the words, and what became of each check."""
    with path.open("w", encoding="utf-8") as sink:
        for one in explained:
            row = dataclasses.asdict(one) | {"outcome": one.outcome.value, "provider": params.provider}
            sink.write(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: object) -> object:
    """A cell as JSON: numbers to six digits, null for a number that does not exist."""
    if isinstance(value, (bool, np.bool_, str)):
        return value if isinstance(value, str) else bool(value)
    number = np.nan if value is None else float(value)  # type: ignore[arg-type]
    return float(f"{number:.6g}") if np.isfinite(number) else None
