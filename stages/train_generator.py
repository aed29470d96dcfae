"""Fit priors over codes, draw clips from them, and judge the clips.

Reads the codes table, the tokenizer that made it, the pixel judge, and the clips (for the scene and the
training clips' paths); writes the model folder, metrics, scores by class, and decoded samples. Runs alone:

    python -m stages.train_generator --codes data/motion/codes.parquet --metrics /tmp/metrics.json
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.clips import ClipStore
from kinetoken.codes import CodesTable, read_codes
from kinetoken.errors import UserError
from kinetoken.heads.generated import Pixels
from kinetoken.heads.generator import PRIORS, Generator, GeneratorParams, GeneratorShape
from kinetoken.heads.generator_scores import PerClip, Scorer, all_metrics, score_table
from kinetoken.heads.video_classifier import VideoClassifier, load_video_classifier
from kinetoken.stage import Context, Input, Output, run_stage
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer
from kinetoken.training import fabric_device

SAMPLES_PER_CLASS = 2


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    judge: Annotated[Path, Input("pixel judge")] = Path("models/video_classifier")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    model: Annotated[Path, Output("the generator, all priors in one folder")] = Path("models/generator")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/train_generator.json")
    scores: Annotated[Path, Output("scores by prior and class")] = Path("plots/train_generator/scores.csv")
    samples: Annotated[Path, Output("decoded samples")] = Path("plots/train_generator/samples.png")


def run(params: GeneratorParams, paths: Paths, context: Context) -> None:
    codes, tokenizer = read_codes(paths.codes), load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    store, judge = ClipStore(paths.videos), load_video_classifier(paths.judge)
    check(paths, codes, store, judge)
    tokenizer.to(fabric_device(context.hardware))
    context.progress.phase("fitting priors", len(PRIORS), "priors")
    generator = fitted(params, codes, tokenizer)
    scorer = Scorer(params, codes, tokenizer, judge, store, context)
    scored: dict[str, PerClip] = {"real": scorer.ceiling()}
    strips = []
    for prior in PRIORS:
        drawn = {label: scorer.decode(generator.sample(prior, label, params.clips_per_class, params.seed), prior)
                 for label in generator.classes}
        scored[prior] = scorer.score(drawn)
        strips.append(np.concatenate([clips[:SAMPLES_PER_CLASS] for clips in drawn.values()]))
    generator.save(paths.model)
    write_metrics(paths.metrics, all_metrics(scored, scorer, params))
    write_csv(paths.scores, score_table(scored))
    draw(paths.samples, np.concatenate(strips))


def check(paths: Paths, codes: CodesTable, store: ClipStore, judge: VideoClassifier) -> None:
    """UserError unless clips, codes and judge belong together and every class can be learned and judged."""
    codes.of_split("train", "test")
    _ = store.scene  # must be known
    if not np.array_equal(codes.track_id, store.track_id):
        raise UserError(f"{paths.videos}: not the tracks of {paths.codes}; run extract_codes again")
    if tuple(judge.classes) != codes.classes:
        raise UserError(f"{paths.judge}: judges {list(judge.classes)}, but {paths.codes} has {list(codes.classes)}")
    for split, least in (("train", 2), ("test", 4)):
        for name in codes.classes:
            found = int(((codes.split == split) & (codes.label == name)).sum())
            if found < least:
                raise UserError(f"{paths.codes}: class '{name}' has {found} clips in split '{split}', {least} needed")


def fitted(params: GeneratorParams, codes: CodesTable, tokenizer: Tokenizer) -> Generator:
    """Every prior, fitted to the training codes."""
    train = codes.split == "train"
    device = next(tokenizer.parameters()).device
    every = torch.arange(codes.meta.codebook_size, device=device).reshape(-1, 1, 1, 1)
    table = tokenizer.codes_to_latents(every)[..., 0, 0, 0].detach().cpu()
    clips = min(int((train & (codes.label == name)).sum()) for name in codes.classes)
    shape = GeneratorShape(
        codes.classes, codes.meta.grid, codes.meta.codebook_size, table.shape[1], min(params.components, clips - 1)
    )
    generator = Generator(shape, table)
    generator.fit(codes.codes[train], codes.target[train], params.shrinkage)
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
