"""The study of twelve frames foretold from four: params and pipeline against the code, its tables on known errors."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.stage import Context, Hardware
from kinetoken.prediction.network import PredictorParams
from studies.prediction import tell

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/prediction"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_the_study_differs_from_the_pipeline_by_what_is_given_and_foretold_only() -> None:
    study = load_params(PARAMS, "train_predictor", PredictorParams)
    usual = load_params(ROOT / "params.yaml", "train_predictor", PredictorParams)
    assert (study.past_slices, study.future_slices) == (1, 3)
    assert dataclasses.replace(study, past_slices=usual.past_slices, future_slices=usual.future_slices) == usual
    assert load_params(PARAMS, "hardware", Hardware) == load_params(ROOT / "params.yaml", "hardware", Hardware)
    assert load_params(PARAMS, "prediction", tell.Telling).span == 4


def horizon() -> pd.DataFrame:
    """Two classes, eight steps; the error of a forecaster is its own number times the step, doubled for parabolas."""
    rows = [
        {"model": model, "kind": kind, "step": step, "class": name,
         "centroid_error_px": scale * step * factor, "centroid_error_px_floor": 10.0 * step * factor}
        for model, kind, scale in (
            ("lstm", "model", 2.0), ("lstm teacher-forced", "teacher_forced", 1.0), ("copy", "floor", 30.0),
            ("constant_velocity", "floor", 10.0), ("true_codes", "ceiling", 0.5), ("oracle", "oracle", 0.8),
        )
        for name, factor in (("all", 1.5), ("linear", 1.0), ("parabolic", 2.0))
        for step in range(1, 9)
    ]
    return pd.DataFrame(rows)


def test_tables_hold_the_means_of_each_span_beside_the_best_rule(tmp_path: Path) -> None:
    horizon().to_csv(tmp_path / "horizon.csv", index=False)
    paths = tell.Paths(tmp_path / "horizon.csv", tmp_path / "spans.csv", tmp_path / "table.md")
    tell.run(tell.Telling(span=4), paths, Context.silent())
    spans = pd.read_csv(paths.spans).set_index(["model", "class", "frames"])["centroid_error_px"]
    assert spans["lstm", "linear", "1–4"] == pytest.approx(2 * 2.5)
    assert spans["lstm", "parabolic", "5–8"] == pytest.approx(2 * 2 * 6.5)
    assert spans["best rule", "all", "all"] == pytest.approx(10 * 4.5 * 1.5)
    assert len(spans) == 5 * 3 * 3, "rules are told by the best of them"
    text = paths.table.read_text(encoding="utf-8")
    assert "| | 1–4 | 5–8 | all |" in text and "| | linear | parabolic |" in text
    told = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and line[2] != "|"]
    assert told == 2 * ["lstm", "lstm teacher-forced", "best rule", "oracle", "true codes"]
    assert "| lstm | 7.50 | 19.50 | 13.50 |" in text


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "horizon.csv"
    horizon().drop(columns="step").to_csv(path, index=False)
    with pytest.raises(UserError, match="no column 'step'"):
        tell.read_horizon(path)
    horizon().query("kind != 'teacher_forced'").to_csv(path, index=False)
    with pytest.raises(UserError, match="future_slices must be above 1"):
        tell.read_horizon(path)
