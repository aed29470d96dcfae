"""One reader of the class trained on the first clips of a larger set, at each of several numbers of clips.

Reads    params data_curve and hardware; tracks, clips and codes of one dataset, and the tokenizer of the codes
Writes   a table with one row a number of training clips: accuracy on the same test clips, interval, floor

Alone    python -m studies.data_curve.measure --params studies/data_curve/params.yaml --section data_curve
             --reader codes --rows codes.csv --trajectories … --track-params … --videos … --codes … --tokenizer …
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegative, Positive
from kinetoken.core.per_track import PerTrack
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.classifier import ClassifierParams, train_head
from kinetoken.heads.coordinates import forest_correct, path_table
from kinetoken.heads.video_classifier import BaselinesParams, train_video_classifier
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import read_tracks
from kinetoken.scores import Array, majority_accuracy, with_interval
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import TrainingParams


@dataclass(frozen=True)
class Curve:
    """Section data_curve. Networks take equally many steps at every size: an epoch repeats fewer clips more often."""

    sizes: tuple[Positive, ...]  # numbers of training clips
    epoch_clips: Positive  # drawn in an epoch where there are that many or fewer
    seed: NonNegative  # of the trees on coordinates
    pixels: BaselinesParams
    codes: ClassifierParams

    def __post_init__(self) -> None:
        for size in self.sizes:
            if max(size, self.epoch_clips) % min(size, self.epoch_clips):
                raise ValueError(f"sizes: {size} does not divide epoch_clips, {self.epoch_clips}, nor the other way")
            for name, params in (("pixels", self.pixels), ("codes", self.codes)):
                if params.epochs % self.longer(size):
                    raise ValueError(f"{name}.epochs: {params.epochs} cannot be shared out for {size} clips")

    def longer(self, size: int) -> int:
        """How many times an epoch is longer than epoch_clips."""
        return max(size // self.epoch_clips, 1)

    def repeats(self, size: int) -> int:
        """How often each clip comes in an epoch."""
        return max(self.epoch_clips // size, 1)


@dataclass(frozen=True)
class Paths:
    trajectories: Annotated[Path, Input("true positions")]
    track_params: Annotated[Path, Input("what was drawn")]
    videos: Annotated[Path, Input("clip store")]
    codes: Annotated[Path, Input("codes table")]
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")]
    rows: Annotated[Path, Output("one row a number of clips")]
    reader: Annotated[str, "coordinates, pixels or codes"] = "codes"


@dataclass(frozen=True)
class Reader:
    """What learns from `clips`' first so many: right(size) tells which test clips it reads rightly, (N_test,)."""

    clips: PerTrack
    right: Callable[[int], Array]


def run(params: Curve, paths: Paths, context: Context) -> None:
    import pandas as pd

    if paths.reader not in READERS:
        raise UserError(f"--reader: no '{paths.reader}'; known are {', '.join(READERS)}")
    reader = READERS[paths.reader](params, paths, context)
    clips, test = reader.clips, reader.clips.split == "test"
    floor = majority_accuracy(clips.target[clips.split == "train"], clips.target[test])
    for size in params.sizes:
        first_clips(clips, size)  # UserError before any training
    rows = []
    for size in params.sizes:
        context.progress.say(f"{paths.reader}: {size} clips")
        right = reader.right(size)
        worst = min(right[clips.label[test] == name].mean() for name in clips.classes)
        rows.append({
            "reader": paths.reader, "clips": size, **with_interval("accuracy", right), "accuracy_floor": floor,
            "worst_class": worst,
        })
    write_csv(paths.rows, pd.DataFrame(rows))


def first_clips(clips: PerTrack, size: int) -> np.ndarray:
    """(size,) rows of the first training clips; UserError where there are fewer, or a class has none of them."""
    rows = np.flatnonzero(clips.split == "train")
    if len(rows) < size:
        raise UserError(f"data_curve.sizes: {size} clips, but the training split has {len(rows)}")
    if missing := sorted(set(clips.classes) - set(clips.label[rows[:size]])):
        raise UserError(f"data_curve.sizes: the first {size} training clips hold none of class '{missing[0]}'")
    return rows[:size]


def at(params: Curve, settings: TrainingParams, size: int, context: Context) -> tuple[int, Context]:
    """Epochs for that size, and a context that keeps its checkpoints apart."""
    checkpoints = None if context.checkpoints is None else context.checkpoints / str(size)
    return settings.epochs // params.longer(size), replace(context, checkpoints=checkpoints)


def from_coordinates(params: Curve, paths: Paths, context: Context) -> Reader:
    """Trees on the geometry of the true paths."""
    tracks = read_tracks(paths.trajectories, paths.track_params)
    table, test = path_table(tracks), tracks.split == "test"

    def right(size: int) -> Array:
        train = np.isin(np.arange(len(tracks)), first_clips(tracks, size))
        return forest_correct(table, tracks.target, train, test, params.seed)

    return Reader(tracks, right)


def from_pixels(params: Curve, paths: Paths, context: Context) -> Reader:
    """The direct network on pixels."""
    store = ClipStore(paths.videos)
    val, test = store.read("val"), store.read("test")
    target = store.target[store.split == "test"]

    def right(size: int) -> Array:
        epochs, apart = at(params, params.pixels, size, context)
        train = store.take(np.repeat(first_clips(store, size), params.repeats(size)))
        settings = replace(params.pixels, epochs=epochs)
        module, _ = train_video_classifier(settings, store.classes, train, val, apart, "pixels")
        return np.asarray(module.probabilities(test.pixels).argmax(1) == target, np.float64)

    return Reader(store, right)


def from_codes(params: Curve, paths: Paths, context: Context) -> Reader:
    """The head on codes, with the first pooling of its params."""
    dataset = Dataset.open(DatasetPaths(codes=paths.codes, tokenizer=paths.tokenizer))
    codes = dataset.codes
    coordinates, test = Codebook.of(dataset.tokenizer).vectors, codes.of_split("test")

    def right(size: int) -> Array:
        epochs, apart = at(params, params.codes, size, context)
        train = np.repeat(first_clips(codes, size), params.repeats(size))
        few = codes.take(np.concatenate([train, np.flatnonzero(codes.split == "val")]))
        settings = replace(params.codes, epochs=epochs)
        head, _ = train_head(settings, settings.poolings[0], few, coordinates, apart)
        return np.asarray(head.log_probabilities(test.codes).argmax(1) == test.target, np.float64)

    return Reader(codes, right)


READERS: dict[str, Callable[[Curve, Paths, Context], Reader]] = {
    "coordinates": from_coordinates, "pixels": from_pixels, "codes": from_codes,
}


def main() -> int:
    return run_stage(run, Curve, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
