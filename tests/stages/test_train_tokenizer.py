"""The stage trains a small tokenizer for real, scores it, and leaves everything that follows needs."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from kinetoken.codes import read_codes
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import Context
from kinetoken.scenes.clips import Clips, ClipStore, write_shard
from kinetoken.scenes.tracks import read_tracks, write_tracks
from kinetoken.tokenizer.losses import LossParams
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer
from kinetoken.tokenizer.quantizers import QUANTIZERS
from kinetoken.tokenizer.training_clips import (
    AugmentationParams,
    ClipBatches,
    TokenizerParams,
    WindowParams,
    static_background,
    training_step,
    validation,
)
from kinetoken.training.loop import Batch, Step, fit
from kinetoken.training.muon import muon_and_adamw
from stages import extract_codes
from stages.train_tokenizer import Paths, run
from tests.support.pictures import places_of
from tests.support.quantizers import FSQ, quantizer_params

PARAMS = TokenizerParams(
    seed=1, epochs=14, batch_size=8, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.8, patience=0, validation_clips=8, muon_learning_rate=0.02, cpu_precision="auto",
    network=NetworkParams(
        stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=32, coarse_blocks=1,
    ),
    quantizer=FSQ,
    loss=LossParams(foreground=10.0, saturation=0.2, margin=3, colour=4.0),
    windows=WindowParams(size=32, share=0.5),
    augmentation=AugmentationParams(
        other_ball=0.1, shapes=0.1, background=0.1, noise=0.1, brightness=0.3, texture=0.05, noise_std=0.05
    ),
)


def paths(data: Path, folder: Path) -> Paths:
    return Paths(
        data / "videos", data / "trajectories.parquet", data / "track_params.parquet", folder / "model",
        folder / "metrics.json", folder / "headlines", folder / "numbers.csv", folder / "curves.csv",
        folder / "reconstructions.png",
    )


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    where = paths(tiny_data, tmp_path_factory.mktemp("trained"))
    run(PARAMS, where, Context.silent())
    return where


def test_metrics_have_floors_and_intervals(trained: Paths) -> None:
    metrics = read_numbers(trained.numbers)
    for name in ("psnr_db", "foreground_psnr_db", "centroid_error_px", "radius_error_px", "missed_rate"):
        assert {name, f"{name}_floor", f"{name}_ci95_low", f"{name}_ci95_high"} <= set(metrics)
    assert metrics["foreground_psnr_db"] > metrics["foreground_psnr_db_floor"] + 0.5  # it does learn
    assert 0 < metrics["centroid_error_px_ceiling"] < 0.2


def test_the_model_rebuilds_from_its_folder(trained: Paths) -> None:
    tokenizer = load_tokenizer(trained.model)
    assert (tokenizer.shape, tokenizer.quantizer.params) == (PARAMS.network, PARAMS.quantizer)
    assert tokenizer.image_size == 64
    store = ClipStore(trained.videos)
    np.testing.assert_allclose(tokenizer.background.numpy(), store.scene.background(), atol=0.01)
    codes = tokenizer.encode(torch.from_numpy(store.read("test").pixels))
    assert codes.shape == (24, 4, 8, 8) and len(codes.unique()) > 4


def test_plots(trained: Paths) -> None:
    curves = pd.read_csv(trained.curves)
    assert curves["epoch"].tolist() == list(range(1, PARAMS.epochs + 1)) and set(curves["model"]) == {"tokenizer"}
    assert curves["val_loss"].iloc[-1] < curves["val_loss"].iloc[0]
    image = Image.open(trained.reconstructions)
    assert image.width > 2 * image.height > 0 and not image.info
    first = ClipStore(trained.videos).read("test")
    shown = first.pixels[np.flatnonzero(first.label == "circular")[0], 0].repeat(2, 0).repeat(2, 1)
    [(row, column)] = places_of(trained.reconstructions, shown)
    assert row < 80 and column < 200, "the original stands first, in the upper row"


def test_twice_the_same_bytes(tiny_data: Path, tmp_path: Path) -> None:
    short = dataclasses.replace(PARAMS, epochs=1)
    for name in ("a", "b"):
        run(short, paths(tiny_data, tmp_path / name), Context.silent())
    assert hash_path(tmp_path / "a") == hash_path(tmp_path / "b")


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_each_quantizer_trains_and_its_codes_read_back(kind: str, tiny_data: Path, tmp_path: Path) -> None:
    where = paths(tiny_data, tmp_path)
    run(dataclasses.replace(PARAMS, epochs=1, quantizer=quantizer_params(kind)), where, Context.silent())
    assert (pd.read_csv(where.curves)["quantizer"] != 0).all() == (kind != "fsq")
    extraction = extract_codes.Paths(
        where.videos, where.model, tmp_path / "codes.parquet", tmp_path / "codes.json", tmp_path / "codes",
        tmp_path / "codes.csv",
    )
    extract_codes.run(extract_codes.Extraction(batch_size=8), extraction, Context.silent())
    table, tokenizer = read_codes(tmp_path / "codes.parquet"), load_tokenizer(where.model)
    assert (table.meta.quantizer, table.meta.codebook_size) == (kind, 1000 if kind == "fsq" else 64)
    clips = torch.from_numpy(ClipStore(where.videos).read().pixels[:8])
    quantized, indices, _ = tokenizer.quantize(tokenizer.latents(clips))
    np.testing.assert_array_equal(table.codes[:8], indices.numpy())
    torch.testing.assert_close(tokenizer.codes_to_latents(indices), quantized, atol=1e-5, rtol=0)


def test_the_contrastive_term_is_trained_when_asked_for(trained: Paths, tiny_data: Path, tmp_path: Path) -> None:
    assert "contrastive" not in pd.read_csv(trained.curves).columns
    params = dataclasses.replace(PARAMS, epochs=2, quantizer=dataclasses.replace(FSQ, contrastive=1.0))
    run(params, paths(tiny_data, tmp_path), Context.silent())
    contrastive = pd.read_csv(tmp_path / "curves.csv")["contrastive"]
    assert contrastive.iloc[1] < 0.9 * contrastive.iloc[0]


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_training_starts_without_quantizing_when_asked_to(kind: str, tiny_data: Path, tmp_path: Path) -> None:
    """The quantizer has no loss in those epochs, none of them is the best, and what is saved quantizes."""
    params = dataclasses.replace(PARAMS, epochs=3, unquantized_epochs=2, quantizer=quantizer_params(kind))
    run(params, paths(tiny_data, tmp_path), Context.silent())
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert (curves["quantizer"] != 0).tolist() == [False, False, kind != "fsq"]
    assert read_numbers(tmp_path / "numbers.csv")["best_epoch"] == 3
    tokenizer = load_tokenizer(tmp_path / "model")
    clips = torch.from_numpy(ClipStore(tiny_data / "videos").read("test").pixels)
    codes = tokenizer.encode(clips)
    assert len(codes.unique()) > 1
    if kind == "vq":  # its codebook started from latents, not from 0
        assert tokenizer.quantizer.codes(torch.arange(64).reshape(1, 1, 8, 8)).abs().min() > 0


def test_the_whole_of_training_cannot_go_without_quantizing() -> None:
    with pytest.raises(ValueError, match="unquantized_epochs: must be fewer than the 14 epochs, found 14"):
        dataclasses.replace(PARAMS, unquantized_epochs=14)


class Crash(Exception):
    pass


@pytest.mark.parametrize("unquantized_epochs", [0, 1, 2])
def test_a_killed_vq_run_goes_on_to_the_same_weights(
    unquantized_epochs: int, tiny_data: Path, tmp_path: Path
) -> None:
    """The codebook's sums, counts and flag, the codes that moved and the average of the weights all come back."""
    pixels = ClipStore(tiny_data / "videos").read("train", limit=16).pixels
    background = static_background(pixels)
    params = dataclasses.replace(
        PARAMS, epochs=3, unquantized_epochs=unquantized_epochs, quantizer=quantizer_params("vq")
    )
    step = training_step(params)
    validate = validation(pixels[:8], background, params.loss)

    def trained_with(step: Step, checkpoints: Path) -> Tokenizer:
        torch.manual_seed(params.seed)
        tokenizer = Tokenizer(params.network, params.quantizer, 64)
        context = dataclasses.replace(Context.silent(), checkpoints=checkpoints)
        fit(
            tokenizer, step, ClipBatches(pixels, background, params.windows, params.unquantized_share), params,
            context, validate=validate, monitor="val_loss", monitor_from=unquantized_epochs,
            optimizers=muon_and_adamw(params),
        )
        return tokenizer

    calls = 0

    def crashing(module: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        nonlocal calls
        calls += 1
        if calls == 6:  # in the third epoch of two steps
            raise Crash
        return step(module, batch)

    whole = trained_with(step, tmp_path / "whole").state_dict()
    with pytest.raises(Crash):
        trained_with(crashing, tmp_path / "killed")
    resumed = trained_with(crashing, tmp_path / "killed").state_dict()
    assert calls == 6 + 2
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


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
    with pytest.raises(UserError, match="clips of 14 frames, but tracks of 16"):
        run(PARAMS, where, Context.silent())
    tracks = read_tracks(where.trajectories, where.track_params)
    tables = tmp_path / "trajectories.parquet", tmp_path / "track_params.parquet"
    world = dataclasses.replace(tracks.world, num_frames=14)
    write_tracks(dataclasses.replace(tracks, world=world, points=tracks.points[:, :14]), *tables)
    where = dataclasses.replace(where, trajectories=tables[0], track_params=tables[1])
    with pytest.raises(UserError, match="14 frames, the tokenizer needs a multiple of 4"):
        run(PARAMS, where, Context.silent())
