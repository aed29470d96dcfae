"""The data curve: its params and pipeline against the code, its readers run for real on tiny data."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.stage import CPU, Context, Hardware
from kinetoken.footage.folder import VideoDataset
from kinetoken.heads.classifier import ClassifierParams
from kinetoken.heads.video_classifier import BaselinesParams
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from stages.extract_codes import Extraction
from studies.data_curve import draw, measure
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/data_curve"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
NETWORK = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=8, coarse_blocks=0)


@pytest.fixture(scope="module")
def curve() -> measure.Curve:
    return load_params(PARAMS, "data_curve", measure.Curve)


# ---- params and pipeline


def test_the_data_are_the_main_pipelines_with_more_to_train_on(curve: measure.Curve) -> None:
    load_params(PARAMS, "hardware", Hardware)
    load_params(PARAMS, "extract_codes", Extraction)
    ours = load_params(PARAMS, "generate_trajectories", Trajectories)
    main = load_params(ROOT / "params.yaml", "generate_trajectories.motion", Trajectories)
    assert dataclasses.replace(ours, counts=main.counts) == main
    assert (ours.counts.val, ours.counts.test) == (main.counts.val, main.counts.test)
    assert ours.counts.train == max(curve.sizes) and main.counts.train in curve.sizes
    rendering = load_params(ROOT / "params.yaml", "render_videos.motion", VideoDataset)
    assert load_params(PARAMS, "render_videos", VideoDataset) == dataclasses.replace(rendering, processes=1)
    small = dataclasses.replace(ours.counts, train=8, val=4, test=4)
    one = draw_tracks(dataclasses.replace(ours, counts=small))
    other = draw_tracks(dataclasses.replace(ours, counts=dataclasses.replace(small, train=16)))
    np.testing.assert_array_equal(one.points[one.split == "test"], other.points[other.split == "test"])
    np.testing.assert_array_equal(one.points[one.split == "train"], other.points[other.split == "train"][:8])


def test_the_readers_are_the_main_pipelines_trained_more_shortly(curve: measure.Curve) -> None:
    codes = load_params(ROOT / "params.yaml", "train_classifier", ClassifierParams)
    codes = dataclasses.replace(codes, poolings=("soft_argmax",), augment=())
    pixels = load_params(ROOT / "params.yaml", "train_baselines", BaselinesParams)
    for ours, main in ((curve.codes, codes), (curve.pixels, pixels)):
        assert ours.least_steps == 0, "the study repeats clips itself"
        assert dataclasses.replace(ours, epochs=main.epochs, least_steps=main.least_steps) == main
    assert list(measure.READERS) == STAGES["data_curve_measure"]["foreach"]
    assert load_params(PARAMS, "data_curve_table", draw.Readers).readers == tuple(measure.READERS)


def test_every_size_takes_as_many_steps(curve: measure.Curve) -> None:
    for params in (curve.pixels, curve.codes):
        steps = {
            params.epochs // curve.longer(size) * (size * curve.repeats(size) // params.batch_size)
            for size in curve.sizes
        }
        assert len(steps) == 1
    with pytest.raises(ValueError, match="sizes: 1000 does not divide epoch_clips, 4800"):
        dataclasses.replace(curve, sizes=(1000,))
    with pytest.raises(ValueError, match="pixels.epochs: 6 cannot be shared out for 19200 clips"):
        dataclasses.replace(curve, sizes=(19200,))


# ---- the readers, for real


@pytest.fixture(scope="module")
def tiny(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> measure.Paths:
    """The tiny clips coded by an untrained tokenizer."""
    folder = tmp_path_factory.mktemp("curve")
    torch.manual_seed(0)
    save_tokenizer(folder / "tokenizer", Tokenizer(NETWORK, FSQ, 64))
    tokenizer = load_tokenizer(folder / "tokenizer")
    clips = ClipStore(tiny_data / "videos").read()
    codes = tokenizer.encode(torch.from_numpy(clips.pixels)).numpy().astype(np.int32)
    meta = CodesMeta((4, 8, 8), 1000, "fsq", (8, 5, 5, 5), tokenizer.hash)
    write_codes(folder / "codes.parquet", meta, [CodesTable(clips.track_id, clips.label, clips.split, codes, meta)])
    return measure.Paths(
        tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet", tiny_data / "videos",
        folder / "codes.parquet", folder / "tokenizer", folder / "rows.csv",
    )


@pytest.fixture(scope="module")
def small(curve: measure.Curve) -> measure.Curve:
    return measure.Curve(
        sizes=(12, 48), epoch_clips=24, seed=0,
        pixels=dataclasses.replace(curve.pixels, epochs=2, batch_size=8),
        codes=dataclasses.replace(curve.codes, epochs=2, batch_size=8, channels=6, blocks=1, maps=2, width=16),
    )


@pytest.mark.parametrize("reader", sorted(measure.READERS))
def test_a_reader_leaves_a_row_a_size(small: measure.Curve, tiny: measure.Paths, reader: str, tmp_path: Path) -> None:
    paths = dataclasses.replace(tiny, reader=reader, rows=tmp_path / "rows.csv")
    measure.run(small, paths, SILENT)
    rows = pd.read_csv(paths.rows)
    assert rows["clips"].tolist() == [12, 48] and set(rows["reader"]) == {reader}
    assert (rows["accuracy_floor"] == 0.25).all()
    assert ((rows["accuracy_ci95_low"] <= rows["accuracy"]) & (rows["worst_class"] <= rows["accuracy"])).all()
    if reader == "coordinates":
        assert rows["accuracy"].iloc[-1] > 0.8


def test_only_the_first_clips_are_trained_on(
    small: measure.Curve, tiny: measure.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as often as an epoch has room for, with all validation clips and no test clip; a checkpoint a size."""
    seen = []

    def fake(params: ClassifierParams, pooling: str, codes: CodesTable, *rest: object) -> tuple[object, None]:
        seen.append((params.epochs, codes, rest[-1].checkpoints))

        class Head:
            def log_probabilities(self, codes: np.ndarray) -> np.ndarray:
                return np.eye(4)[np.zeros(len(codes), int)]

        return Head(), None

    monkeypatch.setattr(measure, "train_head", fake)
    context = dataclasses.replace(SILENT, checkpoints=Path("none"))
    reader = measure.from_codes(small, tiny, context)
    assert reader.right(12).mean() == 0.25
    reader.right(48)
    every = read_codes(tiny.codes)
    train, val = every.track_id[every.split == "train"], every.track_id[every.split == "val"]
    for (epochs, codes, checkpoints), size, repeats, expected in zip(seen, (12, 48), (2, 1), (2, 1), strict=True):
        assert epochs == expected and checkpoints == Path("none") / str(size)
        assert codes.track_id[codes.split == "train"].tolist() == np.repeat(train[:size], repeats).tolist()
        assert codes.track_id[codes.split == "val"].tolist() == val.tolist()
        assert set(codes.split) == {"train", "val"}


