"""Fit priors over codes, two Gaussians and a masked transformer, draw clips from them, and judge the clips.

Reads the codes table, the tokenizer that made it, the pixel judge, and the clips (for the scene and the
training clips' paths); writes the model folder, metrics, training curves, scores and laws by class, and decoded
samples. How long a clip takes to draw is noted in run_info, not in the metrics. Runs alone:

    python -m stages.train_generator --codes data/motion/codes.parquet --metrics /tmp/metrics.json
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import write_csv, write_json, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.generation.generator import PRIORS, Generator, GeneratorParams, GeneratorShape
from kinetoken.generation.judging import Pixels
from kinetoken.generation.plan import Plan, PlanShape
from kinetoken.generation.scores import Scorer, all_metrics, law_table, score_table
from kinetoken.heads.video_classifier import VideoClassifier, load_video_classifier
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer
from kinetoken.training.loop import curves_table, fabric_device

SAMPLES_PER_CLASS = 2


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    judge: Annotated[Path, Input("pixel judge")] = Path("models/video_classifier")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    model: Annotated[Path, Output("the generator, all priors in one folder")] = Path("models/generator")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/train_generator.json")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_generator/curves.csv")
    scores: Annotated[Path, Output("scores by prior and class")] = Path("plots/train_generator/scores.csv")
    laws: Annotated[Path, Output("fitted parameters' distance from real ones")] = Path("plots/train_generator/laws.csv")
    samples: Annotated[Path, Output("decoded samples")] = Path("plots/train_generator/samples.png")


def run(params: GeneratorParams, paths: Paths, context: Context) -> None:
    codes, tokenizer = read_codes(paths.codes), load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    store, judge = ClipStore(paths.videos), load_video_classifier(paths.judge)
    check(params, paths, codes, store, judge)
    tokenizer.to(fabric_device(context.hardware))
    generator = build(params, codes, tokenizer, store.shape[0])
    context.progress.phase("following the ball")
    background = store.scene.background()
    seen = {split: Plan.of_clips(store.read(split).pixels, background) for split in ("train", "val")}
    histories = generator.fit(codes, seen, params, context)
    generator.to(fabric_device(context.hardware))
    scorer = Scorer(params, codes, tokenizer, judge, store, context)
    scored = {"real": scorer.ceiling()}
    strips, seconds = [], {}
    for prior in PRIORS:
        context.progress.phase(f"drawing from {prior}")
        began = time.perf_counter()
        codes_of = {name: generator.sample(prior, name, params.clips_per_class, params.seed) for name in codes.classes}
        seconds[prior] = (time.perf_counter() - began) / (len(codes_of) * params.clips_per_class)
        drawn = {name: scorer.decode(each, prior) for name, each in codes_of.items()}
        scored[prior] = scorer.score(drawn)
        strips.append(np.concatenate([clips[:SAMPLES_PER_CLASS] for clips in drawn.values()]))
    generator.save(paths.model)
    write_metrics(paths.metrics, all_metrics(scored, scorer, params))
    write_csv(paths.curves, curves_table(histories))
    write_csv(paths.scores, score_table(scored))
    write_csv(paths.laws, law_table(scored))
    draw(paths.samples, np.concatenate(strips))
    if context.run_info is not None:
        write_json(context.run_info / "seconds_per_clip.json", seconds)


def check(
    params: GeneratorParams, paths: Paths, codes: CodesTable, store: ClipStore, judge: VideoClassifier
) -> None:
    """UserError unless clips, codes and judge belong together and every class can be learned and judged."""
    codes.of_split("train", "val", "test")
    _ = store.scene  # must be known
    if tuple(judge.classes) != codes.classes:
        raise UserError(f"{paths.judge}: judges {list(judge.classes)}, but {paths.codes} has {list(codes.classes)}")
    for split, least in (("train", 2), ("test", 4)):
        for name in codes.classes:
            found = int(((codes.split == split) & (codes.label == name)).sum())
            if found < least:
                raise UserError(f"{paths.codes}: class '{name}' has {found} clips in split '{split}', {least} needed")
    require_same_tracks(codes, paths.codes, (store, paths.videos))
    frames = store.shape[0]
    if params.plan.components > 3 * frames:
        raise UserError(
            f"train_generator.plan.components: a path of {frames} frames has {3 * frames} numbers, "
            f"{params.plan.components} components are more"
        )
    slices, rows, columns = codes.meta.grid
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


def draw(path: Path, clips: Pixels) -> None:
    """Every other frame of each clip, a clip a row."""
    from PIL import Image

    rows = np.concatenate(list(clips[:, ::2].swapaxes(0, 1)), 2)  # (N, H, frames · W, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(list(rows), 0)).save(path)


def main() -> int:
    return run_stage(run, GeneratorParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
