"""A working folder laid out as the pipeline leaves one, with models of the default params that never trained."""

from pathlib import Path
from typing import TypeVar

from kinetoken.core.params import load_params
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.system import build_system
from kinetoken.generation.generator import GeneratorParams
from kinetoken.heads.classifier import ClassifierParams, build_classifier, save_classifier
from kinetoken.heads.position import PositionParams, build_position_head, save_position_head
from kinetoken.heads.video_classifier import BaselinesParams, VideoClassifier, save_video_classifier
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.persistence.network import Detector, build_network, save_detector
from kinetoken.persistence.params import PersistenceParams
from kinetoken.prediction.network import PredictorParams
from kinetoken.scenes.camera import Camera
from kinetoken.tokenizer.codebook import Codebook
from stages import train_generator, train_i3d_magvit, train_predictor

ROOT = Path(__file__).parents[2]
P = TypeVar("P")


def section(name: str, kind: type[P]) -> P:
    return load_params(ROOT / "params.yaml", name, kind)


def working_folder(data: Path, coded: Path, folder: Path) -> Path:
    """models/ and data/motion/ on the clips of `data` and the tokenizer and codes of `coded`; links, where it can."""
    motion, models = folder / "data" / "motion", folder / "models"
    motion.mkdir(parents=True)
    models.mkdir()
    (motion / "videos").symlink_to(data / "videos")
    (motion / "codes.parquet").symlink_to(coded / "codes.parquet")
    (models / "tokenizer").symlink_to(coded / "tokenizer")
    dataset = Dataset.open(DatasetPaths(
        videos=data / "videos", codes=coded / "codes.parquet", tokenizer=coded / "tokenizer",
        trajectories=data / "trajectories.parquet", track_params=data / "track_params.parquet",
    ))
    save_heads(dataset, models)
    codes, tokenizer, store = dataset.codes, dataset.tokenizer, dataset.clips
    generator = train_generator.build(section("train_generator", GeneratorParams), codes, tokenizer, store.shape[0])
    generator.save(models / "generator")
    predictor = train_predictor.build(section("train_predictor", PredictorParams), codes, tokenizer, store)
    predictor.best = "lstm"
    predictor.save(models / "predictor")
    i3d_magvit = train_i3d_magvit.build(section("train_i3d_magvit", I3DMagvitParams), codes, tokenizer, store)
    i3d_magvit.save(models / "i3d_magvit")
    build_system(section("train_gasm_cast", GasmCastParams), ("left", "right")).save(models / "gasm_cast")
    save_untrained_detector(models / "persistence" / "transformer", store.shape)
    return folder


def save_heads(dataset: Dataset, models: Path) -> None:
    """models/classifier, position and video_classifier."""
    codes, vectors = dataset.codes, Codebook.of(dataset.tokenizer).vectors
    classifier = section("train_classifier", ClassifierParams)
    head = build_classifier(classifier, classifier.poolings[0], codes.classes, vectors, codes.meta.grid)
    save_classifier(models / "classifier", head, classifier, codes.meta.tokenizer)
    position = section("train_position", PositionParams)
    camera = Camera.of(dataset.tracks.world, dataset.tokenizer.image_size)
    places = build_position_head(position, vectors, codes.meta.grid, camera, dataset.tracks.points)
    sigma = {"px": [0.2] * dataset.clips.shape[0], "depth_fraction": [0.01] * dataset.clips.shape[0]}
    save_position_head(models / "position", places, codes.meta.tokenizer, sigma)
    pixels = section("train_baselines", BaselinesParams)
    frames, height, width = dataset.clips.shape
    judge = VideoClassifier(
        codes.classes, (frames, height, width), channels=pixels.channels, maps=pixels.maps, width=pixels.width,
        still=pixels.still,
    )
    save_video_classifier(models / "video_classifier", judge, pixels)


def save_untrained_detector(folder: Path, shape: tuple[int, ...]) -> None:
    params = section("detect_persistence", PersistenceParams)
    network = build_network("transformer", params, shape[1], None)
    steps = shape[0] // network.stride
    save_detector(folder, Detector("transformer", network, (1.0,) * steps, 3.0, -3.0, shape[0], ""), params, shape[1])
