"""train_predictor, run for real on tiny data coded by an untrained tokenizer."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.prediction.network import DYNAMICS, PredictorParams, load_predictor
from kinetoken.prediction.scores import Scores
from kinetoken.prediction.training import train_predictor as train_on
from kinetoken.scenes.clips import Clips, ClipStore
from kinetoken.scenes.tracks import Tracks
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, save_tokenizer
from kinetoken.training.loop import TrainingParams
from stages import train_predictor
from stages.train_predictor import Paths
from tests.support.numbers import nested

ROOT = Path(__file__).parents[2]
TRAINING = {
    "seed": 1, "epochs": 2, "batch_size": 24, "learning_rate": 0.002, "warmup_fraction": 0.1, "weight_decay": 0.01,
    "gradient_clip": 1.0, "ema_decay": 0.0, "patience": 0,
}
PARAMS = PredictorParams(
    **TRAINING, past_slices=3, future_slices=1, translation=TrainingParams(**TRAINING), width=16, filters=4,
    lstm_width=16, transformer_width=16, muon_learning_rate=0.02, copies=2, copy_scale=(0.9, 1.1), bootstrap=50,
)


LONG = dataclasses.replace(PARAMS, past_slices=1, future_slices=3)
FORECASTERS = set(DYNAMICS)


def stage_paths(coded: Path, data: Path, out: Path) -> Paths:
    for folder in ("models", "metrics", "plots"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    return Paths(
        coded / "codes.parquet", coded / "tokenizer", data / "videos", data / "trajectories.parquet",
        data / "track_params.parquet", out / "models/predictor",
        out / "metrics/train_predictor.json", out / "metrics/train_predictor", out / "plots/numbers.csv",
        out / "plots/curves.csv", out / "plots/horizon.csv",
        out / "plots/predictions.png", out / "models/position",  # none: the predictor learns to read by itself
    )


@pytest.fixture(scope="module")
def done(coded: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(coded, tiny_data, tmp_path_factory.mktemp("out"))
    train_predictor.run(PARAMS, paths, Context.silent())
    return paths


@pytest.fixture(scope="module")
def done_long(coded: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """One slice given, three foretold."""
    paths = stage_paths(coded, tiny_data, tmp_path_factory.mktemp("long"))
    train_predictor.run(LONG, paths, Context.silent())
    return paths


def rewritten(codes: Path, folder: Path, change: CodesTable) -> Path:
    assert codes != folder
    folder.mkdir(parents=True, exist_ok=True)
    write_codes(folder / "codes.parquet", change.meta, [change])
    return folder / "codes.parquet"


@pytest.mark.parametrize("run", ["done", "done_long"])
def test_metrics_hold_the_contract(run: str, request: pytest.FixtureRequest) -> None:
    metrics = nested(request.getfixturevalue(run).numbers)
    assert FORECASTERS <= set(metrics)
    for model in FORECASTERS:
        found = metrics[model]
        for key in ("mse", "mse_ratio_to_reconstruction", "centroid_error_px", "error_over_oracle", "ood_ratio",
                    "missed_rate", "foreground_mse", "velocity_error"):
            assert np.isfinite(found[key]), key
        assert found["centroid_error_px_ci95_low"] <= found["centroid_error_px"] <= found["centroid_error_px_ci95_high"]
        floors = [floor["centroid_error_px"] for floor in metrics["floor"].values()]
        assert found["centroid_error_px_floor"] == min(floors)
        assert found["centroid_error_px_ceiling"] == metrics["true_codes"]["centroid_error_px"]
        expected = found["centroid_error_px"] / metrics["oracle"]["centroid_error_px"]
        assert found["error_over_oracle"] == pytest.approx(expected, rel=1e-4)
        ratio = found["mse"] / metrics["true_codes"]["mse"]
        assert found["mse_ratio_to_reconstruction"] == pytest.approx(ratio, rel=1e-4)
        assert ("teacher_forced" in found) == (run == "done_long")


@pytest.mark.parametrize("run", ["done", "done_long"])
def test_every_class_and_step_has_its_numbers_beside_the_best_floor(run: str, request: pytest.FixtureRequest) -> None:
    paths = request.getfixturevalue(run)
    metrics, horizon = nested(paths.numbers), pd.read_csv(paths.horizon)
    steps = {f"{step:02d}" for step in set(horizon["step"])}
    assert len(steps) == (4 if run == "done" else 12)
    for model in FORECASTERS:
        found = metrics[model]
        assert set(found["per_class"]) == {"linear", "circular", "helical", "parabolic"}
        assert set(found["per_step"]) == steps
        for group in (*found["per_class"].values(), *found["per_step"].values()):
            names = ("centroid_error_px", "velocity_error", "mse", "foreground_mse")
            assert set(group) == {f"{name}{end}" for name in names for end in ("", "_floor")}
        rows = horizon[(horizon["model"] == model) & (horizon["class"] == "all")].set_index("step")
        for step, group in found["per_step"].items():
            for name, value in group.items():
                assert rows.loc[int(step), name] == pytest.approx(value, rel=1e-4)
        classes = [group["centroid_error_px"] for group in found["per_class"].values()]
        assert np.mean(classes) == pytest.approx(found["centroid_error_px"], rel=1e-4)  # as many clips in each
    of_class = horizon[(horizon["class"] == "linear") & (horizon["kind"] == "floor")]
    least = of_class.groupby("model")["centroid_error_px"].mean().min()
    assert metrics["lstm"]["per_class"]["linear"]["centroid_error_px_floor"] == pytest.approx(least, rel=1e-4)


def test_plots_show_every_forecaster_at_every_step(done: Paths) -> None:
    horizon = pd.read_csv(done.horizon)
    assert set(horizon["step"]) == {1, 2, 3, 4}
    assert set(horizon["kind"]) == {"model", "floor", "ceiling", "oracle"}
    assert set(horizon["class"]) == {"all", "linear", "circular", "helical", "parabolic"}
    assert len(horizon) == len(set(horizon["model"])) * 4 * 5
    assert set(horizon.loc[horizon["kind"] == "model", "model"]) == FORECASTERS
    assert set(pd.read_csv(done.curves)["model"]) == {"translation", *DYNAMICS}
    width, height = Image.open(done.pictures).size
    assert width > 12 * 64 and 8 * 64 < height < 9 * 67


def test_the_saved_model_predicts_codes_of_the_codebook(done: Paths) -> None:
    codes = read_codes(done.codes)
    predictor = load_predictor(done.model)
    assert predictor.tokenizer_hash == codes.meta.tokenizer
    ahead = predictor.predict(codes.codes[:5, :3])
    assert ahead.shape == (5, 1, 8, 8) and ahead.min() >= 0 and ahead.max() < 1000


@pytest.mark.parametrize("run", ["done", "done_long"])
def test_the_future_of_test_clips_changes_no_forecast(
    run: str, request: pytest.FixtureRequest, coded: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """With the future slices of test and ood replaced by noise, the model and all that forecasts are the same."""
    done, params = request.getfixturevalue(run), PARAMS if run == "done" else LONG
    table = read_codes(done.codes)
    held_out = np.isin(table.split, ["test", "ood"])
    changed, first = table.codes.copy(), params.past_slices
    changed[held_out, first:] = np.random.default_rng(0).integers(0, 1000, table.codes[held_out, first:].shape)
    codes = rewritten(done.codes, tmp_path, dataclasses.replace(table, codes=changed))
    paths = dataclasses.replace(stage_paths(coded, tiny_data, tmp_path), codes=codes)
    train_predictor.run(params, paths, Context.silent())
    assert hash_path(paths.model) == hash_path(done.model)
    before, after = (
        pd.read_csv(p.horizon).query("kind not in ('ceiling', 'teacher_forced')") for p in (done, paths)
    )
    pd.testing.assert_frame_equal(before, after)
    ceilings = [nested(p.numbers)["true_codes"]["mse"] for p in (done, paths)]
    assert ceilings[0] != ceilings[1], "the future was not replaced"
    for path in ("pictures", "curves"):
        assert getattr(paths, path).read_bytes() == getattr(done, path).read_bytes()


def test_where_test_balls_go_and_what_is_seen_of_it_changes_no_drawing(
    done_long: Paths, coded: Path, tiny_data: Path
) -> None:
    """Pixels and positions of the future are the truth of the scoring and nothing else: no forecast needs them."""
    dataset, predictor = train_predictor.open_dataset(LONG, done_long), load_predictor(done_long.model)
    tracks = dataset.tracks
    foretell = train_predictor.forecasters(predictor)

    def scored(store: ClipStore, tracks: Tracks) -> Scores:
        given = Dataset(codes=dataset.codes, tokenizer=dataset.tokenizer, clips=store, tracks=tracks)
        return Scores(foretell, predictor.shape, given, "test", Context.silent())

    class Noisy(ClipStore):
        def take(self, rows: np.ndarray) -> Clips:
            clips = super().take(rows)
            pixels = clips.pixels.copy()
            pixels[:, 4:] = np.random.default_rng(0).integers(0, 256, pixels[:, 4:].shape)
            return dataclasses.replace(clips, pixels=pixels)

    elsewhere = tracks.points.copy()
    elsewhere[tracks.split == "test", 4:] = [0.1, -0.2, 3.0]
    one = scored(dataset.clips, tracks)
    other = scored(Noisy(done_long.videos), dataclasses.replace(tracks, points=elsewhere))
    assert (one.truth.u != other.truth.u).any() and (one.truth.frames != other.truth.frames).any()
    for name, codes_ahead in one.foretold.items():
        assert np.array_equal(codes_ahead, other.foretold[name])
    for name, (kind, each) in one.named().items():
        same = other.named()[name][1]
        assert np.array_equal(each.u, same.u) and np.array_equal(each.v, same.v), (kind, name)


def test_no_test_track_trains(
    done: Paths, coded: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other codes and other tracks of test and ood, training leaves the same predictor."""
    dataset = train_predictor.open_dataset(PARAMS, done)
    codes, tracks = dataset.codes, dataset.tracks
    held_out = np.isin(codes.split, ["test", "ood"])
    changed, moved = codes.codes.copy(), tracks.points.copy()
    changed[held_out] = np.random.default_rng(1).integers(0, 1000, changed[held_out].shape)
    moved[held_out] = [0.1, -0.2, 3.0]
    predictor = train_predictor.build(PARAMS, codes, dataset.tokenizer, dataset.clips)
    other = Dataset(
        codes=dataclasses.replace(codes, codes=changed), tracks=dataclasses.replace(tracks, points=moved),
        clips=dataset.clips,
    )
    train_on(predictor, other, PARAMS, Context.silent())
    predictor.save(tmp_path / "predictor")
    assert hash_path(tmp_path / "predictor") == hash_path(done.model)


