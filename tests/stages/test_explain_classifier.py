"""explain_classifier, run for real on tiny data and a classifier that hardly trained; with tracks and without."""

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kinetoken.core.absence import write_absent
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import CPU, Context
from kinetoken.explanations.explaining import ExplainClassifier
from stages import explain_classifier, train_classifier
from stages.explain_classifier import Paths
from tests.stages import test_train_classifier
from tests.support.numbers import nested
from tests.support.same_bytes import assert_same_outputs

PARAMS = ExplainClassifier(seed=3, clips=8, steps=6)
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
OUTPUTS = ("metrics", "headlines", "numbers", "attribution", "by_slice", "deletion", "picture")


def stage_paths(out: Path, codes: Path, model: Path, data: Path) -> Paths:
    out.mkdir(exist_ok=True)
    return Paths(
        codes, model, data / "videos", data / "trajectories.parquet", data / "track_params.parquet",
        out / "metrics.json", out / "headlines", out / "numbers.csv", out / "attribution.csv", out / "by_slice.csv",
        out / "deletion.csv", out / "attribution.png",
    )


@pytest.fixture(scope="module")
def model(coded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = test_train_classifier.stage_paths(coded, tmp_path_factory.mktemp("classifier"))
    params = dataclasses.replace(test_train_classifier.PARAMS, poolings=("soft_argmax",))
    train_classifier.run(params, paths, SILENT)
    return paths.model


@pytest.fixture(scope="module")
def done(coded: Path, tiny_data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(tmp_path_factory.mktemp("explain"), coded / "codes.parquet", model, tiny_data)
    explain_classifier.run(PARAMS, paths, SILENT)
    return paths


def test_numbers(done: Paths) -> None:
    numbers = nested(done.numbers)
    assert numbers["completeness_error"] < 0.05
    for kind in ("attributed", "random_weights", "difference"):
        shares = [numbers["on_ball"][kind + end] for end in ("_ci95_low", "", "_ci95_high")]
        assert 0 <= shares[0] <= shares[1] <= shares[2] <= 1
        assert 0.02 < numbers["on_ball"][f"{kind}_floor"] < 0.2, "the ball meets few tokens"
    assert -1 <= numbers["rank_correlation"]["random_weights"] <= 1
    assert sum(numbers["slice"][str(n)] for n in range(1, 5)) == pytest.approx(1, abs=1e-5)
    assert {"attributed", "random", "ball", "random_weights", "difference", "none"} <= numbers["deletion"].keys()
    assert 5 <= len(list(done.headlines.iterdir())) <= 21


def test_plot_tables(done: Paths) -> None:
    cells = pd.read_csv(done.attribution)
    assert len(cells) == 4 * 256 and (cells["attribution"] >= 0).all() and cells["attribution"].max() > 0
    assert pd.read_csv(done.by_slice).groupby("class")["share"].sum().tolist() == pytest.approx([1] * 4, abs=1e-4)
    deletion = pd.read_csv(done.deletion)
    assert set(deletion["tokens"]) == {"attributed", "random_weights", "difference", "random", "ball"}
    assert set(deletion["test"]) == {"deletion", "insertion"} and len(deletion) == 2 * 5 * 3


def test_picture_has_a_row_a_class(done: Paths) -> None:
    width, height = Image.open(done.picture).size
    assert width > 8 * 128 and 4 * 128 < height < 5 * 128


def test_same_bytes_again(done: Paths, tiny_data: Path, tmp_path: Path) -> None:
    again = stage_paths(tmp_path / "again", done.codes, done.model, tiny_data)
    explain_classifier.run(PARAMS, again, SILENT)
    assert_same_outputs(again, done, OUTPUTS)


def test_without_tracks_the_rest_is_measured(done: Paths, tiny_data: Path, tmp_path: Path) -> None:
    absent = {name: tmp_path / f"{name}.parquet" for name in ("trajectories", "track_params")}
    for path in absent.values():
        write_absent(path, "these are videos")
    paths = dataclasses.replace(stage_paths(tmp_path / "out", done.codes, done.model, tiny_data), **absent)
    explain_classifier.run(PARAMS, paths, SILENT)
    numbers, before = read_numbers(paths.numbers), read_numbers(done.numbers)
    assert not [name for name in numbers if "ball" in name] and "ball" not in paths.deletion.read_text()
    assert numbers["slice.1"] == before["slice.1"] and numbers["completeness_error"] == before["completeness_error"]
    assert len(list(paths.headlines.iterdir())) >= 5 and Image.open(paths.picture).size[0] > 8 * 128


def test_a_classifier_of_other_classes_is_refused(done: Paths, tiny_data: Path, tmp_path: Path) -> None:
    model = shutil.copytree(done.model, tmp_path / "classifier")
    config = json.loads((model / "config.json").read_text())
    config["classes"][1] = "spiral"
    (model / "config.json").write_text(json.dumps(config))
    paths = stage_paths(tmp_path / "out", done.codes, model, tiny_data)
    with pytest.raises(UserError, match=r"classifies circular, spiral, .* are circular, helical, .* train_classifier"):
        explain_classifier.run(PARAMS, paths, SILENT)
    assert list((tmp_path / "out").iterdir()) == []
