"""Train the position head: from codes to the ball's place in metres in every frame.

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

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.heads.changed_clips import change_points, encode_changed
from kinetoken.heads.position import (
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
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.scores import with_interval
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer
from kinetoken.training.loop import TensorBatches, curves_table, fabric_device, fit


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")] = Path("models/tokenizer")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("the trained head")] = Path("models/position")
    metrics: Annotated[Path, Output("errors and their floors")] = Path("metrics/train_position.json")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_position/curves.csv")
    error_by_frame: Annotated[Path, Output("errors in each frame")] = Path("plots/train_position/error_by_frame.csv")
    videos: Annotated[Path, "clip store, read where params ask for changed clips"] = Path("data/motion/videos")


def run(params: PositionParams, paths: Paths, context: Context) -> None:
    codes = read_codes(paths.codes)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    check_inputs(codes, tracks, paths)
    tokenizer = load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    tokenizer.to(fabric_device(context.hardware))
    camera = Camera.of(tracks.world, tokenizer.image_size)
    train, val = codes.split == "train", codes.split == "val"
    given, points = training_clips(codes, tracks, params, tokenizer, paths, context)
    head = build_position_head(
        params, Codebook.of(tokenizer).vectors, codes.meta.grid, camera, tracks.points[train]
    )

    def validate(_: torch.nn.Module) -> dict[str, float]:
        errors = position_errors(head.positions(codes.codes[val]), tracks.points[val], camera)
        return {f"val_{name}": float(each.mean()) for name, each in errors.items()}

    batches = TensorBatches(
        codes=torch.from_numpy(given.astype(np.int64)),
        seen=torch.from_numpy(camera.project_log(points).astype(np.float32)),
    )
    history = fit(
        head, position_step(params.depth_weight), batches, params, context, validate=validate, monitor="val_error_m"
    )
    head.to(fabric_device(context.hardware))
    found = head.positions(codes.codes[val])
    sigma = sigma_by_frame(found, tracks.points[val], camera)
    save_position_head(paths.model, head, params, tokenizer.hash, sigma)
    context.progress.phase("scoring")
    score(head, codes, tracks, measured_sigma(found, tracks.points[val], camera), paths)
    write_csv(paths.curves, curves_table({"position": history}))


def training_clips(
    codes: CodesTable, tracks: Tracks, params: PositionParams, tokenizer: Tokenizer, paths: Paths, context: Context
) -> tuple[NDArray[np.int32], Array]:
    """Codes (N, T', H', W') and positions (N, T, 3) of the training clips, as they are and changed."""
    train = codes.split == "train"
    given, points = [codes.codes[train]], [tracks.points[train]]
    if params.augment:
        place = {int(track): row for row, track in enumerate(tracks.track_id)}
        changed = encode_changed(codes, paths.codes, paths.videos, params.augment, tokenizer, context.progress)
        for change, part in changed:
            given.append(part.codes)
            points.append(change_points(tracks.points[[place[int(track)] for track in part.track_id]], change))
    return np.concatenate(given), np.concatenate(points)


def check_inputs(codes: CodesTable, tracks: Tracks, paths: Paths) -> None:
    """UserError for an empty split, codes of other tracks, or slices that do not divide the frames."""
    for split in ("train", "val", "test"):
        if not (codes.split == split).any():
            raise UserError(f"{paths.codes}: split '{split}' is empty")
    require_same_tracks(codes, paths.codes, (tracks, paths.trajectories))
    slices, frames = codes.meta.grid[0], tracks.points.shape[1]
    if frames % slices:
        raise UserError(f"{paths.codes}: {slices} slices do not divide the {frames} frames of {paths.trajectories}")


def score(head: PositionHead, codes: CodesTable, tracks: Tracks, sigma: dict[str, float], paths: Paths) -> None:
    """Errors on test and, if there is any, ood; floors are the best constant of the training tracks."""
    import pandas as pd

    train = tracks.points[tracks.split == "train"]
    metrics: dict[str, Any] = {"sigma": sigma}
    rows = []
    for split in ("test", "ood"):
        here = codes.split == split
        if not here.any():
            continue
        truth = tracks.points[here]
        errors = position_errors(head.positions(codes.codes[here]), truth, head.camera)
        floors = constant_errors(train, truth, head.camera)
        found: dict[str, float] = {}
        for name, each in errors.items():
            found |= with_interval(name, each) | {f"{name}_floor": float(floors[name].mean())}
        metrics |= found if split == "test" else {split: found}
        for frame in range(truth.shape[1]):
            rows.append({"split": split, "frame": frame, **{k: float(v[:, frame].mean()) for k, v in errors.items()}})
    write_metrics(paths.metrics, metrics)
    write_csv(paths.error_by_frame, pd.DataFrame(rows))


def constant_errors(train: Array, truth: Array, camera: Camera) -> dict[str, Array]:
    """Errors of always naming the mean training position."""
    mean = np.broadcast_to(train.mean((0, 1)), truth.shape)
    return position_errors(mean, truth, camera)


def main() -> int:
    return run_stage(run, PositionParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