def test_bad_input_is_named_before_training(done: Paths, coded: Path, tiny_data: Path, tmp_path: Path) -> None:
    table = read_codes(done.codes)
    paths = stage_paths(coded, tiny_data, tmp_path / "out")

    def refused(match: str, change: CodesTable | None = None, params: PredictorParams = PARAMS) -> None:
        codes = done.codes if change is None else rewritten(done.codes, tmp_path / "changed", change)
        with pytest.raises(UserError, match=match):
            train_predictor.run(params, dataclasses.replace(paths, codes=codes), Context.silent())

    refused("made by tokenizer", dataclasses.replace(table, meta=dataclasses.replace(table.meta, tokenizer="0" * 64)))
    knowing = load_tokenizer(done.tokenizer)
    save_tokenizer(
        tmp_path / "knowing",
        Tokenizer(dataclasses.replace(knowing.shape, causal=False), knowing.quantizer.params, knowing.image_size),
    )
    with_tokenizer = dataclasses.replace(table.meta, tokenizer=hash_path(tmp_path / "knowing"))
    right, paths = paths, dataclasses.replace(paths, tokenizer=tmp_path / "knowing")
    refused("knowing: trained with causal: false", dataclasses.replace(table, meta=with_tokenizer))
    paths = right
    refused("past_slices 4 and future_slices 1 do not fit", params=dataclasses.replace(PARAMS, past_slices=4))
    refused("past_slices 2 and future_slices 3", params=dataclasses.replace(LONG, past_slices=2))
    no_test = np.where(table.split == "test", "ood", table.split)
    refused("split 'test' is empty", dataclasses.replace(table, split=no_test))
    gone = (table.split == "train") & (table.label == "helical")
    refused("'helical' has no clip", dataclasses.replace(table, split=np.where(gone, "val", table.split)))
    refused("not the tracks", dataclasses.replace(table, track_id=table.track_id[::-1].copy()))
    assert not paths.model.exists()
