"""The stage trains a small tokenizer for real, scores it, and leaves everything that follows needs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from kinetoken.artifacts import hash_path
from kinetoken.clips import Clips, ClipStore, write_shard
from kinetoken.errors import UserError
from kinetoken.stage import Context
from kinetoken.tokenizer.losses import LossParams
from kinetoken.tokenizer.network import NetworkParams, load_tokenizer
from kinetoken.tokenizer.training_clips import AugmentationParams, TokenizerParams
from stages.train_tokenizer import Paths, run

PARAMS = TokenizerParams(
    seed=1, epochs=14, batch_size=8, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.8, patience=0, validation_clips=8,
    network=NetworkParams(
        stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=32, coarse_blocks=1,
        quantizer="fsq", levels=(8, 5, 5, 5), codebook_size=64, code_dim=4,
    ),
    loss=LossParams(foreground=10.0, saturation=0.2, colour=4.0, quantizer=1.0),
    augmentation=AugmentationParams(
        other_ball=0.1, shapes=0.1, background=0.1, noise=0.1, brightness=0.3, texture=0.05, noise_std=0.05
    ),
)


def paths(data: Path, folder: Path) -> Paths:
    return Paths(
        data / "videos", data / "trajectories.parquet", data / "track_params.parquet", folder / "model",
        folder / "metrics.json", folder / "curves.csv", folder / "reconstructions.png",
    )


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    where = paths(tiny_data, tmp_path_factory.mktemp("trained"))
    run(PARAMS, where, Context.silent())
    return where


def test_metrics_have_floors_and_intervals(trained: Paths) -> None:
    metrics = json.loads(trained.metrics.read_text())
    for name in ("psnr_db", "foreground_psnr_db", "centroid_error_px", "radius_error_px", "missed_rate"):
        assert {name, f"{name}_floor", f"{name}_ci95_low", f"{name}_ci95_high"} <= set(metrics)
    assert metrics["foreground_psnr_db"] > metrics["foreground_psnr_db_floor"] + 0.5  # it does learn
    assert 0 < metrics["centroid_error_px_ceiling"] < 0.2


def test_the_model_rebuilds_from_its_folder(trained: Paths) -> None:
    tokenizer = load_tokenizer(trained.model)
    assert tokenizer.shape == PARAMS.network and tokenizer.image_size == 64
    store = ClipStore(trained.videos)
    np.testing.assert_allclose(tokenizer.background.numpy(), store.scene.background(), atol=0.01)
    codes = tokenizer.encode(torch.from_numpy(store.read("test").pixels))
    assert codes.shape == (24, 4, 8, 8) and len(codes.unique()) > 4


def test_plots(trained: Paths) -> None:
    curves = pd.read_csv(trained.curves)
    assert curves["epoch"].tolist() == list(range(1, PARAMS.epochs + 1)) and set(curves["model"]) == {"tokenizer"}
    assert curves["val_loss"].iloc[-1] < curves["val_loss"].iloc[0]
    image = Image.open(trained.reconstructions)
    assert image.size == (6 * 64 * 2, 4 * 2 * 2 * 64 * 2) and not image.info
    rows = np.asarray(image)
    first = ClipStore(trained.videos).read("test")
    shown = first.pixels[np.flatnonzero(first.label == "circular")[0], 0]
    np.testing.assert_array_equal(rows[:128:2, :128:2], shown)  # the original stands above


def test_twice_the_same_bytes(tiny_data: Path, tmp_path: Path) -> None:
    short = dataclasses.replace(PARAMS, epochs=1)
    for name in ("a", "b"):
        run(short, paths(tiny_data, tmp_path / name), Context.silent())
    assert hash_path(tmp_path / "a") == hash_path(tmp_path / "b")


@pytest.mark.parametrize("quantizer", ["lfq", "vq", "simvq"])
def test_other_quantizers_train(quantizer: str, tiny_data: Path, tmp_path: Path) -> None:
    network = dataclasses.replace(PARAMS.network, quantizer=quantizer)
    run(dataclasses.replace(PARAMS, epochs=1, network=network), paths(tiny_data, tmp_path), Context.silent())
    tokenizer = load_tokenizer(tmp_path / "model")
    clips = torch.from_numpy(ClipStore(tiny_data / "videos").read("val", limit=4).pixels)
    quantized, indices, _ = tokenizer.quantize(tokenizer.latents(clips))
    torch.testing.assert_close(tokenizer.codes_to_latents(indices), quantized, atol=1e-5, rtol=0)
    assert (tokenizer.quantizer_name, tokenizer.codebook_size) == (quantizer, 64)


def test_faults_of_the_videos_are_named(tiny_data: Path, tmp_path: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    clips = store.read("train")
    (tmp_path / "videos").mkdir()
    write_shard(tmp_path / "videos" / "part-00000.parquet", clips, store.scene)
    where = dataclasses.replace(paths(tiny_data, tmp_path), videos=tmp_path / "videos")
    with pytest.raises(UserError, match="split 'val' is empty"):
        run(PARAMS, where, Context.silent())
    everything = store.read()
    cut = Clips(everything.track_id, everything.label, everything.split, everything.pixels[:, :14], everything.fps)
    write_shard(tmp_path / "videos" / "part-00000.parquet", cut, store.scene)
    with pytest.raises(UserError, match="14 frames, the tokenizer needs a multiple of 4"):
        run(PARAMS, where, Context.silent())
