"""The study of poolings: its params and pipeline against the code, its table of known figures."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.params import load_params, read_yaml
from kinetoken.core.stage import Context, Hardware
from kinetoken.heads.classifier import ClassifierParams
from kinetoken.heads.poolings import POOLINGS
from studies.pooling import compare
from tests.support.numbers import BESIDE_METRICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/pooling"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
VARIANTS = STAGES["pooling_heads"]["foreach"]


def settings(name: str) -> ClassifierParams:
    return load_params(PARAMS, f"train_classifier.{name}", ClassifierParams)


# ---- params and pipeline


def test_every_variant_is_run_and_told_and_every_pooling_is_among_them() -> None:
    load_params(PARAMS, "hardware", Hardware)
    told = [row.name for row in load_params(PARAMS, "pooling", compare.Comparison).rows]
    assert told == VARIANTS == list(read_yaml(PARAMS)["train_classifier"])
    assert {settings(name).poolings for name in VARIANTS} == {(name,) for name in POOLINGS if name != "moving_argmax"}
    assert told[-1] == "spatial_mean"  # the first team's, at the bottom


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_main_pipeline_by_what_its_name_says_only(name: str) -> None:
    main = load_params(ROOT / "params.yaml", "train_classifier", ClassifierParams)
    # the main pipeline trains on changed clips too; here that is a variant
    strong = dataclasses.replace(main, poolings=("soft_argmax",), augment=(), epochs=3 * main.epochs)
    differing = {
        "soft_argmax_coordinates": {"code_features": "coordinates"},
        "soft_argmax_index": {"code_features": "index"},
        "soft_argmax_changed_clips": {
            "augment": main.augment, "epochs": main.epochs,  # of three times the clips
        },
    }.get(name) or {"poolings": (name,)}
    assert settings(name) == dataclasses.replace(strong, **differing)


def test_every_file_of_the_stage_is_named() -> None:
    """A flag left out would write over the main pipeline's file."""
    from stages.train_classifier import Paths

    command = STAGES["pooling_heads"]["do"]["cmd"]
    for field in dataclasses.fields(Paths):
        assert f" --{field.name.replace('_', '-')} " in command or field.name in BESIDE_METRICS


# ---- the table


ROWS = (
    compare.Row("strong", "cells", "place", "nothing"), compare.Row("weak", "codes", "time", "place"),
)


@pytest.fixture
def measured(tmp_path: Path) -> compare.Paths:
    """What the stage would have left of two variants, with figures that are easy to check."""
    for name, accuracy in (("strong", 0.99), ("weak", 0.3)):
        metrics = {
            "accuracy": accuracy, "accuracy_ci95_low": accuracy - 0.01, "accuracy_ci95_high": accuracy + 0.005,
            "accuracy_floor": 0.25, "ece": 0.0123, "per_class": {"a": accuracy - 0.02, "b": 1.0},
            "prefix": {"1": {"accuracy": 0.5}, "2": {"accuracy": 0.625}},
        }
        write_numbers_table(tmp_path / "variants" / name / "metrics.csv", metrics)
    return compare.Paths(
        tmp_path / "variants", tmp_path / "m.json", tmp_path / "table.md", tmp_path / "accuracy.csv",
        tmp_path / "accuracy.png",
    )


def test_the_table_holds_what_was_measured(measured: compare.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    compare.run(compare.Comparison(ROWS), measured, Context.silent())
    text = measured.table.read_text()
    assert text in capsys.readouterr().out
    lines = text.splitlines()
    assert lines[2] == "| `strong` | cells | place | nothing | 99.0 (98.0–99.5) | 97.0 | 62.5 | 0.012 |"
    assert lines[3].startswith("| `weak`") and lines[4].startswith("| floor") and "| 25.0 |" in lines[4]
    assert {line.count("|") for line in lines} == {9}
    metrics = json.loads(measured.metrics.read_text())
    assert metrics["weak"]["worst_class"] == 0.28 and metrics["strong"]["after_slice_1"] == 0.5
    assert pd.read_csv(measured.accuracy)["variant"].tolist() == ["strong", "weak"]


def test_bars_are_the_same_bytes_for_the_same_figures(measured: compare.Paths) -> None:
    compare.run(compare.Comparison(ROWS), measured, Context.silent())
    first = measured.picture.read_bytes()
    compare.run(compare.Comparison(ROWS), measured, Context.silent())
    assert measured.picture.read_bytes() == first
    assert Image.open(measured.picture).size[0] > 400


def test_a_variant_that_was_not_run_is_named(measured: compare.Paths) -> None:
    (measured.variants / "weak" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="weak/metrics.csv: no such file"):
        compare.run(compare.Comparison(ROWS), measured, Context.silent())
    with pytest.raises(ValueError, match="each once"):
        compare.Comparison((ROWS[0], ROWS[0]))
