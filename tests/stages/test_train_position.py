"""train_position, run for real on tiny data coded by an untrained tokenizer."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kinetoken.codes import read_codes, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.stage import CPU, Context
from kinetoken.heads.position import PositionParams, load_position_head, position_errors, sigma_by_frame
from kinetoken.scenes.tracks import read_tracks
from kinetoken.tokenizer.network import load_tokenizer
from stages import train_position
from stages.train_position import Paths
from tests.support.numbers import nested
from tests.support.same_bytes import assert_same_outputs

PARAMS = PositionParams(
    seed=1, epochs=30, batch_size=8, learning_rate=0.02, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.0, patience=0, channels=8, blocks=1, width=8, dropout=0.0, depth_weight=15.0, augment=(),
)


def stage_paths(coded: Path, data: Path, out: Path) -> Paths:
    out.mkdir(exist_ok=True)
    return Paths(
        coded / "codes.parquet", coded / "tokenizer", data / "trajectories.parquet", data / "track_params.parquet",
        out / "position", out / "metrics.json", out / "headlines", out / "numbers.csv", out / "curves.csv",
        out / "error_by_frame.csv", data / "videos",
    )


def silent() -> Context:
    return dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


@pytest.fixture(scope="module")
def done(coded: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(coded, tiny_data, tmp_path_factory.mktemp("position"))
    train_position.run(PARAMS, paths, silent())
    return paths


def test_metrics_are_those_of_the_saved_head_and_beat_the_floor(done: Paths) -> None:
    metrics = nested(done.numbers)
    codes, tracks = read_codes(done.codes), read_tracks(done.trajectories, done.track_params)
    head = load_position_head(done.model)
    for split, found in (("test", metrics), ("ood", metrics["ood"])):
        here = codes.split == split
        errors = position_errors(head.positions(codes.codes[here]), tracks.points[here], head.camera)
        for name, each in errors.items():
            assert found[name] == pytest.approx(each.mean(), rel=1e-4)
            assert found[f"{name}_ci95_low"] <= found[name] <= found[f"{name}_ci95_high"]
    assert metrics["error_px"] < 0.8 * metrics["error_px_floor"]


def test_floor_is_the_mean_training_position(done: Paths) -> None:
    metrics = nested(done.numbers)
    tracks = read_tracks(done.trajectories, done.track_params)
    mean = tracks.points[tracks.split == "train"].mean((0, 1))
    away = np.linalg.norm(tracks.points[tracks.split == "test"] - mean, axis=-1)
    assert metrics["error_m_floor"] == pytest.approx(away.mean(), rel=1e-5)


def test_sigma_is_measured_on_val_and_kept_with_the_head(done: Paths) -> None:
    codes, tracks = read_codes(done.codes), read_tracks(done.trajectories, done.track_params)
    head = load_position_head(done.model)
    val = codes.split == "val"
    measured = sigma_by_frame(head.positions(codes.codes[val]), tracks.points[val], head.camera)
    assert head.sigma.keys() == {"px", "depth_fraction"} and len(head.sigma["px"]) == 16
    for name, values in measured.items():
        assert head.sigma[name] == pytest.approx(values)
    overall = nested(done.numbers)["sigma"]
    assert overall["px"] ** 2 == pytest.approx(np.mean(np.square(measured["px"])), rel=1e-4)
    assert head.tokenizer_hash == load_tokenizer(done.tokenizer).hash


def test_plot_tables(done: Paths) -> None:
    frames = pd.read_csv(done.error_by_frame)
    metrics = nested(done.numbers)
    test = frames[frames["split"] == "test"]
    assert test["frame"].tolist() == list(range(16))
    assert test["error_m"].mean() == pytest.approx(metrics["error_m"], rel=1e-4)
    assert pd.read_csv(done.curves)["epoch"].tolist() == list(range(1, 31))


def test_changed_clips_come_with_their_positions(coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Each training clip mirrored and played backwards: codes of those pixels, positions where the ball is in them."""
    paths = stage_paths(coded, tiny_data, tmp_path)
    params = dataclasses.replace(PARAMS, augment=("mirror", "reverse"))
    dataset = train_position.open_dataset(params, paths)
    given, points = train_position.training_clips(dataset, params, silent())
    codes, tracks, tokenizer, train = dataset.codes, dataset.tracks, dataset.tokenizer, dataset.split("train").rows
    assert len(given) == len(points) == 3 * len(train)
    clips = dataset.clips.take(train[:1]).pixels
    first = tracks.points[train[0]]
    for changed, moved in ((clips[:, :, :, ::-1], first * [-1, 1, 1]), (clips[:, ::-1], first[::-1])):
        row = int(np.flatnonzero((np.abs(points - moved) < 1e-12).all((1, 2)))[0])
        np.testing.assert_array_equal(given[row], tokenizer.encode(torch.from_numpy(changed.copy()))[0])
    unchanged = train_position.training_clips(dataset, PARAMS, silent())
    np.testing.assert_array_equal(unchanged[0], codes.codes[train])
    np.testing.assert_array_equal(unchanged[1], tracks.points[train])


def test_same_bytes_again(done: Paths, coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    again = stage_paths(coded, tiny_data, tmp_path / "again")
    train_position.run(PARAMS, again, silent())
    assert_same_outputs(again, done, ("model", "metrics", "headlines", "numbers", "curves", "error_by_frame"))


@pytest.mark.parametrize(("fault", "message"), [
    ("other tokenizer", "made by tokenizer"),
    ("empty split", "split 'val' is empty"),
    ("other tracks", "not the tracks of"),
    ("three slices", "3 slices do not divide the 16 frames"),
])
def test_bad_codes_are_refused_before_training(
    coded: Path, tiny_data: Path, tmp_path: Path, fault: str, message: str
) -> None:
    codes = read_codes(coded / "codes.parquet")
    if fault == "other tokenizer":
        codes.meta = dataclasses.replace(codes.meta, tokenizer="0" * 64)
    elif fault == "empty split":
        codes = codes.take(np.flatnonzero(codes.split != "val"))
    elif fault == "other tracks":
        codes.track_id = codes.track_id + 1
    else:
        codes.codes, codes.meta = codes.codes[:, :3], dataclasses.replace(codes.meta, grid=(3, 8, 8))
    write_codes(tmp_path / "codes.parquet", codes.meta, [codes])
    paths = dataclasses.replace(stage_paths(coded, tiny_data, tmp_path / "out"), codes=tmp_path / "codes.parquet")
    with pytest.raises(UserError, match=message):
        train_position.run(PARAMS, paths, silent())
    assert list((tmp_path / "out").iterdir()) == []
