"""train_i3d_magvit, run for real on tiny data coded by an untrained tokenizer."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.heads.position import save_position_head
from kinetoken.i3d_magvit.evaluation import Evaluation
from kinetoken.i3d_magvit.network import load_i3d_magvit
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.i3d_magvit.past import in_metres, load_trust
from kinetoken.i3d_magvit.scores import RULES
from kinetoken.i3d_magvit.training import read
from kinetoken.prediction.network import HeadReader
from kinetoken.scenes.clips import ClipStore, shard_path, write_shard
from kinetoken.scenes.paths import to_pixels
from kinetoken.scenes.tracks import read_tracks, write_tracks
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, save_tokenizer
from stages import train_i3d_magvit
from stages.train_i3d_magvit import Paths
from tests.support.i3d_magvit import COMPRESSION, I3D, PARAMS, QUIET, SHAPE, SLOWFAST, position_head, variant
from tests.support.numbers import nested
from tests.support.published_keys import numbers, r3d_18
from tests.support.same_bytes import assert_same_outputs

FLOORS = {*RULES, "regression", "class_mean", "reading_law"}
ROOT = Path(__file__).parents[2]
NUMBERS = ("accuracy", "forecast_mae", "forecast_mae_percent", "forecast_rmse_percent")
CLASSES = {"linear", "circular", "helical", "parabolic"}
PAST, SLICES = 12, 3


def stage_paths(coded: Path, data: Path, out: Path) -> Paths:
    for folder in ("models", "metrics", "plots"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    return Paths(
        data / "videos", coded / "codes.parquet", coded / "tokenizer", data / "trajectories.parquet",
        data / "track_params.parquet", out / "models/i3d_magvit", out / "metrics/train_i3d_magvit.json",
        out / "metrics/train_i3d_magvit", out / "plots/numbers.csv",
        out / "plots/confusion.csv", out / "plots/curves.csv", out / "plots/forecast.csv", out / "plots/forecasts.png",
        out / "plots/paths.png", out / "models/position",  # none: the network learns to read by itself
    )


@pytest.fixture(scope="module")
def done(coded: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(coded, tiny_data, tmp_path_factory.mktemp("out"))
    train_i3d_magvit.run(PARAMS, paths, QUIET)
    return paths


def leaves(node: Any) -> list[Any]:
    return [leaf for value in node.values() for leaf in leaves(value)] if isinstance(node, dict) else [node]


def rewritten_codes(table: CodesTable, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_codes(folder / "codes.parquet", table.meta, [table])
    return folder / "codes.parquet"


def metrics_of(paths: Paths) -> dict[str, Any]:
    return nested(paths.numbers)


# ---- what it leaves


def test_metrics_hold_the_contract(done: Paths) -> None:
    metrics = metrics_of(done)
    assert all(type(value) in (int, float) and np.isfinite(value) for value in leaves(metrics))
    for name in NUMBERS:
        assert {name, f"{name}_floor", f"{name}_ci95_low", f"{name}_ci95_high"} <= set(metrics)
        assert metrics[f"{name}_ci95_low"] <= metrics[name] <= metrics[f"{name}_ci95_high"]
    for found in (metrics, metrics["past"]):
        assert set(found["per_class"]) == CLASSES
        assert np.mean(list(found["per_class"].values())) == pytest.approx(found["accuracy"], abs=1e-5)
        assert found["accuracy_floor"] == 0.25
    assert metrics["forecast_rmse_percent"] >= metrics["forecast_mae_percent"]
    assert set(metrics["floors"]) == FLOORS
    least = min(floor["forecast_mae"] for floor in metrics["floors"].values())
    assert metrics["forecast_mae_floor"] == least
    for name in ("psnr_db", "foreground_psnr_db", "centroid_error_px", "missed_rate"):
        assert {f"frame_{name}{end}" for end in ("", "_floor", "_ceiling")} <= set(metrics)
    assert metrics["backbone"] == {
        "parameters": metrics["backbone"]["parameters"], "pretrained": 0, "reduced": 1
    }
    assert 0 < metrics["backbone"]["parameters"] < metrics["parameters"]


def test_plots_show_every_clip_epoch_and_step(done: Paths) -> None:
    confusion, codes = pd.read_csv(done.confusion), read_codes(done.codes)
    assert confusion["track_id"].tolist() == codes.track_id[codes.split == "test"].tolist()
    assert confusion["actual"].tolist() == codes.label[codes.split == "test"].tolist()
    right = (confusion["actual"] == confusion["predicted"]).mean()
    assert metrics_of(done)["accuracy"] == pytest.approx(right, abs=1e-5)
    curves = pd.read_csv(done.curves)
    assert curves["epoch"].tolist() == [1, 2] and curves.notna().all().all()
    assert {"class", "class_of_past", "place", "forecast", "tokens", "compression", "val_loss"} <= set(curves)
    steps = pd.read_csv(done.forecast)
    assert set(steps["forecast"]) == {"i3d_magvit", *FLOORS}
    assert len(steps) == (1 + len(FLOORS)) * 5 * 4 and set(steps["step"]) == {1, 2, 3, 4}
    mine = steps[(steps["forecast"] == "i3d_magvit") & (steps["class"] == "all")]
    assert mine["distance_m"].mean() == pytest.approx(metrics_of(done)["forecast_distance_m"], rel=1e-4)
    width, height = Image.open(done.frames).size
    assert width > 9 * 3 * 64 and 2 * 4 * 3 * 64 < height < 9 * 3 * 64
    assert Image.open(done.paths).size[0] > 400


def test_the_saved_model_reads_what_was_scored(done: Paths) -> None:
    network, store, codes = load_i3d_magvit(done.model), ClipStore(done.videos), read_codes(done.codes)
    assert network.tokenizer_hash == codes.meta.tokenizer and network.shape.classes == codes.classes
    test = codes.split == "test"
    whole = read(
        network, torch.from_numpy(store.read("test").pixels), torch.from_numpy(codes.codes[test].astype(np.int64))
    )
    named = np.array(codes.classes)[whole.logits.argmax(1)]
    assert named.tolist() == pd.read_csv(done.confusion)["predicted"].tolist()


def test_what_each_stream_says_alone_is_scored(done: Paths) -> None:
    """Classes with the frames left open; places by the frames alone, beside the training clips' mean place."""
    network, store, codes = load_i3d_magvit(done.model), ClipStore(done.videos), read_codes(done.codes)
    tracks, test, metrics = read_tracks(done.trajectories, done.track_params), codes.split == "test", metrics_of(done)
    tokens = torch.from_numpy(codes.codes[test].astype(np.int64))
    bare, whole = read(network, None, tokens), read(network, torch.from_numpy(store.read("test").pixels), tokens)
    right = (bare.logits.argmax(1) == codes.target[test]).mean()
    assert metrics["without_frames"]["accuracy"] == pytest.approx(right, abs=1e-5)
    assert metrics["without_frames"]["accuracy_floor"] == 0.25 and bare.located is None and whole.located is not None
    u, v, _ = store.scene.camera.project(tracks.points)
    middle = np.stack([u, v], -1)  # (N, T, 2) px
    found = np.stack(to_pixels(whole.located, store.shape[1])[:2], -1)
    mean = middle[codes.split == "train"].mean(0)
    for name, each in (("place_px", found), ("place_px_floor", mean)):
        away = np.linalg.norm(each - middle[test], axis=-1).mean()
        assert metrics["frames_alone"][name] == pytest.approx(away, rel=1e-4)


