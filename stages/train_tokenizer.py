"""Train the video tokenizer on the motion clips, and score its reconstructions of the test clips.

Reads    params train_tokenizer, hardware; the clip store; trajectories and track_params for scoring only. Of a user's
         videos there are none: then what moves stands for the ball, and no positions are compared
Writes   models/tokenizer/, metrics/train_tokenizer.json, plots/train_tokenizer/ curves.csv, reconstructions.png

Alone    python -m stages.train_tokenizer --videos data/motion/videos --model models/tokenizer
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_splits
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.footage.motion import still_pictures
from kinetoken.scenes.clips import Clips, Pixels
from kinetoken.tokenizer.network import Tokenizer, check_shape, save_tokenizer
from kinetoken.tokenizer.scoring import (
    HEADLINES,
    HEADLINES_OF_FOOTAGE,
    PixelScores,
    mean_video,
    reconstruction_metrics,
    score_footage,
    score_tokenizer,
)
from kinetoken.tokenizer.training_clips import (
    ClipBatches,
    TokenizerParams,
    static_background,
    training_step,
    validation,
)
from kinetoken.training.loop import curves_table, fabric_device, fit, with_cpu_precision
from kinetoken.training.muon import muon_and_adamw

SHOWN_FRAMES = 3  # of one clip a class
SHOWN_CLASSES = 8  # at most
STILLS = 64  # clips whose still pictures are made at once
MAGNIFIED = 4  # times, the difference between original and reconstruction


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("positions, for scoring only", optional=True)] = Path(
        "data/motion/trajectories.parquet"
    )
    track_params: Annotated[Path, Input("constants of each track", optional=True)] = Path(
        "data/motion/track_params.parquet"
    )
    model: Annotated[Path, Output("the tokenizer")] = Path("models/tokenizer")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_tokenizer.json")
    headlines: HeadlineFolder = Path("metrics/train_tokenizer")
    numbers: NumbersTable = Path("plots/train_tokenizer/numbers.csv")
    curves: Annotated[Path, Output("loss by epoch")] = Path("plots/train_tokenizer/curves.csv")
    reconstructions: Annotated[Path, Output("a sheet of clips")] = Path("plots/train_tokenizer/reconstructions.png")


def run(params: TokenizerParams, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(
        DatasetPaths(videos=paths.videos, trajectories=paths.trajectories, track_params=paths.track_params),
        needs=require_splits, scene=True,
    )
    device = fabric_device(context.hardware)
    torch.manual_seed(params.seed)
    tokenizer = Tokenizer(params.network, params.quantizer, dataset.clips.shape[1])
    check_shape(tokenizer, dataset.clips)
    train = dataset.split("train").read_clips()
    context.progress.say(f"{sum(p.numel() for p in tokenizer.parameters()):,} parameters, {len(train)} clips")
    background = static_background(train.pixels)
    tokenizer.background.copy_(background)
    held_out = dataset.split("val").take(slice(params.validation_clips)).read_clips()
    still = [None if dataset.tracked else own_still(clips.pixels) for clips in (train, held_out)]
    validate = validation(held_out.pixels, background, params.loss, still=still[1])
    context = replace(context, hardware=with_cpu_precision(context.hardware, params.cpu_precision))
    history = fit(
        tokenizer, training_step(params),
        ClipBatches(train.pixels, background, params.windows, params.unquantized_share, still[0]), params, context,
        validate=validate, monitor="val_loss", monitor_from=params.unquantized_epochs,
        optimizers=muon_and_adamw(params),
    )

    test = dataset.split("test").read_clips()
    context.progress.phase("scoring", len(test), "clips")
    tokenizer.to(device)
    floor, advance = mean_video(train.pixels), context.progress.advance
    scores: Mapping[str, PixelScores] = score_tokenizer(
        tokenizer, test, dataset.scene, dataset.split("test").points, floor, advance
    ) if dataset.tracked else score_footage(tokenizer, test, floor, advance)
    save_tokenizer(paths.model, tokenizer)
    size = {"parameters": sum(p.numel() for p in tokenizer.parameters()), "best_epoch": history.best_epoch + 1}
    headlines = HEADLINES if dataset.tracked else HEADLINES_OF_FOOTAGE
    write_numbers(paths, {**reconstruction_metrics(scores, params.seed), **size}, headlines)
    write_csv(paths.curves, curves_table({"tokenizer": history}))
    draw_reconstructions(paths.reconstructions, tokenizer, test)


def own_still(pixels: Pixels) -> NDArray[np.uint8]:
    """(N, H, W, 3): each clip's own still picture, for clips (N, T, H, W, 3) that share no background."""
    parts = [still_pictures(pixels[start : start + STILLS]) for start in range(0, len(pixels), STILLS)]
    return np.rint(np.concatenate(parts) * 255).astype(np.uint8)


def draw_reconstructions(path: Path, tokenizer: nn.Module, test: Clips) -> None:
    """One clip a class, a few frames each: the original, what the codes keep of it, and how far the two are apart."""
    from kinetoken.charts.strips import Group, draw_strips

    rows = np.array([np.flatnonzero(test.label == name)[0] for name in test.classes[:SHOWN_CLASSES]])
    frames = np.linspace(0, test.pixels.shape[1] - 1, SHOWN_FRAMES).round().astype(int)
    original = torch.from_numpy(test.pixels[rows])
    device = next(tokenizer.parameters()).device
    output = (tokenizer.reconstruct(original.to(device)).cpu() * 255).round().to(torch.uint8)  # type: ignore[operator]
    before, after = (each[:, frames].flatten(0, 1).numpy() for each in (original, output))  # (K F, H, W, 3)
    apart = np.minimum(MAGNIFIED * np.abs(before.astype(int) - after.astype(int)), 255).astype(np.uint8)
    groups = [Group(str(test.label[row]), len(frames), [f"frame {frame}" for frame in frames]) for row in rows]
    labels = ["original", "reconstruction", f"difference\n(times {MAGNIFIED})"]
    draw_strips(path, [before, after, apart], labels, groups)


def main() -> int:
    return run_stage(run, TokenizerParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
