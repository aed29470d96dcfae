"""Train I3D + MAGVIT: frames and tokens of a clip read together, for its class and for what comes next.

Reads    params train_i3d_magvit, hardware; the motion clips, their codes, the tokenizer; the position head, which reads
         the codes; trajectories and track_params, for the true positions
Writes   models/i3d_magvit, metrics, plots/train_i3d_magvit/{confusion,curves,forecast}.csv and pictures

The class is predicted from whole clips and also from the past alone, the future from the past alone.

Alone    python -m stages.train_i3d_magvit
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_classes
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.position import PositionHead, position_head_for
from kinetoken.i3d_magvit.evaluation import Evaluation
from kinetoken.i3d_magvit.network import I3DMagvit, I3DMagvitShape
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.i3d_magvit.scores import HEADLINES
from kinetoken.i3d_magvit.training import ClipSet, train_network
from kinetoken.physics.laws import are_laws
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.paths import scene_path, symmetric_copies
from kinetoken.scores import confusion_rows
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import curves_table, fabric_device


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("constants of each track")] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("both streams in one folder")] = Path("models/i3d_magvit")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_i3d_magvit.json")
    headlines: HeadlineFolder = Path("metrics/train_i3d_magvit")
    numbers: NumbersTable = Path("plots/train_i3d_magvit/numbers.csv")
    confusion: Annotated[Path, Output("actual and predicted class")] = Path("plots/train_i3d_magvit/confusion.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_i3d_magvit/curves.csv")
    forecast: Annotated[Path, Output("errors at each step ahead, by class")] = Path(
        "plots/train_i3d_magvit/judging.csv"
    )
    frames: Annotated[Path, Output("forecasts on top of the frames")] = Path("plots/train_i3d_magvit/forecasts.png")
    paths: Annotated[Path, Output("forecasts as paths in space")] = Path("plots/train_i3d_magvit/paths.png")
    position: Annotated[Path, Input("position head, which reads the codes", optional=True)] = Path("models/position")


def run(params: I3DMagvitParams, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(DatasetPaths(
        videos=paths.videos, codes=paths.codes, tokenizer=paths.tokenizer, trajectories=paths.trajectories,
        track_params=paths.track_params,
    ), needs=require_classes, causal=True, scene=True)
    device = fabric_device(context.hardware)
    head = position_head_for(dataset, paths.position)
    network = build(params, dataset.codes, dataset.tokenizer, dataset.clips, head)
    context.progress.say(f"train_i3d_magvit: {params.backbone.title}, {network.loaded}")
    clips = {name: ClipSet.of(dataset.split(name)) for name in ("train", "val", "test")}
    if head is not None and params.drawn and are_laws(dataset.classes):
        train = dataset.split("train").points
        copies = symmetric_copies(train, dataset.tracks.world, params.copies, (1.0, 1.0), params.seed)
        clips["train"].copies = scene_path(dataset.scene, copies)
    history = train_network(network, clips["train"], clips["val"], params, context)
    network.to(device)
    dataset.tokenizer.to(device)
    context.progress.phase("scoring", 5, "readings")
    evaluation = Evaluation.of(network, dataset, clips)
    context.progress.advance()
    trust = evaluation.trust()
    metrics, by_step = evaluation.class_and_future(trust)
    metrics |= evaluation.each_stream()
    metrics |= evaluation.frames(context.progress)
    metrics["sigma"] = {"px": trust.px, "depth_fraction": trust.depth_fraction}
    metrics["past"]["temperature"] = trust.temperature
    context.progress.advance()
    network.save(paths.model, dataclasses.asdict(trust))
    write_numbers(paths, metrics, HEADLINES)
    predicted = confusion_rows(evaluation.probabilities, evaluation.test.target, dataset.classes)
    write_csv(paths.confusion, predicted.assign(track_id=evaluation.test.track_id))
    write_csv(paths.curves, curves_table({"i3d_magvit": history}))
    write_csv(paths.forecast, by_step)
    evaluation.draw(paths.frames, paths.paths)


def build(
    params: I3DMagvitParams, codes: CodesTable, tokenizer: Tokenizer, store: ClipStore, head: PositionHead | None = None
) -> I3DMagvit:
    """An untrained network for these clips, whose reader is the position head if there is one; what is not loaded
    comes from the params' seed."""
    codebook = Codebook.of(tokenizer)
    shape = I3DMagvitShape(
        codes.classes, store.shape[0], store.shape[1], codes.meta.grid, codebook.levels, codebook.size, codebook.dim,
    )
    torch.manual_seed(params.seed)
    network = I3DMagvit(params, shape, codebook, head)
    network.tokenizer_hash = codes.meta.tokenizer
    return network


def main() -> int:
    return run_stage(run, I3DMagvitParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
