"""The study of I3D + MAGVIT: its params and pipeline against the code, its table of known figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.params import load_params, read_yaml
from kinetoken.core.stage import Context, Hardware
from kinetoken.i3d_magvit.params import I3DMagvitParams
from studies.two_stream import compare
from tests.support.numbers import BESIDE_METRICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/two_stream"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
VARIANTS = STAGES["two_stream_networks"]["foreach"]


def settings(name: str) -> I3DMagvitParams:
    return load_params(PARAMS, f"train_i3d_magvit.{name}", I3DMagvitParams)


# ---- params and pipeline


def test_every_variant_is_run_and_told() -> None:
    main = load_params(ROOT / "params.yaml", "hardware", Hardware)
    assert load_params(PARAMS, "hardware", Hardware) == dataclasses.replace(main, threads=1)
    told = [row.name for row in load_params(PARAMS, "two_stream", compare.Comparison).rows]
    assert told == VARIANTS == list(read_yaml(PARAMS)["train_i3d_magvit"])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_main_pipeline_by_what_its_name_says_only(name: str) -> None:
    main, found = load_params(ROOT / "params.yaml", "train_i3d_magvit", I3DMagvitParams), settings(name)
    differing: dict[str, Any] = {
        "default": {},
        "unquantized": {"compression": dataclasses.replace(main.compression, quantize=False)},
        "no_tokens": {"tokens": False, "video_share": 1.0},
        "no_transformer": {"temporal": dataclasses.replace(main.temporal, kind="mean")},
    }.get(name, {"backbone": found.backbone})
    assert found == dataclasses.replace(main, **differing)
    assert found.backbone.name == (name if name in ("frame_cnn", "slowfast") else "i3d")
    assert (found.backbone.image_size, found.backbone.frames) == (main.backbone.image_size, main.backbone.frames)


def test_every_file_of_the_stage_is_named() -> None:
    """A flag left out would write over the main pipeline's file."""
    from stages.train_i3d_magvit import Paths

    command = STAGES["two_stream_networks"]["do"]["cmd"]
    for field in dataclasses.fields(Paths):
        assert f" --{field.name.replace('_', '-')} " in command or field.name in BESIDE_METRICS


# ---- the table


ROWS = (compare.Row("default", "none"), compare.Row("blind", "no frames"))


def figures(accuracy: float, percent: float) -> dict[str, Any]:
    numbers: dict[str, Any] = dict.fromkeys(compare.KEPT, 1.0)
    for name, value in (("accuracy", accuracy), ("forecast_mae_percent", percent), ("forecast_rmse_percent", percent)):
        numbers |= {name: value, f"{name}_ci95_low": value - 0.01, f"{name}_ci95_high": value + 0.005}
    numbers |= {
        "accuracy_floor": 0.25, "forecast_mae_percent_floor": 2.5, "forecast_rmse_percent_floor": 3.5,
        "frame_centroid_error_px": 0.5, "frame_centroid_error_px_floor": 4.0, "frame_centroid_error_px_ceiling": 0.125,
        "per_class": {"a": accuracy - 0.02, "b": 1.0}, "backbone": {"parameters": 28000000, "pretrained": 0},
        "frames_alone": {"place_px": 3.25, "place_px_floor": 9.75},
        "past": {"accuracy": accuracy - 0.1, "per_class": {"a": accuracy - 0.2, "b": 1.0}},
    }
    if accuracy > 0.5:
        numbers["without_frames"] = {"accuracy": accuracy - 0.3}
    return numbers


@pytest.fixture
def measured(tmp_path: Path) -> compare.Paths:
    """What the stage would have left of two variants, with figures that are easy to check."""
    for name, accuracy, percent in (("default", 0.99, 1.5), ("blind", 0.3, 2.25)):
        write_numbers_table(tmp_path / "variants" / name / "metrics.csv", figures(accuracy, percent))
    return compare.Paths(tmp_path / "variants", tmp_path / "m.json", tmp_path / "figures.csv", tmp_path / "table.md")


def test_the_table_holds_what_was_measured(measured: compare.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    compare.run(compare.Comparison(ROWS), measured, Context.silent())
    text = measured.table.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    lines = text.splitlines()
    assert lines[2] == (
        "| `default` | none | 99.0 (98.0–99.5) | 97.0 | 69.0 | 89.0 | 1.50 (1.49–1.50) | 1.50 | 0.50 | 3.25 |"
        " 28,000,000 |"
    )
    assert lines[3].startswith("| `blind` | no frames | 30.0 (29.0–30.5) | 28.0 |  | 20.0 |")
    assert lines[4].endswith("| 25.0 |  |  | 25.0 | 2.50 | 3.50 | 4.00 | 9.75 |  |") and "| 0.12 |" in lines[5]
    assert {line.count("|") for line in lines} == {12} and len(lines) == 6
    metrics = json.loads(measured.metrics.read_text())
    assert metrics["blind"]["worst_class"] == 0.28 and metrics["default"]["worst_class_of_past"] == 0.79
    table = pd.read_csv(measured.figures)
    assert table["variant"].tolist() == ["default", "blind"] and table["forecast_mae_percent"].tolist() == [1.5, 2.25]


def test_a_variant_that_was_not_run_is_named(measured: compare.Paths) -> None:
    path = measured.variants / "blind" / "metrics.csv"
    write_numbers_table(path, {"accuracy": 0.5})
    with pytest.raises(UserError, match="blind/metrics.csv: no 'accuracy_ci95_low'"):
        compare.run(compare.Comparison(ROWS), measured, Context.silent())
    path.unlink()
    with pytest.raises(UserError, match="blind/metrics.csv: no such file"):
        compare.run(compare.Comparison(ROWS), measured, Context.silent())
    with pytest.raises(ValueError, match="each once"):
        compare.Comparison((ROWS[0], ROWS[0]))
