"""The study of GASM-CAST: its params and pipeline against the code, its table of known figures."""

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
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.variants import VARIANTS
from studies.gasm_cast import compare
from tests.support.numbers import BESIDE_METRICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/gasm_cast"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
NAMES = STAGES["gasm_cast_variants"]["foreach"]


def settings(name: str) -> GasmCastParams:
    return load_params(PARAMS, f"train_gasm_cast.{name}", GasmCastParams)


# ---- params and pipeline


def test_every_variant_is_run_and_told() -> None:
    load_params(PARAMS, "hardware", Hardware)
    told = [row.name for row in load_params(PARAMS, "gasm_cast", compare.Comparison).rows]
    assert told == NAMES == list(read_yaml(PARAMS)["train_gasm_cast"])
    assert {settings(name).fusion.variant for name in NAMES} == set(VARIANTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_differs_by_one_param(name: str) -> None:
    main = settings("gasm_cast")
    changes: dict[str, Any] = {"one_layer": {"layers": 1}, "one_head": {"heads": 1}}.get(name) or {"variant": name}
    assert settings(name) == dataclasses.replace(main, fusion=dataclasses.replace(main.fusion, **changes))


def test_the_first_is_the_main_pipelines() -> None:
    sections = read_yaml(ROOT / "params.yaml")
    if "train_gasm_cast" not in sections:
        pytest.skip("params.yaml has no section train_gasm_cast")
    main = load_params(ROOT / "params.yaml", "train_gasm_cast", GasmCastParams)
    assert settings("gasm_cast") == dataclasses.replace(main, order_blind=False)


def test_every_file_of_the_stage_is_named() -> None:
    """A flag left out would write over the main pipeline's file."""
    from stages.train_gasm_cast import Paths

    command = STAGES["gasm_cast_variants"]["do"]["cmd"]
    for field in dataclasses.fields(Paths):
        assert f" --{field.name} " in command or field.name in ("cache", *BESIDE_METRICS)  # all share the cache


# ---- the table


ROWS = (compare.Row("whole", "nothing"), compare.Row("blind", "frames averaged"))


@pytest.fixture
def measured(tmp_path: Path) -> compare.Paths:
    """What the stage would have left of two variants, with figures that are easy to check."""
    for name, top1, pairs in (("whole", 0.99, 1.0), ("blind", 0.5, 0.5)):
        metrics = {
            "top1": top1, "top1_ci95_low": top1 - 0.01, "top1_ci95_high": top1 + 0.005, "top1_floor": 0.0714,
            "top5": 1.0, "ece": 0.01, "per_class": {"a": top1 - 0.25, "b": 1.0}, "trainable_parameters": 393350,
            "trainable_parameters_full": 5566238, "fusion_macs_saved": 0.647, "end_to_end_macs_saved": 0.0175,
            "within_pairs": pairs, "within_pairs_ci95_low": pairs - 0.04, "within_pairs_ci95_high": pairs,
            "pair_top1": 0.98,
        }
        if name == "blind":
            metrics = {key: value for key, value in metrics.items() if "pair" not in key}
        write_numbers_table(tmp_path / "variants" / name / "metrics.csv", metrics)
    return compare.Paths(tmp_path / "variants", tmp_path / "m.json", tmp_path / "table.md", tmp_path / "top1.csv")


def test_the_table_holds_what_was_measured(measured: compare.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    compare.run(compare.Comparison(ROWS), measured, Context.silent())
    text = measured.table.read_text()
    assert text in capsys.readouterr().out
    lines = text.splitlines()
    assert lines[2] == "| `whole` | nothing | 99.0 (98.0–99.5) | 100.0 | 74.0 | 100.0 (96.0–100.0) | 5.57 M | 65 |"
    assert lines[3] == "| `blind` | frames averaged | 50.0 (49.0–50.5) | 100.0 | 25.0 |  | 5.57 M | 65 |"
    assert "| 7.1 |" in lines[4] and {line.count("|") for line in lines} == {9}
    metrics = json.loads(measured.metrics.read_text())
    assert metrics["whole"]["worst_class"] == 0.74 and "within_pairs" not in metrics["blind"]
    table = pd.read_csv(measured.top1)
    assert table["variant"].tolist() == ["whole", "blind"] and set(table["trainable_parameters_full"]) == {5566238}


def test_a_variant_that_was_not_run_is_named(measured: compare.Paths) -> None:
    (measured.variants / "blind" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="blind/metrics.csv: no such file"):
        compare.run(compare.Comparison(ROWS), measured, Context.silent())
    with pytest.raises(ValueError, match="each once"):
        compare.Comparison((ROWS[0], ROWS[0]))