def test_bad_sizes_and_readers_are_refused_before_training(small: measure.Curve, tiny: measure.Paths) -> None:
    with pytest.raises(UserError, match="96 clips, but the training split has 48"):
        measure.run(dataclasses.replace(small, sizes=(12, 96), codes=dataclasses.replace(small.codes, epochs=4),
                                        pixels=dataclasses.replace(small.pixels, epochs=4)), tiny, SILENT)
    with pytest.raises(UserError, match="first 2 training clips hold none of class"):
        measure.run(dataclasses.replace(small, sizes=(2,)), tiny, SILENT)
    with pytest.raises(UserError, match="--reader: no 'sound'; known are coordinates, pixels, codes"):
        measure.run(small, dataclasses.replace(tiny, reader="sound"), SILENT)
    assert not tiny.rows.exists()


# ---- the plot


@pytest.fixture
def measured(tmp_path: Path) -> draw.Paths:
    (tmp_path / "measured").mkdir()
    for reader, values in (("coordinates", (1.0, 1.0)), ("codes", (0.5, 0.95))):
        pd.DataFrame({
            "reader": reader, "clips": [240, 7680], "accuracy": values, "accuracy_ci95_low": np.array(values) - 0.02,
            "accuracy_ci95_high": np.minimum(np.array(values) + 0.02, 1), "accuracy_floor": 0.25,
            "worst_class": np.array(values) - 0.1,
        }).to_csv(tmp_path / "measured" / f"{reader}.csv", index=False)
    return draw.Paths(
        tmp_path / "measured", tmp_path / "m.json", tmp_path / "table.md", tmp_path / "curve.csv",
        tmp_path / "curve.png",
    )


def test_the_table_and_the_plot_hold_what_was_measured(
    measured: draw.Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    draw.run(draw.Readers(("coordinates", "codes")), measured, SILENT)
    text = measured.table.read_text()
    assert text in capsys.readouterr().out
    assert text.splitlines()[3] == "| 7,680 | 100.0 (98.0–100.0) | 95.0 (93.0–97.0) |"
    assert text.splitlines()[4] == "| floor: the most frequent class | 25.0 | 25.0 |"
    assert json.loads(measured.metrics.read_text())["codes"]["240"]["accuracy"] == 0.5
    assert len(pd.read_csv(measured.curve)) == 4
    first = measured.picture.read_bytes()
    draw.run(draw.Readers(("coordinates", "codes")), measured, SILENT)
    assert measured.picture.read_bytes() == first and Image.open(measured.picture).size[0] > 400


def test_a_reader_that_was_not_measured_is_named(measured: draw.Paths) -> None:
    with pytest.raises(UserError, match="pixels.csv: no such file"):
        draw.run(draw.Readers(("pixels",)), measured, SILENT)
