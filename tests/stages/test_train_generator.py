"""train_generator, run for real on tiny data coded by an untrained tokenizer, judged by an untrained judge."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from kinetoken.codes import read_codes, write_codes
from kinetoken.core.absence import write_absent
from kinetoken.core.artifacts import save_model, write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers, write_numbers_table
from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.generation.forecasting import horizon_table
from kinetoken.generation.generator import PRIORS, GeneratorParams, load_generator
from kinetoken.generation.scores import SCORES
from kinetoken.heads.video_classifier import VideoClassifier
from kinetoken.prediction.scores import Scores, all_metrics, score_splits
from kinetoken.prediction.window import Window
from kinetoken.scenes.tracks import read_tracks, write_tracks
from stages import train_generator
from stages.train_generator import Paths
from tests.support.generators import MASKED, PLAN
from tests.support.numbers import nested
from tests.support.same_bytes import assert_same_outputs

ROOT = Path(__file__).parents[2]
CLASSES = ("circular", "helical", "linear", "parabolic")
PARAMS = GeneratorParams(
    seed=1, components=8, shrinkage=0.05, plan=PLAN, masked=dataclasses.replace(MASKED, epochs=2, patch=2),
    clips_per_class=3, neighbours=2, bootstrap=50,
)
JUDGE = {"channels": 4, "maps": 4, "width": 8}


@pytest.fixture(scope="module")
def judged(coded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokenizer/ and codes.parquet, and judge/ with them."""
    folder = Path(shutil.copytree(coded, tmp_path_factory.mktemp("judged") / "coded"))
    save_judge(folder / "judge", CLASSES)
    return folder


def save_judge(folder: Path, classes: tuple[str, ...]) -> None:
    judge = VideoClassifier(classes, (16, 64, 64), **JUDGE)
    save_model(folder, judge, {"classes": list(classes), "shape": [16, 64, 64], "network": JUDGE})


