"""Train classifiers on codes: one pooling that keeps positions, and the first team's, which does not.

Reads    params train_classifier, hardware; the motion codes; the tokenizer, for the codes' coordinates; with
         `augment` the clips too, to change them and encode them anew; models/position, the clips' scene and the tracks,
         for the novelty score and the strange scenes that it is measured on
Writes   models/classifier (the first pooling of the list, calibrated on val, with the novelty score), metrics,
         plots/train_classifier/{confusion,curves,prefix,reliability,novelty,selective}.csv, confusions.png

Alone    python -m stages.train_classifier
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from kinetoken.codes import CodesTable
from kinetoken.core.absence import why_absent, write_absent
from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_classes
from kinetoken.core.stage import Beside, Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.changed_clips import ENCODED_AT_ONCE, encode_changed
from kinetoken.heads.classifier import (
    HEADLINES,
    Change,
    ClassifierParams,
    CodeClassifier,
    save_classifier,
    train_head,
)
from kinetoken.heads.novelty import (
    Judged,
    conformal_p_values,
    fit_novelty,
    novelty_metrics,
    novelty_table,
    save_novelty,
    selective_table,
)
from kinetoken.heads.position import load_position_head
from kinetoken.physics.laws import are_laws
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.strange import KINDS, strange_clips
from kinetoken.scenes.tracks import read_tracks
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
from kinetoken.training.loop import History, curves_table, fabric_device, index_batches

PLOTS = Path("plots/train_classifier")
STRANGE = 120  # clips of each kind of strange scene
JUDGED = 1200  # test clips, the first, that they are told from; a fit of all laws takes milliseconds a clip
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
    videos: Annotated[Path, Input("clip store: its scene, and with changed clips its pixels")] = Path(
        "data/motion/videos"
    )
    trajectories: Annotated[Path, Input("true positions", optional=True)] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("colours and lights", optional=True)] = Path("data/motion/track_params.parquet")
    position: Annotated[Path, Input("position head, whose paths are judged", optional=True)] = Path("models/position")
    novelty: Annotated[
        Path, Output("how strange each sound and strange clip is"), Beside("metrics", ".novelty.csv")
    ] = PLOTS / "novelty.csv"
    selective: Annotated[
        Path, Output("accuracy where the strangest are refused"), Beside("metrics", ".selective.csv")
    ] = PLOTS / "selective.csv"


def run(params: ClassifierParams, paths: Paths, context: Context) -> None:
    videos = paths.videos if params.augment else None
    dataset = Dataset.open(
        DatasetPaths(codes=paths.codes, tokenizer=paths.tokenizer, videos=videos), needs=require_classes
    )
    tokenizer = dataset.tokenizer.to(fabric_device(context.hardware))
    # other classes may differ in a mirror, or backwards
    changed = params.augment if are_laws(dataset.classes) else ()
    codes = with_changed_clips(dataset, changed, context) if changed else dataset.codes
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
    unlike = {"novelty": judge_novelty(best, params, dataset, tokenizer, paths, context)}
    context.progress.phase("scoring")
    probabilities = score(heads, codes, paths, {name: found for name, found in unlike.items() if found})
    draw_confusions(paths.confusions, tokenizer, codes.of_split("test"), codes.classes, probabilities)
    write_csv(paths.curves, curves_table(histories))


def with_changed_clips(dataset: Dataset, changes: Sequence[Change], context: Context) -> CodesTable:
    """The codes table, and behind it the training clips changed in each way and encoded anew."""
    parts = [dataset.codes, *(part for _, part in encode_changed(dataset, changes, context.progress))]
    columns = ("track_id", "label", "split", "codes")
    return CodesTable(  # type: ignore[call-arg]  # the four columns are unpacked
        *(np.concatenate([getattr(part, name) for part in parts]) for name in columns), dataset.codes.meta  # type: ignore[arg-type]
    )


def judge_novelty(
    head: CodeClassifier, params: ClassifierParams, dataset: Dataset, tokenizer: Tokenizer, paths: Paths,
    context: Context,
) -> dict[str, Any]:
    """Give the head its novelty score, save it, and measure it on test clips and strange ones; no numbers where none.

    There is no score where no position head could be trained, or only one on codes of another tokenizer. Kinds of
    strange scenes that cannot be drawn from the dataset's tracks are left out.
    """
    reason = why_absent(paths.position) or why_absent(paths.trajectories)
    reader = None if reason else load_position_head(paths.position)
    if reader is not None and reader.tokenizer_hash != tokenizer.hash:
        reason = f"{paths.position} reads codes of another tokenizer"
    if reader is not None and reason is None:
        head.known = fit_novelty(reader, dataset.split("val").codes, params.novelty_level)
        save_novelty(paths.model, head.known, paths.position)
        strange = encode_strange(params.seed, tokenizer, paths, context)
        reason = None if strange else "no strange scene stays in view at the speeds of these tracks"
    if reason is not None:
        context.progress.say(f"no novelty score was measured: {reason}")
        for path in (paths.novelty, paths.selective):
            write_absent(path, reason)
        return {}
    test = dataset.split("test").take(slice(JUDGED))
    context.progress.phase("judging strange clips", len(test) + STRANGE * len(strange), "clips")
    sound = judged(head, test.codes, context)
    others = {kind: judged(head, codes, context) for kind, codes in strange.items()}
    right = head.log_probabilities(test.codes).argmax(1) == test.target
    write_csv(paths.novelty, novelty_table(sound, others))
    write_csv(paths.selective, selective_table(sound, right, others))
    return novelty_metrics(sound, others, params.novelty_level)


def judged(head: CodeClassifier, codes: np.ndarray, context: Context) -> Judged:
    """codes (N, T', H', W') → what the score and the classifier say of each clip."""
    assert head.known is not None
    strangeness = head.known.strangeness(codes)
    context.progress.advance(len(codes))
    p = conformal_p_values(head.known.calibrations[-1].known, strangeness)
    return Judged(strangeness, p, np.exp(head.log_probabilities(codes).max(1)))


def encode_strange(seed: int, tokenizer: Tokenizer, paths: Paths, context: Context) -> dict[str, np.ndarray]:
    """Codes (STRANGE, T', H', W') of each kind of strange scenes that can be drawn from the test tracks."""
    tracks = read_tracks(paths.trajectories, paths.track_params)
    tracks, scene = tracks.take(np.flatnonzero(tracks.split == "test")), ClipStore(paths.videos).scene
    context.progress.phase("encoding strange clips", STRANGE * len(KINDS), "clips")
    codes: dict[str, np.ndarray] = {}
    for kind in KINDS:
        try:
            pixels = strange_clips(scene, tracks, kind, STRANGE, seed)
        except UserError as error:
            context.progress.say(f"left out: {error}")
            continue
        parts = []
        for rows in index_batches(STRANGE, ENCODED_AT_ONCE):
            clips = torch.from_numpy(pixels[rows]).to(tokenizer.background.device)
            parts.append(tokenizer.encode(clips).cpu().numpy())
            context.progress.advance(len(clips))
        codes[kind] = np.concatenate(parts).astype(np.int32)
    return codes


def score(heads: dict[str, CodeClassifier], codes: CodesTable, paths: Paths, further: dict[str, Any]) -> Array:
    """Metrics and plot tables of the heads on the test clips; the first head is the headline. `further` numbers too.

    Its class probabilities (N, C) after whole test clips are returned.
    """
    import pandas as pd

    classes = codes.classes
    test, target = codes.of_split("test"), codes.target[codes.split == "test"]
    floor = majority_accuracy(codes.target[codes.split == "train"], target)
    metrics: dict[str, Any] = {"pooling": {}, "prefix": {}, **further}
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