def test_the_model_says_how_far_its_readings_are_off_on_validation_clips(done: Paths) -> None:
    network, store, codes = load_i3d_magvit(done.model), ClipStore(done.videos), read_codes(done.codes)
    tracks, val = read_tracks(done.trajectories, done.track_params), codes.split == "val"
    told = read(
        network, torch.from_numpy(store.read("val").pixels[:, :PAST].copy()),
        torch.from_numpy(codes.codes[val, :SLICES].astype(np.int64)),
    )
    found = in_metres(told.path, store.scene)
    truth = tracks.points[val, :PAST]
    u, v, _ = store.scene.camera.project(found)
    true_u, true_v, _ = store.scene.camera.project(truth)
    trust = load_trust(done.model)
    assert trust.px == pytest.approx(np.sqrt(np.mean([(u - true_u) ** 2, (v - true_v) ** 2])), rel=1e-4)
    assert trust.depth_fraction == pytest.approx(np.sqrt(((found[..., 2] / truth[..., 2] - 1) ** 2).mean()), rel=1e-4)
    assert metrics_of(done)["sigma"]["px"] == pytest.approx(trust.px, rel=1e-4)
    assert 0.2 <= trust.temperature <= 5


def test_the_position_head_reads_where_there_is_one(
    coded: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage takes it, leaves it as it is, and saves it with the network; a head on other codes is refused."""
    monkeypatch.setattr(Evaluation, "draw", lambda *_: None)
    codes, paths = read_codes(coded / "codes.parquet"), stage_paths(coded, tiny_data, tmp_path)
    head = position_head(Codebook.of(load_tokenizer(coded / "tokenizer")).vectors, dataclasses.replace(
        SHAPE, grid=codes.meta.grid, image_size=64
    ))
    save_position_head(paths.position, head, codes.meta.tokenizer, {"px": [0.1], "depth_fraction": [0.01]})
    train_i3d_magvit.run(dataclasses.replace(PARAMS, epochs=1), paths, QUIET)
    reader = load_i3d_magvit(paths.model).reader
    assert isinstance(reader, HeadReader)
    kept = reader.head.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in head.state_dict().items())
    save_position_head(tmp_path / "other", head, "0" * 64, {"px": [0.1], "depth_fraction": [0.01]})
    with pytest.raises(UserError, match="other belongs to 000000000000"):
        train_i3d_magvit.run(PARAMS, dataclasses.replace(paths, position=tmp_path / "other"), QUIET)


# ---- what it may know


def test_the_future_of_test_clips_changes_no_forecast(
    done: Paths, coded: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """Noise for frames 12–15 and slice 4 of test and ood: the model, forecasts, next tokens and class of the past are
    the same; the class of whole clips is not read from the same numbers."""
    table, store = read_codes(done.codes), ClipStore(done.videos)
    held_out, draw = np.isin(table.split, ["test", "ood"]), np.random.default_rng(0)
    codes = table.codes.copy()
    codes[held_out, SLICES:] = draw.integers(0, 1000, codes[held_out, SLICES:].shape)
    clips = store.read()
    pixels = clips.pixels.copy()
    pixels[held_out, PAST:] = draw.integers(0, 256, pixels[held_out, PAST:].shape)
    (tmp_path / "videos").mkdir()
    write_shard(shard_path(tmp_path / "videos", 0), dataclasses.replace(clips, pixels=pixels), store.scene)
    paths = dataclasses.replace(
        stage_paths(coded, tiny_data, tmp_path), videos=tmp_path / "videos",
        codes=rewritten_codes(dataclasses.replace(table, codes=codes), tmp_path),
    )
    train_i3d_magvit.run(PARAMS, paths, QUIET)
    assert_same_outputs(paths, done, ("model", "curves", "forecast", "paths"))
    before, after = metrics_of(done), metrics_of(paths)
    same = {key for key in before if key.startswith(("forecast_", "sigma", "past", "floors"))}
    assert len(same) > 20 and all(before[key] == after[key] for key in same)
    assert before["frame_psnr_db_ceiling"] != after["frame_psnr_db_ceiling"], "the future was not replaced"
    network, readings = load_i3d_magvit(done.model), []
    for frames, tokens in ((clips.pixels, table.codes), (pixels, codes)):
        rows = torch.from_numpy(frames[held_out]), torch.from_numpy(tokens[held_out].astype(np.int64))
        readings.append((read(network, rows[0][:, :PAST], rows[1][:, :SLICES], tokens=True), read(network, *rows)))
    for field in ("logits", "embedding", "path", "ahead", "codes"):
        one, other = (np.asarray(getattr(told, field)) for told, _ in readings)
        assert np.array_equal(one, other), field
    assert not np.array_equal(readings[0][1].logits, readings[1][1].logits)


def test_where_test_balls_went_changes_no_model(done: Paths, coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The truth of test and ood is the truth of the scoring and nothing else."""
    tracks = read_tracks(done.trajectories, done.track_params)
    held_out, moved = np.isin(tracks.split, ["test", "ood"]), tracks.points.copy()
    moved[held_out] += np.linspace(0, 0.2, moved.shape[1])[:, None]
    tables = tmp_path / "trajectories.parquet", tmp_path / "track_params.parquet"
    write_tracks(dataclasses.replace(tracks, points=moved), *tables)
    paths = dataclasses.replace(
        stage_paths(coded, tiny_data, tmp_path), trajectories=tables[0], track_params=tables[1]
    )
    train_i3d_magvit.run(PARAMS, paths, QUIET)
    assert_same_outputs(paths, done, ("model", "curves", "confusion"))
    before, after = metrics_of(done), metrics_of(paths)
    assert before["forecast_mae"] != after["forecast_mae"] and before["accuracy"] == after["accuracy"]


# ---- again, and in other ways


@pytest.mark.parametrize("name", ["unquantized", "no_tokens", "no_transformer", "slowfast", "frozen"])
def test_every_variant_runs_to_its_numbers(
    name: str, coded: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluation, "draw", lambda *_: None)
    paths = stage_paths(coded, tiny_data, tmp_path)
    params = dataclasses.replace(variant(name), epochs=1)
    train_i3d_magvit.run(params, paths, QUIET)
    metrics = metrics_of(paths)
    assert set(NUMBERS) <= set(metrics) and all(np.isfinite(value) for value in leaves(metrics))
    assert load_i3d_magvit(paths.model).params == params


def test_the_project_s_own_section_is_read_and_is_the_network_that_it_says() -> None:
    params = load_params(ROOT / "params.yaml", "train_i3d_magvit", I3DMagvitParams)
    assert params.backbone.name == "i3d" and params.compression.quantize and params.tokens
    assert (params.compression.size, params.embedding) == (256, 512)
    assert params.temporal.kind == "transformer" and params.forecast.past_slices == SLICES


# ---- faults of the input


def test_bad_input_is_named_before_training(
    done: Paths, coded: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_codes(done.codes)
    monkeypatch.setattr(train_i3d_magvit, "train_network", lambda *_: pytest.fail("it went on to training"))
    paths = stage_paths(coded, tiny_data, tmp_path / "out")

    def refused(match: str, change: CodesTable | None = None, **params: Any) -> None:
        codes = done.codes if change is None else rewritten_codes(change, tmp_path / "changed")
        with pytest.raises(UserError, match=match):
            train_i3d_magvit.run(
                dataclasses.replace(PARAMS, **params), dataclasses.replace(paths, codes=codes), QUIET
            )

    refused("made by tokenizer", dataclasses.replace(table, meta=dataclasses.replace(table.meta, tokenizer="0" * 64)))
    knowing = load_tokenizer(done.tokenizer)
    save_tokenizer(
        tmp_path / "knowing",
        Tokenizer(dataclasses.replace(knowing.shape, causal=False), knowing.quantizer.params, knowing.image_size),
    )
    right, paths = paths, dataclasses.replace(paths, tokenizer=tmp_path / "knowing")
    with_tokenizer = dataclasses.replace(table.meta, tokenizer=hash_path(tmp_path / "knowing"))
    refused("knowing: trained with causal: false", dataclasses.replace(table, meta=with_tokenizer))
    paths = right
    refused("not the tracks", dataclasses.replace(table, track_id=table.track_id[::-1].copy()))
    no_test = np.where(table.split == "test", "ood", table.split)
    refused("split 'test' is empty", dataclasses.replace(table, split=no_test))
    gone = (table.split == "train") & (table.label == "helical")
    refused("'helical' has no clip in split 'train'",
            dataclasses.replace(table, split=np.where(gone, "val", table.split)))
    for slices in (4, 5):
        refused(f"past_slices: {slices} of 4 slices leave no future",
                forecast=dataclasses.replace(PARAMS.forecast, past_slices=slices))
    refused("clips of 64 pixels cannot be averaged to 24", backbone=dataclasses.replace(I3D, image_size=24))
    refused("slowfast makes 2 steps of 16 frames, which do not go", backbone=dataclasses.replace(SLOWFAST, alpha=8))
    torch.save(numbers(r3d_18(2, (1, 1, 1, 1), 5)), tmp_path / "r3d.pth")
    refused("it holds torchvision r3d_18", backbone=dataclasses.replace(I3D, checkpoint=str(tmp_path / "r3d.pth")))
    refused("none.pyth: no such file", backbone=dataclasses.replace(I3D, checkpoint=str(tmp_path / "none.pyth")))
    assert not paths.model.exists() and hash_path(done.model)


def test_codes_with_other_splits_than_the_clips_are_refused(
    done: Paths, coded: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_i3d_magvit, "train_network", lambda *_: pytest.fail("it went on to training"))
    table = read_codes(done.codes)
    split = table.split.copy()
    swapped = [np.flatnonzero((split == name) & (table.label == "linear"))[0] for name in ("train", "val")]
    split[swapped] = split[swapped[::-1]]
    codes = rewritten_codes(dataclasses.replace(table, split=split), tmp_path / "changed")
    with pytest.raises(UserError, match="videos: track .* has split 'train', but 'val' in"):
        train_i3d_magvit.run(
            PARAMS, dataclasses.replace(stage_paths(coded, tiny_data, tmp_path), codes=codes), QUIET
        )


@pytest.mark.parametrize(("key", "value", "message"), [
    ("backbone", {"name": "x3d"}, r"train_i3d_magvit\.backbone\.name: must be one of i3d, i3d_causal, slowfast"),
    ("backbone", {**dataclasses.asdict(I3D), "alpha": 4}, r"train_i3d_magvit\.backbone\.alpha: unknown key"),
    ("compression", {**dataclasses.asdict(COMPRESSION), "kind": "fsq"}, r"compression\.kind: must be one of vq, simvq"),
])
def test_wrong_sections_are_named(tmp_path: Path, key: str, value: dict[str, Any], message: str) -> None:
    section = json.loads(json.dumps({**dataclasses.asdict(PARAMS), key: value}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train_i3d_magvit": section}), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml", "train_i3d_magvit", I3DMagvitParams)