def stage_paths(judged: Path, data: Path, out: Path) -> Paths:
    for folder in ("models", "metrics", "plots"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    return Paths(
        judged / "codes.parquet", judged / "tokenizer", judged / "judge", data / "videos",
        data / "trajectories.parquet", data / "track_params.parquet", out / "models/generator",
        out / "metrics/train_generator.json", out / "metrics/train_generator", out / "plots/numbers.csv",
        out / "plots/curves.csv", out / "plots/scores.csv",
        out / "plots/laws.csv", out / "plots/horizon.csv", out / "plots/samples.png",
    )


@pytest.fixture(scope="module")
def done(judged: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(judged, tiny_data, tmp_path_factory.mktemp("out"))
    train_generator.run(PARAMS, paths, Context.silent())
    return paths


def test_metrics_hold_the_contract(done: Paths) -> None:
    metrics = nested(done.numbers)
    assert set(metrics) == {"floor", *PRIORS} and set(metrics["floor"]) == {"mean_path", "path_gaussian"}
    for prior in PRIORS:
        for score in SCORES:
            found = metrics[prior]
            assert found[f"{score}_ci95_low"] <= found[score] <= found[f"{score}_ci95_high"]
            assert np.isfinite(found[f"{score}_ceiling"])
        assert found["class_match_floor"] == 0.25
        assert found["class_match"] <= found["valid"], "an invalid clip counts as wrong"
        for score in ("coverage", "lawful"):
            assert found[f"{score}_floor"] == metrics["floor"]["path_gaussian"][score]
        assert metrics["floor"]["mean_path"]["recall"] <= metrics["floor"]["path_gaussian"]["recall"]


def test_without_a_pixel_classifier_all_but_the_class_is_judged(
    judged: Path, tiny_data: Path, tmp_path: Path, done: Paths
) -> None:
    paths = dataclasses.replace(stage_paths(judged, tiny_data, tmp_path), judge=tmp_path / "judge")
    write_absent(paths.judge, "all clips have one class")
    train_generator.run(PARAMS, paths, Context.silent())
    expected = {name: number for name, number in read_numbers(done.numbers).items() if ".class_match" not in name}
    assert read_numbers(paths.numbers) == expected and "class_match" not in pd.read_csv(paths.scores)


def test_scores_table_has_every_prior_and_class_and_agrees_with_the_metrics(done: Paths) -> None:
    table, metrics = pd.read_csv(done.scores), nested(done.numbers)
    assert set(table["prior"]) == {"real", *PRIORS} and len(table) == 4 * (1 + len(PRIORS))
    for prior in PRIORS:
        for score in SCORES:
            expected = table.loc[table["prior"] == prior, score].mean()
            assert metrics[prior][score] == pytest.approx(expected, abs=1e-4)


def forecasts_of(done: Paths, codes: Path) -> dict[str, Scores]:
    """Through the predictor's own scores: the saved generator's forecasts of the last of four slices."""
    dataset = Dataset.open(DatasetPaths(
        codes=codes, tokenizer=done.tokenizer, videos=done.videos, trajectories=done.trajectories,
        track_params=done.track_params,
    ))
    window = Window(past_slices=3, future_slices=1, slice_frames=4)
    return score_splits(
        {"masked": load_generator(done.model).complete}, window, dataset, Context.silent(), chosen_law=False
    )


def test_the_masked_prior_is_scored_as_predictors_are(done: Paths, tmp_path: Path) -> None:
    write_numbers_table(tmp_path / "again.csv", all_metrics(forecasts_of(done, done.codes), PARAMS.bootstrap))
    again, found = nested(tmp_path / "again.csv"), nested(done.numbers)["masked"]["forecast"]
    assert found == again["masked"]
    assert found["centroid_error_px_floor"] == min(rule["centroid_error_px"] for rule in again["floor"].values())
    expected = found["centroid_error_px"] / again["oracle"]["centroid_error_px"]
    assert found["error_over_oracle"] == pytest.approx(expected, rel=1e-4)
    assert set(found["per_step"]) == {"01", "02", "03", "04"} and set(found["per_class"]) == set(CLASSES)
    horizon = pd.read_csv(done.horizon)
    assert set(horizon["model"]) == {"masked"} and set(horizon["kind"]) == {"model"} and len(horizon) == 4 * 5
    everyone = horizon[horizon["class"] == "all"]
    assert everyone["centroid_error_px"].mean() == pytest.approx(found["centroid_error_px"], rel=1e-4)


def test_headlines_of_what_is_predicted_stand_apart_from_those_of_what_is_drawn(done: Paths) -> None:
    masked = json.loads(done.metrics.read_text(encoding="utf-8"))["masked"]
    assert set(masked["forecast"]) == {"centroid_error_px", "missed_rate", "error_over_oracle"}
    assert "class_match_ceiling" in masked, "what is drawn keeps its bounds beside it"


def test_the_future_of_test_clips_changes_no_forecast(done: Paths, tmp_path: Path) -> None:
    table = read_codes(done.codes)
    held_out = np.isin(table.split, ["test", "ood"])
    changed = table.codes.copy()
    changed[held_out, 3:] = np.random.default_rng(0).integers(0, 1000, changed[held_out, 3:].shape)
    write_codes(tmp_path / "codes.parquet", table.meta, [dataclasses.replace(table, codes=changed)])
    scores = forecasts_of(done, tmp_path / "codes.parquet")
    write_csv(tmp_path / "horizon.csv", horizon_table(scores))
    assert (tmp_path / "horizon.csv").read_bytes() == done.horizon.read_bytes()
    before = nested(done.numbers)["masked"]["forecast"]["mse_ceiling"]
    assert scores["test"].ceiling.squared.mean() != pytest.approx(before, rel=1e-3), "the future was not replaced"


def test_samples_show_two_clips_a_class_and_prior(done: Paths) -> None:
    width, height = Image.open(done.samples).size
    assert width > len(PRIORS) * 8 * 64 and 2 * 4 * 64 < height < (2 * 4 + 1) * 67


def test_class_gaussian_is_nearer_to_its_own_class(done: Paths) -> None:
    """The saved model draws codes whose mean is closer to the class's own training mean than to the others'."""
    codes, generator = read_codes(done.codes), load_generator(done.model)
    assert generator.tokenizer_hash == codes.meta.tokenizer and generator.classes == CLASSES
    train = codes.of_split("train")
    vectors = generator.table.numpy()
    means = {name: vectors[train.codes[train.label == name]].mean(0) for name in CLASSES}
    for name in CLASSES:
        drawn = vectors[generator.sample("class_gaussian", name, 200, seed=9)].mean(0)
        away = {other: float(np.square(drawn - mean).sum()) for other, mean in means.items()}
        assert min(away, key=lambda other: away[other]) == name


def test_neither_judge_nor_test_clips_nor_true_positions_reach_the_generator(
    done: Paths, judged: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """With another judge, the codes of test and ood replaced by noise, and the true ball elsewhere in every track of
    every split, the model is the same to the byte."""
    table = read_codes(done.codes)
    held_out = np.isin(table.split, ["test", "ood"])
    changed = table.codes.copy()
    changed[held_out] = np.random.default_rng(0).integers(0, 1000, changed[held_out].shape)
    write_codes(tmp_path / "codes.parquet", table.meta, [dataclasses.replace(table, codes=changed)])
    torch.manual_seed(99)
    save_judge(tmp_path / "judge", CLASSES)
    tracks = read_tracks(done.trajectories, done.track_params)
    moved = dataclasses.replace(tracks, points=tracks.points + np.array([0.1, -0.2, 0.3]))
    write_tracks(moved, tmp_path / "trajectories.parquet", tmp_path / "track_params.parquet")
    paths = dataclasses.replace(
        stage_paths(judged, tiny_data, tmp_path), codes=tmp_path / "codes.parquet", judge=tmp_path / "judge",
        trajectories=tmp_path / "trajectories.parquet", track_params=tmp_path / "track_params.parquet",
    )
    train_generator.run(PARAMS, paths, Context.silent())
    assert_same_outputs(paths, done, ("model", "curves"))
    before, after = (nested(each.numbers) for each in (done, paths))
    assert before["masked"].pop("forecast") != after["masked"].pop("forecast"), "no ball was moved"
    assert before != after, "nothing else was replaced"


def test_bad_input_is_named_before_fitting(done: Paths, judged: Path, tiny_data: Path, tmp_path: Path) -> None:
    table = read_codes(done.codes)
    paths = stage_paths(judged, tiny_data, tmp_path / "out")

    def refused(match: str, **change: object) -> None:
        write_codes(tmp_path / "codes.parquet", (new := dataclasses.replace(table, **change)).meta, [new])  # type: ignore[arg-type]
        with pytest.raises(UserError, match=match):
            train_generator.run(PARAMS, dataclasses.replace(paths, codes=tmp_path / "codes.parquet"), Context.silent())

    refused("made by tokenizer", meta=dataclasses.replace(table.meta, tokenizer="0" * 64))
    refused("split 'test' is empty", split=np.where(table.split == "test", "ood", table.split))
    gone = (table.split == "train") & (table.label == "helical")
    for section, match in (
        ({"plan": dataclasses.replace(PLAN, components=49)}, "49 components are more"),
        ({"masked": dataclasses.replace(
            PARAMS.masked, sampling=dataclasses.replace(PARAMS.masked.sampling, steps=65))}, "at most one a patch"),
        ({"masked": dataclasses.replace(PARAMS.masked, patch=3)}, "do not divide"),
    ):
        with pytest.raises(UserError, match=match):
            train_generator.run(dataclasses.replace(PARAMS, **section), paths, Context.silent())
    refused("'helical' has 0 clips in split 'train'", split=np.where(gone, "val", table.split))
    refused("not the tracks", track_id=table.track_id[::-1].copy())
    save_judge(tmp_path / "judge", ("a", "b"))
    with pytest.raises(UserError, match="judges"):
        train_generator.run(PARAMS, dataclasses.replace(paths, judge=tmp_path / "judge"), Context.silent())
    assert not paths.model.exists()
