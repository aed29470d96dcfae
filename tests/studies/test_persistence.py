"""The study of early persistence: its params and pipeline against the code, its table of known figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.params import load_params, read_yaml
from kinetoken.core.stage import Context, Hardware
from kinetoken.persistence.params import ExtractorName, PersistenceParams
from studies.persistence import compare
from tests.support.numbers import BESIDE_METRICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/persistence"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SEEDS = STAGES["persistence_runs"]["foreach"]


def test_every_seed_is_run_and_told_on_one_thread() -> None:
    main = load_params(ROOT / "params.yaml", "hardware", Hardware)
    assert load_params(PARAMS, "hardware", Hardware) == dataclasses.replace(main, threads=1)
    assert list(load_params(PARAMS, "persistence", compare.Comparison).seeds) == SEEDS
    assert [f"seed_{seed}" for seed in SEEDS] == list(read_yaml(PARAMS)["detect_persistence"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_is_the_main_pipelines_but_for_extractors_and_seed(seed: int) -> None:
    main = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    found = load_params(PARAMS, f"detect_persistence.seed_{seed}", PersistenceParams)
    own = {name: dataclasses.replace(main.of(name), seed=seed) for name in get_args(ExtractorName)}
    assert found == dataclasses.replace(main, seed=seed, extractors=get_args(ExtractorName), **own)
    assert compare.EXTRACTORS == get_args(ExtractorName)


def test_every_file_of_the_stage_is_named() -> None:
    """A flag left out would write over the main pipeline's file."""
    from stages.detect_persistence import Paths

    command = STAGES["persistence_runs"]["do"]["cmd"]
    for field in dataclasses.fields(Paths):
        assert f" --{field.name.replace('_', '-')} " in command or field.name in BESIDE_METRICS


def figures(accuracy: float, frame: float) -> dict[str, float]:
    return {**dict.fromkeys(compare.TOLD, 0.5), "accuracy": accuracy, "mean_decision_frame": frame,
            "harmonic_mean": 2 * accuracy * (1 - frame / 32) / (accuracy + 1 - frame / 32)}


@pytest.fixture
def paths(tmp_path: Path) -> compare.Paths:
    """Two seeds: the transformer right in 0.9 and 0.8 of its decisions, at frame 8; four test tracks."""
    for seed, accuracy in ((1, 0.9), (2, 0.8)):
        measured: dict[str, Any] = {name: figures(0.6, 16) for name in compare.EXTRACTORS}
        measured["transformer"] = figures(accuracy, 8)
        write_numbers_table(tmp_path / f"runs/seed_{seed}/metrics.csv", measured)
    pd.DataFrame({
        "extractor": "transformer", "track_id": [5, 6, 7, 8], "actual": ["persistent", "transient"] * 2,
        "predicted": ["persistent"] * 4, "frames": 8,
    }).to_csv(tmp_path / "runs/seed_1/decisions.csv", index=False)
    pd.DataFrame([
        {"extractor": name, "rule": rule, "frames": frames, "accuracy": accuracy, "earliness": 1 - frames / 32}
        for name in (*compare.EXTRACTORS, "reference")
        for rule, frames, accuracy in (("fixed time", 8, 0.7), ("fixed time", 16, 0.95), ("thresholds", 8, 0.9))
    ]).to_csv(tmp_path / "runs/seed_1/operating.csv", index=False)
    (tmp_path / "teaser.csv").write_text("track_id,predicted,frames\n8,0,16\n5,1,8\n6,0,8\n7,0,16\n")
    return compare.Paths(
        tmp_path / "runs", tmp_path / "teaser.csv", tmp_path / "m.json", tmp_path / "f.csv", tmp_path / "t.md",
        tmp_path / "p.png",
    )


def test_the_table_holds_what_was_measured(paths: compare.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    compare.run(compare.Comparison((1, 2), 0.9), paths, Context.silent())
    text = paths.table.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "| `transformer` | 85.0 ± 7.1 |" in text
    assert "| TEASER on `transformer`'s readings | 75.0 |  | 12.0 |  | 0.682 |" in text
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["teaser"] == pytest.approx(
        {"accuracy": 0.75, "mean_decision_frame": 12, "harmonic_mean": 2 * 0.75 * 0.625 / 1.375}, abs=1e-5
    )
    assert metrics["ahead"]["of_teaser"] == 1 and metrics["ahead"]["of_every_fixed_time"] == 1
    assert metrics["transformer"]["accuracy_spread"] == pytest.approx(0.0707107, abs=1e-5)
    assert len(pd.read_csv(paths.figures)) == 8 and paths.picture.stat().st_size > 5000


def test_a_fixed_time_as_right_and_as_soon_is_said(paths: compare.Paths) -> None:
    table = pd.read_csv(paths.runs / "seed_1/operating.csv")
    early = (table["rule"] == "fixed time") & (table["frames"] == 8) & (table["extractor"] == "magvit")
    table.loc[early, "accuracy"] = 0.9
    table.to_csv(paths.runs / "seed_1/operating.csv", index=False)
    compare.run(compare.Comparison((1, 2), 0.9), paths, Context.silent())
    assert json.loads(paths.metrics.read_text())["ahead"]["of_every_fixed_time"] == 0


def test_what_was_not_run_or_is_of_other_tracks_is_named(paths: compare.Paths) -> None:
    with pytest.raises(UserError, match="seed_3/metrics.csv"):
        compare.run(compare.Comparison((1, 3), 0.9), paths, Context.silent())
    paths.teaser.write_text("track_id,predicted,frames\n8,0,16\n")
    with pytest.raises(UserError, match="not the test tracks"):
        compare.run(compare.Comparison((1, 2), 0.9), paths, Context.silent())
