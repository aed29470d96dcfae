"""train_classifier, run for real on tiny data coded by an untrained tokenizer."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from kinetoken.codes import read_codes, write_codes
from kinetoken.core.absence import why_absent, write_absent
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.stage import CPU, Context
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.classifier import ClassifierParams, load_classifier
from kinetoken.heads.position import PositionParams, build_position_head, save_position_head
from kinetoken.scenes.camera import Camera
from kinetoken.scenes.strange import KINDS
from kinetoken.scenes.tracks import read_tracks
from kinetoken.tokenizer.network import load_tokenizer
from stages import train_classifier
from stages.train_classifier import Paths
from tests.support.numbers import nested
from tests.support.pictures import places_of
from tests.support.same_bytes import assert_same_outputs

PARAMS = ClassifierParams(
    seed=1, epochs=2, batch_size=16, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.0, patience=0, poolings=("soft_argmax", "spatial_mean"), channels=6, blocks=1, maps=2,
    code_features="both", width=16, dropout=0.1, prefix_weight=0.3, augment=(),
)


def stage_paths(coded: Path, out: Path) -> Paths:
    """Without a position head, as for videos of things whose positions nobody knows."""
    out.mkdir(exist_ok=True)
    if not (out / "no_position").exists():
        write_absent(out / "no_position", "nothing was tracked")
    tables = {name: out / f"{name}.csv" for name in (
        "numbers", "confusion", "curves", "prefix", "reliability", "novelty", "selective",
    )}
    return Paths(
        codes=coded / "codes.parquet", tokenizer=coded / "tokenizer", model=out / "classifier",
        metrics=out / "metrics.json", headlines=out / "headlines", confusions=out / "confusions.png",
        position=out / "no_position", **tables,
    )


def with_position(paths: Paths, data: Path, folder: Path) -> Paths:
    """The same with tracks and their scene, and with a position head in `folder`, made here if it is not there."""
    tables = data / "trajectories.parquet", data / "track_params.parquet"
    if not folder.exists():
        codes, tracks = read_codes(paths.codes), read_tracks(*tables)
        params = dataclasses.replace(
            load_params("params.yaml", "train_position", PositionParams), channels=6, blocks=1, width=8
        )
        coordinates = torch.randn(codes.meta.codebook_size, 3, generator=torch.Generator().manual_seed(0))
        head = build_position_head(params, coordinates, codes.meta.grid, Camera.of(tracks.world, 64), tracks.points)
        sigma = {"px": [0.3] * 16, "depth_fraction": [0.02] * 16}
        save_position_head(folder, head, codes.meta.tokenizer, sigma)
    return dataclasses.replace(
        paths, videos=data / "videos", trajectories=tables[0], track_params=tables[1], position=folder
    )


def silent() -> Context:
    return dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


@pytest.fixture(scope="module", autouse=True)
def few_strange_clips() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_classifier, "STRANGE", 4)
        yield


@pytest.fixture(scope="module")
def done(coded: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """With a position head that never trained, so that there is a novelty score."""
    folder = tmp_path_factory.mktemp("classifier")
    paths = with_position(stage_paths(coded, folder), tiny_data, folder / "position")
    train_classifier.run(PARAMS, paths, silent())
    return paths


def test_metrics_are_those_of_the_saved_head(done: Paths) -> None:
    metrics = nested(done.numbers)
    test = read_codes(done.codes).of_split("test")
    head = load_classifier(done.model)
    for count in range(1, 5):
        right = head.log_probabilities(test.codes[:, :count]).argmax(1) == test.target
        assert metrics["prefix"][str(count)]["accuracy"] == pytest.approx(right.mean(), abs=1e-5)
    assert metrics["accuracy"] == metrics["prefix"]["4"]["accuracy"] == metrics["pooling"]["soft_argmax"]["accuracy"]
    assert metrics["accuracy_floor"] == 0.25
    assert metrics["accuracy_ci95_low"] <= metrics["accuracy"] <= metrics["accuracy_ci95_high"]
    assert np.mean(list(metrics["per_class"].values())) == pytest.approx(metrics["accuracy"], abs=1e-5)
    assert 0 <= metrics["ece"] <= 1
    assert set(metrics["pooling"]) == {"soft_argmax", "spatial_mean"}


def test_config_says_what_the_head_is(done: Paths) -> None:
    head = load_classifier(done.model)
    assert head.pooling == "soft_argmax"
    assert head.classes == ("circular", "helical", "linear", "parabolic")
    assert head.tokenizer_hash == load_tokenizer(done.tokenizer).hash


def test_plot_tables(done: Paths) -> None:
    rows = pd.read_csv(done.confusion)
    accuracy = nested(done.numbers)["accuracy"]
    assert len(rows) == 24
    assert (rows["actual"] == rows["predicted"]).mean() == pytest.approx(accuracy, abs=1e-5)
    assert pd.read_csv(done.prefix).groupby("pooling")["slices"].apply(list).to_dict() == {
        "soft_argmax": [1, 2, 3, 4], "spatial_mean": [1, 2, 3, 4],
    }
    assert pd.read_csv(done.reliability)["share"].sum() == pytest.approx(1)
    assert pd.read_csv(done.curves)["model"].value_counts().to_dict() == {"soft_argmax": 2, "spatial_mean": 2}


def test_the_clips_most_surely_read_wrongly_are_shown(done: Paths) -> None:
    """Rows of 8 frames of 64 pixels, the surest first, as their codes show them."""
    test, head = read_codes(done.codes).of_split("test"), load_classifier(done.model)
    probabilities = np.exp(head.log_probabilities(test.codes))
    wrong = np.flatnonzero(probabilities.argmax(1) != test.target)
    surest = wrong[probabilities[wrong].max(1).argmax()]
    decoded = load_tokenizer(done.tokenizer).decode(torch.from_numpy(test.codes[[surest]].astype(np.int64)))[0, ::2]
    width, height = Image.open(done.confusions).size
    assert width > 8 * 64 and height > 64 * min(len(wrong), 8)
    for frame in (0, 7):
        shown = np.asarray(255 * decoded[frame]).round().astype(np.uint8)
        found = places_of(done.confusions, shown, within=8)  # a palette of 128 colours
        assert any(row < 100 and column >= 64 * frame for row, column in found), "the surest is the first row"
    assert done.confusions.stat().st_size < 150_000


def test_a_sheet_is_drawn_where_nothing_is_read_wrongly(done: Paths, tmp_path: Path) -> None:
    test = read_codes(done.codes).of_split("test")
    train_classifier.draw_confusions(
        tmp_path / "sheet.png", load_tokenizer(done.tokenizer), test, test.classes, np.eye(4)[test.target]
    )
    width, height = Image.open(tmp_path / "sheet.png").size
    assert width > 8 * 64 and 64 < height < 2 * 64


def test_same_bytes_again(done: Paths, coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    again = with_position(stage_paths(coded, tmp_path / "again"), tiny_data, done.position)
    train_classifier.run(PARAMS, again, silent())
    names = ("model", "metrics", "headlines", "numbers", "confusion", "curves", "prefix", "reliability", "confusions",
             "novelty", "selective")
    assert_same_outputs(again, done, names)


def test_no_test_clip_trains(done: Paths, coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    """With the codes of test and ood replaced by noise, the head is the same to the byte."""
    table = read_codes(done.codes)
    held_out, changed = np.isin(table.split, ["test", "ood"]), table.codes.copy()
    changed[held_out] = np.random.default_rng(0).integers(0, 1000, changed[held_out].shape)
    write_codes(tmp_path / "codes.parquet", table.meta, [dataclasses.replace(table, codes=changed)])
    paths = with_position(stage_paths(coded, tmp_path), tiny_data, done.position)
    paths = dataclasses.replace(paths, codes=tmp_path / "codes.parquet")
    train_classifier.run(PARAMS, paths, silent())
    assert_same_outputs(paths, done, ("model", "curves"))
    assert paths.numbers.read_text() != done.numbers.read_text(), "nothing was replaced"


# ---- clips unlike the training data


def test_the_novelty_score_is_saved_and_measured_on_every_kind_of_strange_scene(done: Paths) -> None:
    """24 test clips and 4 of each kind; the p-values in the table are those of the saved head."""
    metrics, table, head = nested(done.numbers)["novelty"], pd.read_csv(done.novelty), load_classifier(done.model)
    assert table["kind"].value_counts().to_dict() == {"sound": 24, **dict.fromkeys(KINDS, 4)}
    test = read_codes(done.codes).of_split("test")
    sound = table[table["kind"] == "sound"]
    np.testing.assert_allclose(sound["p"], head.novelty(test.codes), rtol=1e-4)
    assert metrics["false_alarms"] == pytest.approx((sound["p"] <= 0.01).mean())
    names = {name for name in metrics["auroc_by_kind"] if not name.endswith("_floor")}
    assert names == set(KINDS) and all(f"{name}_floor" in metrics["auroc_by_kind"] for name in names)
    assert metrics["auroc"] == pytest.approx(np.mean([metrics["auroc_by_kind"][name] for name in names]), abs=1e-5)
    assert {"auroc_floor", "found", "auroc_ci95_low"} <= set(metrics)
    assert "novelty" in json.loads(done.metrics.read_text())


def test_refusing_none_leaves_the_same_accuracy_by_either_score(done: Paths) -> None:
    table = pd.read_csv(done.selective)
    right = nested(done.numbers)["accuracy"] * 24
    last = table[table["coverage"] == 1]
    assert set(table["score"]) == {"novelty", "confidence"}
    np.testing.assert_allclose(last["accuracy"], right / (24 + 4 * len(KINDS)), rtol=1e-4)


def test_without_positions_there_is_no_score_and_no_number_of_it(coded: Path, tmp_path: Path) -> None:
    paths = stage_paths(coded, tmp_path / "out")
    train_classifier.run(dataclasses.replace(PARAMS, poolings=("attention", "spatial_mean")), paths, silent())
    assert "novelty" not in nested(paths.numbers)
    assert why_absent(paths.novelty) == why_absent(paths.selective) == "nothing was tracked"
    with pytest.raises(UserError, match="no novelty score"):
        load_classifier(paths.model).novelty(read_codes(paths.codes).codes[:1])


# ---- changed clips


def test_changed_clips_are_encoded_anew(coded: Path, tiny_data: Path) -> None:
    """They stand behind the table, of training clips only; a mirrored clip has not the codes of its mirror image."""
    dataset = Dataset.open(DatasetPaths(
        codes=coded / "codes.parquet", tokenizer=coded / "tokenizer", videos=tiny_data / "videos"
    ))
    more = train_classifier.with_changed_clips(dataset, ("mirror", "reverse"), silent())
    codes, store, tokenizer = dataset.codes, dataset.clips, dataset.tokenizer
    train = np.flatnonzero(codes.split == "train")
    assert len(more) == len(codes) + 2 * len(train)
    np.testing.assert_array_equal(more.codes[: len(codes)], codes.codes)
    assert set(more.split[len(codes) :]) == {"train"}
    of_first = len(codes) + np.flatnonzero(more.track_id[len(codes) :] == codes.track_id[train[0]])
    pixels = store.take(train[:1]).pixels
    for row, changed in zip(of_first, (pixels[:, :, :, ::-1], pixels[:, ::-1]), strict=True):
        expected = tokenizer.encode(torch.from_numpy(changed.copy()))[0]
        np.testing.assert_array_equal(more.codes[row], expected)
        assert more.label[row] == codes.label[train[0]]
    assert (more.codes[of_first[0]] != codes.codes[train[0]][:, :, ::-1]).any()


def test_the_stage_trains_on_changed_clips(coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    paths = dataclasses.replace(stage_paths(coded, tmp_path / "out"), videos=tiny_data / "videos")
    params = dataclasses.replace(PARAMS, augment=("reverse",), poolings=("attention",))
    train_classifier.run(params, paths, silent())
    assert pd.read_csv(paths.curves)["step"].tolist() == [6, 12]  # 2 × 48 clips, 16 at once
    assert len(pd.read_csv(paths.confusion)) == 24


def test_clips_of_other_codes_are_refused(coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    table = read_codes(coded / "codes.parquet")
    write_codes(tmp_path / "codes.parquet", table.meta, [table.take(np.arange(90))])
    paths = dataclasses.replace(
        stage_paths(coded, tmp_path / "out"), codes=tmp_path / "codes.parquet", videos=tiny_data / "videos"
    )
    with pytest.raises(UserError, match="videos: not the tracks of"):
        train_classifier.run(dataclasses.replace(PARAMS, augment=("mirror",)), paths, silent())


# ---- bad input


@pytest.mark.parametrize(("fault", "message"), [
    ("other tokenizer", "made by tokenizer"),
    ("missing class", "class 'helical' has no clip in split 'train'"),
    ("empty split", "split 'val' is empty"),
])
def test_bad_codes_are_refused_before_training(coded: Path, tmp_path: Path, fault: str, message: str) -> None:
    codes = read_codes(coded / "codes.parquet")
    meta = codes.meta
    if fault == "other tokenizer":
        meta = dataclasses.replace(meta, tokenizer="0" * 64)
    elif fault == "missing class":
        codes = codes.take(np.flatnonzero(~((codes.label == "helical") & (codes.split == "train"))))
    else:
        codes = codes.take(np.flatnonzero(codes.split != "val"))
    write_codes(tmp_path / "codes.parquet", meta, [codes])
    paths = dataclasses.replace(stage_paths(coded, tmp_path / "out"), codes=tmp_path / "codes.parquet")
    with pytest.raises(UserError, match=message):
        train_classifier.run(PARAMS, paths, silent())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["no_position"]
