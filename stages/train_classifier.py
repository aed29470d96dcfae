"""Train classifiers on codes: one pooling that keeps positions, and the first team's, which does not.

Reads    params train_classifier, hardware; the motion codes; the tokenizer, for the codes' coordinates; with
         `augment` the clips too, to change them and encode them anew
Writes   models/classifier (the first pooling of the list, calibrated on val), metrics,
         plots/train_classifier/{confusion,curves,prefix,reliability}.csv, confusions.png

Alone    python -m stages.train_classifier
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_classes
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.changed_clips import encode_changed
from kinetoken.heads.classifier import (
    HEADLINES,
    Change,
    ClassifierParams,
    CodeClassifier,
    save_classifier,
    train_head,
)
from kinetoken.scores import (
    Array,
    classification_metrics,
    confusion_rows,
    majority_accuracy,
    reliability_table,
    with_interval,
)
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import History, curves_table, fabric_device

PLOTS = Path("plots/train_classifier")
SHOWN = 8  # clips read wrongly
COLOURS = 128  # of the sheet that shows them


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")] = Path("models/tokenizer")
    model: Annotated[Path, Output("the trained head")] = Path("models/classifier")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_classifier.json")
    headlines: HeadlineFolder = Path("metrics/train_classifier")
    numbers: NumbersTable = PLOTS / "numbers.csv"
    confusion: Annotated[Path, Output("actual and predicted class of each test clip")] = PLOTS / "confusion.csv"
    curves: Annotated[Path, Output("training curves")] = PLOTS / "curves.csv"
    prefix: Annotated[Path, Output("accuracy after each slice")] = PLOTS / "prefix.csv"
    reliability: Annotated[Path, Output("confidence against accuracy")] = PLOTS / "reliability.csv"
    confusions: Annotated[Path, Output("the most confident wrong clips")] = PLOTS / "confusions.png"
    videos: Annotated[Path, "clip store, read where params ask for changed clips"] = Path("data/motion/videos")


def run(params: ClassifierParams, paths: Paths, context: Context) -> None:
    videos = paths.videos if params.augment else None
    dataset = Dataset.open(
        DatasetPaths(codes=paths.codes, tokenizer=paths.tokenizer, videos=videos), needs=require_classes
    )
    tokenizer = dataset.tokenizer.to(fabric_device(context.hardware))
    codes = with_changed_clips(dataset, params.augment, context) if params.augment else dataset.codes
    coordinates = Codebook.of(tokenizer).vectors
    heads: dict[str, CodeClassifier] = {}
    histories: dict[str, History] = {}
    poolings = params.poolings_for(int((codes.split == "train").sum()))
    if poolings != params.poolings:
        context.progress.say(f"few training clips: {poolings[0]} in place of {params.poolings[0]}, on shifted codes")
    for pooling in poolings:
        heads[pooling], histories[pooling] = train_head(params, pooling, codes, coordinates, context)
    best = heads[poolings[0]]
    save_classifier(paths.model, best, params, tokenizer.hash)
    context.progress.phase("scoring")
    probabilities = score(heads, codes, paths)
    draw_confusions(paths.confusions, tokenizer, codes.of_split("test"), codes.classes, probabilities)
    write_csv(paths.curves, curves_table(histories))


def with_changed_clips(dataset: Dataset, changes: Sequence[Change], context: Context) -> CodesTable:
    """The codes table, and behind it the training clips changed in each way and encoded anew."""
    parts = [dataset.codes, *(part for _, part in encode_changed(dataset, changes, context.progress))]
    columns = ("track_id", "label", "split", "codes")
    return CodesTable(  # type: ignore[call-arg]  # the four columns are unpacked
        *(np.concatenate([getattr(part, name) for part in parts]) for name in columns), dataset.codes.meta  # type: ignore[arg-type]
    )


def score(heads: dict[str, CodeClassifier], codes: CodesTable, paths: Paths) -> Array:
    """Metrics and plot tables of the heads on the test clips; the first head is the headline.

    Its class probabilities (N, C) after whole test clips are returned.
    """
    import pandas as pd

    classes = codes.classes
    test, target = codes.of_split("test"), codes.target[codes.split == "test"]
    floor = majority_accuracy(codes.target[codes.split == "train"], target)
    metrics: dict[str, Any] = {"pooling": {}, "prefix": {}}
    rows: list[dict[str, Any]] = []
    headline = np.empty((0, len(classes)))
    for rank, (name, head) in enumerate(heads.items()):
        for count in range(1, codes.meta.grid[0] + 1):
            probabilities = np.exp(head.log_probabilities(test.codes[:, :count]))
            right = with_interval("accuracy", (probabilities.argmax(1) == target).astype(float))
            rows.append({"pooling": name, "slices": count, **right, "accuracy_floor": floor})
            if rank == 0:
                metrics["prefix"][str(count)] = right
        metrics["pooling"][name] = {**right, "accuracy_floor": floor}
        if rank == 0:
            headline = probabilities
            metrics |= classification_metrics(probabilities, target, classes, floor)
            predicted = confusion_rows(probabilities, target, classes)
            write_csv(paths.confusion, predicted.assign(track_id=test.track_id))
            write_csv(paths.reliability, reliability_table(probabilities, target))
    write_numbers(paths, metrics, HEADLINES)
    write_csv(paths.prefix, pd.DataFrame(rows))
    return headline


def draw_confusions(
    path: Path, tokenizer: Tokenizer, test: CodesTable, classes: tuple[str, ...], probabilities: Array
) -> None:
    """The test clips most surely read wrongly, a clip a row: every other frame as its codes show it, and the classes.

    probabilities (N, C) of the test clips.
    """
    from kinetoken.charts.strips import Group, draw_strips

    sure, read = probabilities.max(1), probabilities.argmax(1)
    wrong = np.flatnonzero(np.array(classes)[read] != test.label)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    words = [f"true: {test.label[row]}\npredicted: {classes[read[row]]}\n{100 * sure[row]:.1f} %" for row in wrong]
    indices = torch.from_numpy((test.codes[wrong] if len(wrong) else test.codes[:1]).astype(np.int64))
    decoded = tokenizer.decode(indices.to(tokenizer.background.device))[:, ::2].cpu().numpy()
    frames = (255 * decoded).round().astype(np.uint8)
    captions = [f"frame {2 * n}" for n in range(frames.shape[1])]
    heading = Group("clips decoded from their codes", len(captions), captions)
    words = words or ["no test clip is\nmisclassified;\nthis is the first"]
    draw_strips(path, list(frames), words, [heading], enlarged=1, colours=COLOURS)


def main() -> int:
    return run_stage(run, ClassifierParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
