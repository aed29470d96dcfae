"""Predict the codes of the next time slices from those of the past, by an LSTM and by a transformer.

Reads the codes table, the tokenizer that made it, the position head, which reads the past, the clips and the
trajectories (for the camera, the training paths and the truth of the scoring); writes the model folder, metrics,
curves, the errors at each step ahead, and pictures of past, truth and forecast. The baselines (copy, constant velocity,
constant acceleration, quadratic) and the oracle, which knows the law, use the ball's path as tracked in the decoded
past. In a user's videos, of which no true positions are known, the path is that of the middle of what moves, the
predictor learns to read it, and there is no oracle.
Runs alone:

    python -m stages.train_predictor --codes data/motion/codes.parquet --metrics /tmp/metrics.json
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import PerTrack, require_of_each_class, require_splits
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.heads.position import PositionHead, position_head_for
from kinetoken.prediction.judging import Codes, Forecaster, Insight
from kinetoken.prediction.network import DYNAMICS, Predictor, PredictorParams, PredictorShape
from kinetoken.prediction.scores import HEADLINES, all_metrics, score_splits
from kinetoken.prediction.training import train_predictor
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.paths import Array, to_pixels
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import curves_table, fabric_device


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions", optional=True)] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[
        Path, Input("constants of each track", optional=True)
    ] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("the predictor, all models in one folder")] = Path("models/predictor")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_predictor.json")
    headlines: HeadlineFolder = Path("metrics/train_predictor")
    numbers: NumbersTable = Path("plots/train_predictor/numbers.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_predictor/curves.csv")
    horizon: Annotated[Path, Output("errors at each step ahead, by class")] = Path("plots/train_predictor/horizon.csv")
    pictures: Annotated[Path, Output("past, truth, forecast")] = Path("plots/train_predictor/predictions.png")
    position: Annotated[Path, Input("position head, which reads the past", optional=True)] = Path("models/position")


def run(params: PredictorParams, paths: Paths, context: Context) -> None:
    dataset = open_dataset(params, paths)
    head = position_head_for(dataset, paths.position)
    predictor = build(params, dataset.codes, dataset.tokenizer, dataset.clips, head)
    histories = train_predictor(predictor, dataset, params, context)
    dataset.tokenizer.to(fabric_device(context.hardware))
    scores = score_splits(
        forecasters(predictor), predictor.shape, dataset, context, insight=insight_into(predictor)
    )
    predictor.save(paths.model)
    write_numbers(paths, all_metrics(scores, params.bootstrap), HEADLINES)
    write_csv(paths.curves, curves_table(histories))
    write_csv(paths.horizon, scores["test"].horizon_table())
    scores["test"].draw(paths.pictures, predictor.best)


def forecasters(predictor: Predictor) -> dict[str, Forecaster]:
    """The predictor's models by name."""
    return {name: partial(_predicted, predictor, name) for name in DYNAMICS}


def insight_into(predictor: Predictor) -> Insight:
    """What the predictor holds before it writes codes, in pixels."""
    size = predictor.shape.image_size
    return Insight(
        lambda past: to_pixels(predictor.paths(past)[0], size),
        {name: partial(_foretold, predictor, name) for name in DYNAMICS},
    )


def _foretold(predictor: Predictor, name: str, past: Codes) -> tuple[Array, Array]:
    u, v, _ = to_pixels(predictor.paths(past, name)[1], predictor.shape.image_size)
    return u, v


def _predicted(predictor: Predictor, name: str, past: Codes, slices: int) -> Codes:
    return predictor.predict(past, name, slices)


def open_dataset(params: PredictorParams, paths: Paths) -> Dataset:
    """UserError for what `Dataset.open` refuses, a class without training clips, or more slices than a clip has."""
    dataset = Dataset.open(DatasetPaths(
        codes=paths.codes, tokenizer=paths.tokenizer, videos=paths.videos, trajectories=paths.trajectories,
        track_params=paths.track_params,
    ), needs=every_class_trained, causal=True, scene=True)
    slices = dataset.codes.meta.grid[0]
    if params.past_slices + params.future_slices > slices:
        raise UserError(
            f"train_predictor: past_slices {params.past_slices} and future_slices {params.future_slices} do not fit "
            f"the {slices} slices of {paths.codes}"
        )
    return dataset


def every_class_trained(codes: PerTrack, source: object) -> None:
    """UserError for an empty split, or a class with nothing to train on."""
    require_splits(codes, source)
    require_of_each_class(codes, source, "train")


def build(
    params: PredictorParams, codes: CodesTable, tokenizer: Tokenizer, store: ClipStore, head: PositionHead | None = None
) -> Predictor:
    """An untrained predictor for these codes, whose reader is the position head if there is one."""
    codebook = Codebook.of(tokenizer)
    shape = PredictorShape(
        grid=codes.meta.grid, levels=codebook.levels, coordinates=codebook.dim, codebook_size=codebook.size,
        past_slices=params.past_slices,
        slice_frames=store.shape[0] // codes.meta.grid[0], image_size=store.shape[1], width=params.width,
        filters=params.filters, lstm_width=params.lstm_width, transformer_width=params.transformer_width,
        future_slices=params.future_slices,
    )
    torch.manual_seed(params.seed)
    predictor = Predictor(shape, codebook, head)
    predictor.tokenizer_hash = codes.meta.tokenizer
    return predictor


def main() -> int:
    return run_stage(run, PredictorParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
