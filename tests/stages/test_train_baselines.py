"""train_baselines, run for real on tiny data."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.stage import CPU, Context
from kinetoken.heads.video_classifier import BaselinesParams, load_video_classifier
from kinetoken.scenes.clips import ClipStore, shard_path, write_shard
from kinetoken.scenes.tracks import read_tracks
from stages import train_baselines
from stages.train_baselines import Paths
from tests.support.numbers import nested
from tests.support.same_bytes import assert_same_outputs

PARAMS = BaselinesParams(
    seed=1, epochs=2, batch_size=16, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.0, patience=0, channels=3, maps=2, width=16, still=0.1, mirror=True, reverse=True,
)


def stage_paths(data: Path, out: Path) -> Paths:
    out.mkdir(exist_ok=True)
    return Paths(
        data / "videos", data / "trajectories.parquet", data / "track_params.parquet", out / "judge",
        out / "metrics.json", out / "headlines", out / "numbers.csv", out / "confusion.csv", out / "curves.csv",
    )


def silent() -> Context:
    return dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


@pytest.fixture(scope="module")
def done(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(tiny_data, tmp_path_factory.mktemp("baselines"))
    train_baselines.run(PARAMS, paths, silent())
    return paths


def test_metrics_hold_floor_ceiling_and_controls(done: Paths) -> None:
    metrics = nested(done.numbers)
    assert metrics["majority"]["accuracy"] == 0.25
    assert metrics["coordinates"]["accuracy"] >= 0.9  # 48 true paths are enough to learn from
    assert metrics["law_fit"]["accuracy"] >= 0.8
    for name in ("video", "coordinates", "first_frame", "nuisance", "law_fit"):
        found = metrics[name]
        assert found["accuracy_ci95_low"] <= found["accuracy"] <= found["accuracy_ci95_high"]
        assert found["accuracy_floor"] == 0.25
    for control in ("first_frame", "nuisance"):
        assert metrics[control]["accuracy_ci95_low"] <= 0.35
    assert set(metrics["video"]["per_class"]) == {"circular", "helical", "linear", "parabolic"}


def test_saved_judge_is_the_one_that_was_scored(done: Paths) -> None:
    clips = ClipStore(done.videos).read("test")
    judge = load_video_classifier(done.model)
    predicted = np.array(judge.classes)[judge.probabilities(clips.pixels).argmax(1)]
    rows = pd.read_csv(done.confusion)
    assert rows["track_id"].tolist() == clips.track_id.tolist()
    assert rows["actual"].tolist() == clips.label.tolist()
    assert rows["predicted"].tolist() == predicted.tolist()
    accuracy = nested(done.numbers)["video"]["accuracy"]
    assert accuracy == pytest.approx((predicted == clips.label).mean(), rel=1e-5)
    curves = pd.read_csv(done.curves)
    assert curves.groupby("model")["epoch"].max().to_dict() == {"video": 2, "first_frame": 2}


def test_same_bytes_again(done: Paths, tiny_data: Path, tmp_path: Path) -> None:
    again = stage_paths(tiny_data, tmp_path / "again")
    train_baselines.run(PARAMS, again, silent())
    assert_same_outputs(again, done, ("model", "metrics", "headlines", "numbers", "confusion", "curves"))


@pytest.mark.parametrize(("fault", "message"), [
    ("missing class", "class 'helical' has no clip in split 'train'"),
    ("empty split", "split 'val' is empty"),
    ("other tracks", "not the tracks of"),
])
def test_bad_clips_are_refused_before_training(tiny_data: Path, tmp_path: Path, fault: str, message: str) -> None:
    store = ClipStore(tiny_data / "videos")
    clips = store.read()
    keep = np.ones(len(clips), bool)
    if fault == "missing class":
        keep = ~((clips.label == "helical") & (clips.split == "train"))
    elif fault == "empty split":
        keep = clips.split != "val"
    else:
        clips.track_id = clips.track_id + 1
    part = dataclasses.replace(
        clips, track_id=clips.track_id[keep], label=clips.label[keep], split=clips.split[keep],
        pixels=clips.pixels[keep],
    )
    (tmp_path / "videos").mkdir()
    write_shard(shard_path(tmp_path / "videos", 0), part, store.scene)
    paths = dataclasses.replace(stage_paths(tiny_data, tmp_path / "out"), videos=tmp_path / "videos")
    with pytest.raises(UserError, match=message):
        train_baselines.run(PARAMS, paths, silent())
    assert list((tmp_path / "out").iterdir()) == []


def test_forests_see_only_what_they_are_named_for(tiny_data: Path) -> None:
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    tracks.drawn["speed"] = (tracks.label == "linear") + 2.0 * (tracks.label == "circular")  # a leak
    leaking = train_baselines.forests(tracks, 0.25, seed=0)
    assert leaking["nuisance"]["accuracy"] > 0.6
    assert leaking["coordinates"]["accuracy"] >= 0.9
