"""Baselines and upper bounds of classification: the majority class, the true path, the pixels; and two controls.

Reads    params train_baselines, hardware; the motion clips, trajectories and track_params
Writes   models/video_classifier (the pixel classifier), metrics, plots/train_baselines/{confusion,curves}.csv

The controls must be near the baseline, or something other than motion reveals the class. They are the first frame alone
(the same network), and speed, colour, light and start alone. Of a user's videos no path is known: what needs it is left
out.

Alone    python -m stages.train_baselines
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import Headlines, write_numbers
from kinetoken.core.per_track import require_classes
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.coordinates import forest_correct, law_fit_correct, nuisance_table, path_table
from kinetoken.heads.video_classifier import BaselinesParams, save_video_classifier, target_of, train_video_classifier
from kinetoken.scenes.clips import Clips
from kinetoken.scenes.tracks import Tracks
from kinetoken.scores import classification_metrics, confusion_rows, majority_accuracy, with_interval
from kinetoken.training.loop import curves_table

ACCURACIES = ("coordinates.accuracy", "video.accuracy", "first_frame.accuracy", "nuisance.accuracy")
HEADLINES = Headlines(
    ("majority.accuracy", *ACCURACIES, "video.ece"), further=("law_fit.accuracy",), bounded=ACCURACIES
)
HEADLINES_OF_FOOTAGE = Headlines(("majority.accuracy", "video.accuracy", "first_frame.accuracy", "video.ece"))


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions", optional=True)] = Path(
        "data/motion/trajectories.parquet"
    )
    track_params: Annotated[Path, Input("constants of each track", optional=True)] = Path(
        "data/motion/track_params.parquet"
    )
    model: Annotated[Path, Output("the pixel classifier")] = Path("models/video_classifier")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_baselines.json")
    headlines: HeadlineFolder = Path("metrics/train_baselines")
    numbers: NumbersTable = Path("plots/train_baselines/numbers.csv")
    confusion: Annotated[Path, Output("actual and predicted class of each test clip")] = Path(
        "plots/train_baselines/confusion.csv"
    )
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_baselines/curves.csv")


def run(params: BaselinesParams, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(
        DatasetPaths(videos=paths.videos, trajectories=paths.trajectories, track_params=paths.track_params),
        needs=require_classes,
    )
    classes = dataset.classes
    train, val, test = (dataset.split(name).read_clips() for name in ("train", "val", "test"))
    module, history = train_video_classifier(params, classes, train, val, context, "video", not dataset.tracked)
    save_video_classifier(paths.model, module, params)
    first, first_history = train_video_classifier(
        params, classes, _first_frame(train), _first_frame(val), context, "first_frame"
    )
    target = target_of(test, classes)
    probabilities = module.probabilities(test.pixels)
    floor = majority_accuracy(target_of(train, classes), target)
    judged = first.probabilities(_first_frame(test).pixels)
    metrics: dict[str, Any] = {
        "majority": {"accuracy": floor},
        "video": classification_metrics(probabilities, target, classes, floor),
        "first_frame": {
            **with_interval("accuracy", (judged.argmax(1) == target).astype(float)), "accuracy_floor": floor,
        },
        **(forests(dataset.tracks, floor, params.seed) if dataset.tracked else {}),
    }
    if dataset.lawful:
        test_tracks = dataset.tracks.take(dataset.split("test").rows)
        knowable = law_fit_correct(test_tracks, test.pixels.shape[2], params.seed)
        metrics["law_fit"] = {**with_interval("accuracy", knowable), "accuracy_floor": floor}
    write_numbers(paths, metrics, HEADLINES if dataset.tracked else HEADLINES_OF_FOOTAGE)
    write_csv(paths.confusion, confusion_rows(probabilities, target, classes).assign(track_id=test.track_id))
    write_csv(paths.curves, curves_table({"video": history, "first_frame": first_history}))


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


def _first_frame(clips: Clips) -> Clips:
    return Clips(clips.track_id, clips.label, clips.split, np.ascontiguousarray(clips.pixels[:, :1]), clips.fps)


def main() -> int:
    return run_stage(run, BaselinesParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
