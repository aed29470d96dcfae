"""Usage as a training's history has it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.checks import checked
from kinetoken.diagnosis.history import read_curves
from tests.support.peers import facts_of, found

CODES = np.random.default_rng(0).integers(0, 64, (200, 4, 8, 8))
FELL, DIFFER = "usage fell during training", "training counters differ"
RISE = [0.2, 0.5, 0.8, 0.95, 0.97, 0.98, 0.98, 0.97, 0.98, 0.98]
FALL = [0.5, 0.9, 0.98, 0.99, 0.98, 0.9, 0.4, 0.1, 0.07, 0.07, 0.07]


def named(codes: np.ndarray = CODES, **columns: Any) -> dict[str, Any]:
    return found(codes, {"codebook_size": 64}, history=columns)


@pytest.mark.parametrize("name", ["usage", "codebook_usage"])
@pytest.mark.parametrize("scale", [1, 100])
def test_usage_that_peaked_and_fell(name: str, scale: int) -> None:
    steps = [1000 * step for step in range(len(FALL))]
    finding = named(**{name: [scale * value for value in FALL], "step": steps})[FELL]
    assert finding.severity == pytest.approx(1 - 0.07 / 0.98, abs=0.01)
    assert "98.0% at step" in finding.evidence and "7.0% at the end (step 10000)" in finding.evidence
    assert "fell below half-way at step 6000" in finding.evidence
    assert not named(**{name: [scale * value for value in RISE]})


def test_perplexity_and_entries_of_a_log() -> None:
    assert "700" in named(perplexity=[1000 * value for value in [0.3, 0.7, 0.7, 0.7, 0.2, 0.1, 0.1]])[FELL].evidence
    assert FELL in named(usage=[30, 400, 500, 480, 200, 90, 80], val_loss=[3, 2, 1, 1, 1, 1, 1])
    assert not named(perplexity=[60, 40, 45, 50, 55, 58, 60])


def test_one_odd_point_and_a_short_curve_are_no_peak() -> None:
    assert not named(usage=[0.3, 0.35, 0.99, 0.4, 0.42, 0.41, 0.44, 0.43, 0.42, 0.43])
    assert not named(usage=[0.9, 0.2])


def test_training_counters_against_these_clips() -> None:
    narrow = CODES % 16
    finding = named(narrow, usage=RISE)[DIFFER]
    assert "98.0%; over the 200 clips here it is 25.0%" in finding.evidence and finding.severity == 0
    assert not named(usage=RISE)
    assert DIFFER not in named(narrow[:4], usage=RISE), "too few tokens to say"


def test_curves_of_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"epoch": [1, 2, 3, 4, 5], "val_loss": [3.0, 2, None, 1, 1], "usage": [10, 90, 80, None, 7]})
    frame.to_csv(tmp_path / "h.csv", index=False)
    (tmp_path / "h.json").write_text(json.dumps([{"step": 5, "perplexity": 3.0}, {"step": 10, "perplexity": 2.0}]))
    curves = read_curves(tmp_path / "h.csv")
    assert curves.losses == ((1, 3), (2, 2), (4, 1), (5, 1)) and curves.late_fall == 0
    assert curves.usage is not None and curves.usage.values == (0.1, 0.9, 0.8, 0.07) and curves.usage.steps[-1] == 5
    plain = read_curves(tmp_path / "h.json")
    assert plain.losses == () and plain.late_fall is None and plain.usage is not None and plain.usage.step == "step"
    facts = facts_of(CODES, {"codebook_size": 64}, history={"usage": RISE})
    assert checked(facts).numbers["training"]["usage"] == {"peak": 0.98, "end": 0.98}


@pytest.mark.parametrize(("columns", "message"), [
    ({"speed": [1.0]}, "no column val_loss, usage or perplexity; it holds speed"),
    ({"usage": [0.1, np.inf]}, "values of usage are not finite"), ({"usage": [-1.0]}, "must not be negative"),
    ({"usage": [0.1, 0.2], "epoch": [1, np.nan]}, "values of epoch are not finite"),
    ({"usage": [0.1, 0.2], "epoch": [1]}, "one value an epoch"),
])
def test_histories_that_cannot_be_used(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        named(**columns)
