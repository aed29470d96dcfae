"""Fit priors over codes, two Gaussians and a masked transformer, draw clips from them, and judge the clips.

Reads the codes table, the tokenizer that made it, the pixel classifier, the clips (for the scene and the training
clips' paths), and for scoring only the trajectories. The masked prior also predicts the last slice of a clip's codes
from those before, and is scored like the predictors (`masked.forecast`). Writes the model folder, metrics, training
curves, scores and laws by class, the forecasts' errors at each step ahead, and decoded samples. How long a clip takes
to draw is noted in run_info, not in the metrics. Of clips without classes, which have no pixel classifier, the class is
not judged. Of a user's videos, of which no true positions are known, the ball is what moves. Runs alone:

    python -m stages.train_generator --codes data/motion/codes.parquet --metrics /tmp/metrics.json
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from kinetoken.codes import CodesTable
from kinetoken.core.absence import why_absent
from kinetoken.core.artifacts import write_csv, write_json
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import PerTrack, require_of_each_class, require_splits
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.generation import judging
from kinetoken.generation.forecasting import horizon_table, score_forecasts
from kinetoken.generation.generator import PRIORS, Generator, GeneratorParams, GeneratorShape
from kinetoken.generation.judging import Pixels
from kinetoken.generation.plan import Plan, PlanShape
from kinetoken.generation.scores import (
    HEADLINES,
    HEADLINES_WITHOUT_CLASSES,
    Scorer,
    all_metrics,
    law_table,
    score_table,
)
from kinetoken.heads.video_classifier import VideoClassifier, load_video_classifier
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import curves_table, fabric_device

SAMPLES_PER_CLASS = 2


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    judge: Annotated[Path, Input("pixel classifier", optional=True)] = Path("models/video_classifier")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[
        Path, Input("true positions, for scoring only", optional=True)
    ] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[
        Path, Input("constants of each track", optional=True)
    ] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("the generator, all priors in one folder")] = Path("models/generator")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_generator.json")
    headlines: HeadlineFolder = Path("metrics/train_generator")
    numbers: NumbersTable = Path("plots/train_generator/numbers.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_generator/curves.csv")
    scores: Annotated[Path, Output("scores by prior and class")] = Path("plots/train_generator/scores.csv")
    laws: Annotated[Path, Output("fitted parameters' distance from real ones")] = Path("plots/train_generator/laws.csv")
    horizon: Annotated[Path, Output("forecast errors by step and class")] = Path("plots/train_generator/horizon.csv")
    samples: Annotated[Path, Output("decoded samples")] = Path("plots/train_generator/samples.png")


def run(params: GeneratorParams, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(DatasetPaths(
        codes=paths.codes, tokenizer=paths.tokenizer, videos=paths.videos, trajectories=paths.trajectories,
        track_params=paths.track_params,
    ), needs=learnable, scene=True)
    codes, judge = dataset.codes, None if why_absent(paths.judge) else load_video_classifier(paths.judge)
    check(params, paths, dataset, judge)
    tokenizer = dataset.tokenizer.to(fabric_device(context.hardware))
    generator = build(params, codes, tokenizer, dataset.clips.shape[0])
    context.progress.phase("following the ball")
    balls = {
        split: judging.follow(dataset.split(split).read_clips().pixels, dataset.background)
        for split in ("train", "val")
    }
    seen = {split: Plan.of_tracks(ball, dataset.clips.shape[1]) for split, ball in balls.items()}
    histories = generator.fit(codes, seen, params, context)
    generator.to(fabric_device(context.hardware))
    scorer = Scorer(params, dataset, balls["train"], judge, context)
    scored = {"real": scorer.ceiling()}
    samples, seconds = {}, {}
    for prior in PRIORS:
        context.progress.phase(f"drawing from {prior}")
        began = time.perf_counter()
        codes_of = {name: generator.sample(prior, name, params.clips_per_class, params.seed) for name in codes.classes}
        seconds[prior] = (time.perf_counter() - began) / (len(codes_of) * params.clips_per_class)
        drawn = {name: scorer.decode(each, prior) for name, each in codes_of.items()}
        scored[prior] = scorer.score(drawn)
        samples[prior] = {name: clips[:SAMPLES_PER_CLASS] for name, clips in drawn.items()}
    forecasts = score_forecasts(generator, dataset, context)
    generator.save(paths.model)
    headlines = HEADLINES if judge is not None else HEADLINES_WITHOUT_CLASSES
    write_numbers(paths, all_metrics(scored, forecasts, scorer, params), headlines)
    write_csv(paths.curves, curves_table(histories))
    write_csv(paths.scores, score_table(scored))
    write_csv(paths.laws, law_table(scored))
    write_csv(paths.horizon, horizon_table(forecasts))
    draw_samples(paths.samples, samples)
    if context.run_info is not None:
        write_json(context.run_info / "seconds_per_clip.json", seconds)


def learnable(codes: PerTrack, source: object) -> None:
    """UserError for an empty split, or a class with too few clips to be learned, or to be judged by halves."""
    require_splits(codes, source)
    require_of_each_class(codes, source, "train", 2)
    require_of_each_class(codes, source, "test", 4)


def check(params: GeneratorParams, paths: Paths, dataset: Dataset, judge: VideoClassifier | None) -> None:
    """UserError unless the judge, if there is one, knows the same classes, and the params fit clips and codes."""
    if judge is not None and tuple(judge.classes) != dataset.classes:
        raise UserError(f"{paths.judge}: judges {list(judge.classes)}, but {paths.codes} has {list(dataset.classes)}")
    frames = dataset.clips.shape[0]
    if params.plan.components > 3 * frames:
        raise UserError(
            f"train_generator.plan.components: a path of {frames} frames has {3 * frames} numbers, "
            f"{params.plan.components} components are more"
        )
    slices, rows, columns = dataset.codes.meta.grid
    patches = slices * (rows // params.masked.patch) * (columns // params.masked.patch)
    if params.masked.sampling.steps > patches:
        raise UserError(
            f"train_generator.masked.sampling.steps: {params.masked.sampling.steps} steps for {patches} patches "
            f"a clip; at most one a patch"
        )


def build(params: GeneratorParams, codes: CodesTable, tokenizer: Tokenizer, frames: int) -> Generator:
    """A generator for these codes of clips of `frames` frames, its priors not yet fitted."""
    codebook = Codebook.of(tokenizer)
    train = codes.split == "train"
    clips = min(int((train & (codes.label == name)).sum()) for name in codes.classes)
    masked = params.masked
    shape = GeneratorShape(
        codes.classes, codes.meta.grid, codebook.levels, codebook.size, codebook.dim, frames // codes.meta.grid[0],
        min(params.components, clips - 1),
        PlanShape(params.plan.components, params.plan.width, params.plan.layers, params.plan.mixture),
        masked.patch, masked.width, masked.layers, masked.heads,
    )
    torch.manual_seed(masked.seed)
    generator = Generator(shape, codebook, masked.sampling)
    generator.tokenizer_hash = codes.meta.tokenizer
    return generator


def draw_samples(path: Path, samples: dict[str, dict[str, Pixels]]) -> None:
    """Every other frame of generated clips: a row a clip with the class that was asked for, the priors side by side.

    samples: prior to class to clips (N, T, H, W, 3).
    """
    from kinetoken.charts.strips import Group, draw_strips

    shown = {prior: np.concatenate(list(classes.values()))[:, ::2] for prior, classes in samples.items()}
    labels = [name for name, clips in next(iter(samples.values())).items() for _ in clips]
    captions = [f"frame {2 * n}" for n in range(next(iter(shown.values())).shape[1])]
    groups = [Group(prior, len(captions), captions) for prior in shown]
    draw_strips(path, list(np.concatenate(list(shown.values()), 1)), labels, groups, enlarged=1)


def main() -> int:
    return run_stage(run, GeneratorParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
