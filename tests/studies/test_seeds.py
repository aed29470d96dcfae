"""The study over seeds: its params and pipeline against the code, its own scripts run for real."""

import json
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers, write_numbers_table
from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from studies.seeds import reseed, tell

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/seeds"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SILENT = Context.silent()


def seeds_in(node: object) -> list[int]:
    if not isinstance(node, dict):
        return []
    return [value for key, value in node.items() if key == "seed"] + [s for v in node.values() for s in seeds_in(v)]


@pytest.mark.parametrize("seed", [1, 3])
def test_every_seed_moves_and_nothing_else_does(tmp_path: Path, seed: int) -> None:
    params = load_params(PARAMS, "seeds", reseed.Seeds)
    reseed.run(params, reseed.Paths(ROOT / "params.yaml", tmp_path / "params.yaml", seed), SILENT)
    given, changed = (yaml.safe_load(p.read_text()) for p in (ROOT / "params.yaml", tmp_path / "params.yaml"))
    assert set(changed) == {*params.stages, "hardware"}
    for name in params.stages:
        before, after = seeds_in(given[name]), seeds_in(changed[name])
        assert after == [value + 1000 * (seed - 1) for value in before] and before, name
    assert reseed.moved(changed["train_generator"], 1000 * (1 - seed)) == given["train_generator"]


def test_no_two_stages_of_any_seeds_share_one() -> None:
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in load_params(PARAMS, "seeds", reseed.Seeds).stages:
        assert all(value < reseed.STRIDE for value in seeds_in(given[name])), name


def test_faults_of_the_params_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="counts from 1, is 0"):
        reseed.run(reseed.Seeds(("a",)), reseed.Paths(ROOT / "params.yaml", tmp_path / "p", 0), SILENT)
    with pytest.raises(UserError, match="no section 'train_nothing'"):
        reseed.run(reseed.Seeds(("train_nothing",)), reseed.Paths(ROOT / "params.yaml", tmp_path / "p"), SILENT)


def runs(folder: Path, values: dict[int, float]) -> Path:
    for seed, value in values.items():
        numbers = {"accuracy": value, "per_class": {"a": value, "b": value - 0.5}}
        write_numbers_table(folder / "runs" / str(seed) / "metrics" / "train_x.csv", numbers)
    return folder / "runs"


HEADLINES = tell.Telling((
    tell.Headline("train_x", "accuracy", "right"), tell.Headline("train_x", "per_class.*", "worst class"),
))


def test_the_table_tells_mean_and_spread(tmp_path: Path) -> None:
    paths = tell.Paths(
        runs(tmp_path, {1: 0.7, 2: 0.8, 3: 0.9}), tmp_path / "metrics.json", tmp_path / "rows.csv", tmp_path / "t.md"
    )
    tell.run(HEADLINES, paths, SILENT)
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["seeds"] == 3
    assert metrics["train_x"]["accuracy"] == pytest.approx({"mean": 0.8, "sd": 0.1, "least": 0.7, "greatest": 0.9})
    assert metrics["train_x"]["per_class.least"]["mean"] == pytest.approx(0.3)
    assert list(pd.read_csv(paths.rows)["mean"]) == pytest.approx([0.8, 0.3])
    assert "| right (`train_x`: `accuracy`) | 0.8 ± 0.1 | 0.7 | 0.9 |" in paths.table.read_text()


def test_one_seed_has_no_spread_and_a_metric_that_is_not_there_is_named(tmp_path: Path) -> None:
    outs = tmp_path / "m.json", tmp_path / "r.csv", tmp_path / "t.md"
    with pytest.raises(UserError, match="1 seeds have been run"):
        tell.run(HEADLINES, tell.Paths(runs(tmp_path / "one", {1: 0.5}), *outs), SILENT)
    with pytest.raises(UserError, match="train_x.csv: no 'recall'"):
        wanted = tell.Telling((tell.Headline("train_x", "recall", "found"),))
        tell.run(wanted, tell.Paths(runs(tmp_path / "two", {1: 0.5, 2: 0.6}), *outs), SILENT)


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_lists_the_files_that_it_reads(name: str) -> None:
    body = STAGES[name].get("do", STAGES[name])
    read = {f"../../{word}" for word in body["cmd"].split() if word.startswith(("data/", "models/"))}
    assert read <= set(body["deps"])


def test_every_headline_is_a_number_of_the_committed_run() -> None:
    for line in load_params(PARAMS, "tell", tell.Telling).headlines:
        numbers = read_numbers(ROOT / "plots" / line.stage / "numbers.csv")
        assert any(fnmatch(name, line.key) for name in numbers), line
