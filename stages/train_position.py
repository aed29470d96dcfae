"""Train the position head: from codes to the ball's position in metres in every frame.

Reads    params train_position, hardware; the motion codes; the tokenizer, for the codes' coordinates;
         trajectories and track_params, for the true positions; with `augment` the clips too, to change them and
         encode them anew
Writes   models/position, metrics, plots/train_position/{curves,error_by_frame}.csv

Alone    python -m stages.train_position
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_splits
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.changed_clips import change_points, encode_changed
from kinetoken.heads.position import (
    HEADLINES,
    Array,
    PositionHead,
    PositionParams,
    build_position_head,
    measured_sigma,
    position_errors,
    position_step,
    save_position_head,
    sigma_by_frame,
)
from kinetoken.scenes.camera import Camera
from kinetoken.scores import with_interval
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import TensorBatches, curves_table, fabric_device, fit


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")] = Path("models/tokenizer")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("constants of each track")] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("the trained head")] = Path("models/position")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_position.json")
    headlines: HeadlineFolder = Path("metrics/train_position")
    numbers: NumbersTable = Path("plots/train_position/numbers.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_position/curves.csv")
    error_by_frame: Annotated[Path, Output("errors in each frame")] = Path("plots/train_position/error_by_frame.csv")
    videos: Annotated[Path, "clip store, read where params ask for changed clips"] = Path("data/motion/videos")


def run(params: PositionParams, paths: Paths, context: Context) -> None:
    dataset = open_dataset(params, paths)
    tokenizer = dataset.tokenizer.to(fabric_device(context.hardware))
    camera = Camera.of(dataset.tracks.world, tokenizer.image_size)
    given, points = training_clips(dataset, params, context)
    head = build_position_head(
        params, Codebook.of(tokenizer).vectors, dataset.codes.meta.grid, camera, dataset.split("train").points
    )
    head.encoder.notice(torch.from_numpy(given.astype(np.int64)))
    val = dataset.split("val")
    val_codes, val_points = val.codes, val.points

    def validate(_: torch.nn.Module) -> dict[str, float]:
        errors = position_errors(head.positions(val_codes), val_points, camera)
        return {f"val_{name}": float(each.mean()) for name, each in errors.items()}

    batches = TensorBatches(
        codes=torch.from_numpy(given.astype(np.int64)),
        seen=torch.from_numpy(camera.project_log(points).astype(np.float32)),
    )
    history = fit(
        head, position_step(params.depth_weight), batches, params, context, validate=validate, monitor="val_error_m"
    )
    head.to(fabric_device(context.hardware))
    found = head.positions(val_codes)
    sigma = sigma_by_frame(found, val_points, camera)
    save_position_head(paths.model, head, tokenizer.hash, sigma)
    context.progress.phase("scoring")
    score(head, dataset, measured_sigma(found, val_points, camera), paths)
    write_csv(paths.curves, curves_table({"position": history}))


def open_dataset(params: PositionParams, paths: Paths) -> Dataset:
    """Codes, tracks, tokenizer, and the clips if the params ask for changed ones.

    UserError for what `Dataset.open` refuses, an empty split, or slices that do not divide the frames.
    """
    dataset = Dataset.open(DatasetPaths(
        codes=paths.codes, tokenizer=paths.tokenizer, trajectories=paths.trajectories, track_params=paths.track_params,
        videos=paths.videos if params.augment else None,
    ), needs=require_splits)
    slices, frames = dataset.codes.meta.grid[0], dataset.tracks.points.shape[1]
    if frames % slices:
        raise UserError(f"{paths.codes}: {slices} slices do not divide the {frames} frames of {paths.trajectories}")
    return dataset


def training_clips(
    dataset: Dataset, params: PositionParams, context: Context
) -> tuple[NDArray[np.int32], Array]:
    """Codes (N, T', H', W') and positions (N, T, 3) of the training clips, as they are and changed."""
    train, tracks = dataset.split("train"), dataset.tracks
    given, points = [train.codes], [train.points]
    if params.augment:
        place = {int(track): row for row, track in enumerate(tracks.track_id)}
        for change, part in encode_changed(dataset, params.augment, context.progress):
            given.append(part.codes)
            points.append(change_points(tracks.points[[place[int(track)] for track in part.track_id]], change))
    return np.concatenate(given), np.concatenate(points)


def score(head: PositionHead, dataset: Dataset, sigma: dict[str, float], paths: Paths) -> None:
    """Errors on test and, if there is any, ood; floors are the best constant of the training tracks."""
    import pandas as pd

    train = dataset.split("train").points
    metrics: dict[str, Any] = {"sigma": sigma}
    rows = []
    for split in [name for name in ("test", "ood") if name in dataset.splits]:
        here = dataset.split(split)
        truth = here.points
        errors = position_errors(head.positions(here.codes), truth, head.camera)
        floors = constant_errors(train, truth, head.camera)
        found: dict[str, float] = {}
        for name, each in errors.items():
            found |= with_interval(name, each) | {f"{name}_floor": float(floors[name].mean())}
        metrics |= found if split == "test" else {split: found}
        for frame in range(truth.shape[1]):
            rows.append({"split": split, "frame": frame, **{k: float(v[:, frame].mean()) for k, v in errors.items()}})
    write_numbers(paths, metrics, HEADLINES)
    write_csv(paths.error_by_frame, pd.DataFrame(rows))


def constant_errors(train: Array, truth: Array, camera: Camera) -> dict[str, Array]:
    """Errors of always naming the mean training position."""
    mean = np.broadcast_to(train.mean((0, 1)), truth.shape)
    return position_errors(mean, truth, camera)


def main() -> int:
    return run_stage(run, PositionParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
