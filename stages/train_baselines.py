"""Floors and ceilings of telling the motion: the majority, the true path, the pixels; and two controls.

Reads    params train_baselines, hardware; the motion clips, trajectories and track_params
Writes   models/video_classifier (the pixel judge), metrics, plots/train_baselines/{confusion,curves}.csv

The controls must be near the floor, or something other than motion tells the class: the first frame alone (the
same network), and the circumstances alone (speed, colour, light, start).

Alone    python -m stages.train_baselines
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import Headlines, write_numbers
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.heads.coordinates import forest_correct, nuisance_table, path_table
from kinetoken.heads.video_classifier import (
    BaselinesParams,
    VideoClassifier,
    build_video_classifier,
    classification_step,
    save_video_classifier,
    still_background,
    stored_motion,
)
from kinetoken.scenes.clips import Clips, ClipStore
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.scores import classification_metrics, confusion_rows, majority_accuracy, require_classes, with_interval
from kinetoken.training.loop import History, TensorBatches, curves_table, fabric_device, fit

ACCURACIES = ("coordinates.accuracy", "video.accuracy", "first_frame.accuracy", "nuisance.accuracy")
HEADLINES = Headlines(("majority.accuracy", *ACCURACIES, "video.ece"), bounded=ACCURACIES)


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("the pixel judge")] = Path("models/video_classifier")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_baselines.json")
    headlines: HeadlineFolder = Path("metrics/train_baselines")
    numbers: NumbersTable = Path("plots/train_baselines/numbers.csv")
    confusion: Annotated[Path, Output("actual and predicted class of each test clip")] = Path(
        "plots/train_baselines/confusion.csv"
    )
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_baselines/curves.csv")


def run(params: BaselinesParams, paths: Paths, context: Context) -> None:
    store = ClipStore(paths.videos)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    require_classes(paths.videos, store.label, store.split)
    require_same_tracks(tracks, paths.trajectories, (store, paths.videos))
    train, val, test = (store.read(split) for split in ("train", "val", "test"))
    module, history = train_network(params, store.classes, train, val, context, "video")
    save_video_classifier(paths.model, module, params)
    first, first_history = train_network(
        params, store.classes, _first_frame(train), _first_frame(val), context, "first_frame"
    )
    target = target_of(test, store.classes)
    probabilities = module.probabilities(test.pixels)
    floor = majority_accuracy(target_of(train, store.classes), target)
    judged = first.probabilities(_first_frame(test).pixels)
    metrics: dict[str, Any] = {
        "majority": {"accuracy": floor},
        "video": classification_metrics(probabilities, target, store.classes, floor),
        "first_frame": {
            **with_interval("accuracy", (judged.argmax(1) == target).astype(float)), "accuracy_floor": floor,
        },
        **forests(tracks, floor, params.seed),
    }
    write_numbers(paths, metrics, HEADLINES)
    write_csv(paths.confusion, confusion_rows(probabilities, target, store.classes))
    write_csv(paths.curves, curves_table({"video": history, "first_frame": first_history}))


def train_network(
    params: BaselinesParams, classes: tuple[str, ...], train: Clips, val: Clips, context: Context, label: str
) -> tuple[VideoClassifier, History]:
    """The direct network trained on the clips, the weights of its best epoch on `val`."""
    shape = (train.pixels.shape[1], train.pixels.shape[2], train.pixels.shape[3])
    module = build_video_classifier(params, classes, shape, still_background(train.pixels))
    target = target_of(val, classes)

    def validate(_: torch.nn.Module) -> dict[str, float]:
        likelihood = module.probabilities(val.pixels)[np.arange(len(target)), target]
        return {"val_loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean())}

    batches = TensorBatches(
        motion=stored_motion(module, train.pixels), target=torch.from_numpy(target_of(train, classes))
    )
    history = fit(
        module, classification_step, batches, params, context, label=label, validate=validate, monitor="val_loss"
    )
    return module.to(fabric_device(context.hardware)), history


def forests(tracks: Tracks, floor: float, seed: int) -> dict[str, dict[str, float]]:
    """Test accuracy from the true path (the ceiling) and from circumstances alone (a control)."""
    target = np.searchsorted(np.unique(tracks.label), tracks.label).astype(np.int64)
    train, test = tracks.split == "train", tracks.split == "test"
    tables = {"coordinates": path_table(tracks), "nuisance": nuisance_table(tracks)}
    return {
        name: {
            **with_interval("accuracy", forest_correct(table, target, train, test, seed)), "accuracy_floor": floor
        }
        for name, table in tables.items()
    }


def target_of(clips: Clips, classes: tuple[str, ...]) -> np.ndarray:
    """(N,) index of each clip's class."""
    return np.searchsorted(np.array(classes), clips.label).astype(np.int64)


def _first_frame(clips: Clips) -> Clips:
    return Clips(clips.track_id, clips.label, clips.split, np.ascontiguousarray(clips.pixels[:, :1]), clips.fps)


def main() -> int:
    return run_stage(run, BaselinesParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
