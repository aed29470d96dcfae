"""A small untrained model of every kind, on codes of one small tokenizer, and clips as files for them."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import pandas as pd
import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.params import load_params
from kinetoken.generation.gaussian_prior import GaussianPrior
from kinetoken.heads.classifier import ClassifierParams, build_classifier, save_classifier
from kinetoken.heads.position import PositionParams, build_position_head, save_position_head
from kinetoken.heads.video_classifier import (
    BaselinesParams,
    build_video_classifier,
    save_video_classifier,
    still_background,
)
from kinetoken.i3d_magvit.past import Trust
from kinetoken.persistence.evaluation import predict_clips
from kinetoken.persistence.network import Detector, build_network, save_detector
from kinetoken.persistence.params import PersistenceParams
from kinetoken.prediction.network import PredictorParams
from kinetoken.scenes.camera import Camera
from kinetoken.scenes.clips import ClipStore, Pixels
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer
from kinetoken.training.loop import TrainingParams
from stages import train_generator, train_i3d_magvit, train_predictor
from tests.support.coded import code_clips
from tests.support.generators import PARAMS as GENERATOR
from tests.support.i3d_magvit import variant

Network = TypeVar("Network", bound=torch.nn.Module)

ROOT = Path(__file__).parents[2]
FRAMES, SIZE = 16, 64
PREDICTOR = PredictorParams(
    seed=1, epochs=1, batch_size=24, learning_rate=0.002,
    translation=TrainingParams(seed=1, epochs=1, batch_size=24, learning_rate=0.002), past_slices=3, future_slices=1,
    width=16, filters=4, lstm_width=16, transformer_width=16, muon_learning_rate=0.02, copies=2, copy_scale=(0.9, 1.1),
)
TRUST = Trust(px=1.5, depth_fraction=0.05, temperature=2.0)


def save_models(folder: Path, data: Path) -> Path:
    """models/NAME of every kind, and codes.parquet of the data's clips, by models/tokenizer."""
    code_clips(data, folder)
    (folder / "models").mkdir()
    (folder / "tokenizer").rename(folder / "models" / "tokenizer")
    codes, store = read_codes(folder / "codes.parquet"), ClipStore(data / "videos")
    tracks = read_tracks(data / "trajectories.parquet", data / "track_params.parquet")
    models = folder / "models"
    tokenizer = load_tokenizer(models / "tokenizer")
    _save_heads(models, codes, tracks, tokenizer)
    _save_video_classifier(models / "video_classifier", codes, store)
    predictor = train_predictor.build(PREDICTOR, codes, tokenizer, store)
    stirred(predictor).save(models / "predictor")
    generator = train_generator.build(GENERATOR, codes, tokenizer, FRAMES)
    for prior in generator.priors.values():
        if isinstance(prior, GaussianPrior):
            prior.spread.fill_(0.5)
    generator.plan.basis.normal_(generator=torch.Generator().manual_seed(1))
    stirred(generator).save(models / "generator")
    network = train_i3d_magvit.build(variant("unquantized"), codes, tokenizer, store)
    network.save(models / "i3d_magvit", dataclasses.asdict(TRUST))
    for name in ("transformer", "magvit"):
        save_tiny_detector(models / "persistence" / name, name, tokenizer, store.read("train").pixels)
    return folder


def stirred(module: Network) -> Network:
    """The module with every parameter moved off its first value, so that nothing hides behind a zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def _save_heads(models: Path, codes: CodesTable, tracks: Tracks, tokenizer: Tokenizer) -> None:
    coordinates = Codebook.of(tokenizer).vectors
    small = load_params(ROOT / "params.yaml", "train_classifier", ClassifierParams)
    small = dataclasses.replace(small, channels=6, blocks=1, maps=2, width=12)
    classifier = build_classifier(small, "soft_argmax", codes.classes, coordinates, codes.meta.grid)
    save_classifier(models / "classifier", stirred(classifier), small, codes.meta.tokenizer)
    settings = load_params(ROOT / "params.yaml", "train_position", PositionParams)
    settings = dataclasses.replace(settings, channels=6, blocks=1, width=8)
    head = build_position_head(settings, coordinates, codes.meta.grid, Camera.of(tracks.world, SIZE), tracks.points)
    sigma = {"px": np.linspace(0.2, 0.4, FRAMES).tolist(), "depth_fraction": np.linspace(0.01, 0.02, FRAMES).tolist()}
    save_position_head(models / "position", stirred(head), codes.meta.tokenizer, sigma)


def _save_video_classifier(folder: Path, codes: CodesTable, store: ClipStore) -> None:
    params = load_params(ROOT / "params.yaml", "train_baselines", BaselinesParams)
    params = dataclasses.replace(params, channels=2, maps=2, width=8)
    background = still_background(store.read("train").pixels)
    module = build_video_classifier(params, codes.classes, (FRAMES, SIZE, SIZE), background)
    save_video_classifier(folder, stirred(module), params)


def save_tiny_detector(folder: Path, name: str, tokenizer: Tokenizer, clips: Pixels) -> None:
    """Thresholds such that some clips are decided early, and others not before their end."""
    read = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    params = dataclasses.replace(
        read, head=dataclasses.replace(read.head, width=8, heads=2),
        transformer=dataclasses.replace(read.transformer, channels=8, heads=2),
        magvit=dataclasses.replace(read.magvit, channels=8),
    )
    network = stirred(build_network(name, params, SIZE, tokenizer))
    temperatures = np.linspace(0.9, 1.1, FRAMES // network.stride)
    kept = network.extractor.kept(torch.from_numpy(clips))
    odds = predict_clips(network, kept, torch.device("cpu")).logits / temperatures
    below, above = np.quantile(odds[:, :-1], [0.02, 0.98]).tolist()
    hashed = tokenizer.hash if name == "magvit" else ""
    detector = Detector(name, network, tuple(temperatures.tolist()), above, below, FRAMES, hashed)
    save_detector(folder, detector, params, SIZE)


def write_mp4(path: Path, pixels: Pixels, fps: int = 16, crf: str = "18") -> Path:
    """A clip (T, H, W, 3) as H.264, as cameras write it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        stream.options = {"crf": crf}
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_own_tracks(path: Path, tracks: Tracks, count: int) -> Path:
    """The first tracks with nothing but their positions, as a user has them."""
    frames = tracks.points.shape[1]
    points = {axis: tracks.points[:count, :, i].ravel() for i, axis in enumerate("xyz")}
    rows = {"track_id": np.repeat(np.arange(count), frames), "frame": np.tile(np.arange(frames), count)}
    pd.DataFrame({**rows, **points}).to_csv(path, index=False)
    return path
