"""Foretell the codes of the next time slices from those of the past, by an LSTM and by a transformer.

Reads the codes table, the tokenizer that made it, the clips and the trajectories (for the camera, the
training paths and the truth of the scoring), and the generator, whose masked prior foretells too; writes the
model folder, metrics, curves, the errors at each step ahead, and pictures of past, truth and forecast. Floors
(copy, constant velocity, constant acceleration, quadratic) and the oracle, which knows the law, read the ball
tracked in the decoded past.
Runs alone:

    python -m stages.train_predictor --codes data/motion/codes.parquet --metrics /tmp/metrics.json
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.generation.generator import Generator, load_generator
from kinetoken.prediction.judging import Codes, Forecaster
from kinetoken.prediction.network import DYNAMICS, Predictor, PredictorParams, PredictorShape
from kinetoken.prediction.scores import Scores, all_metrics
from kinetoken.prediction.training import train_predictor
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, require_causal
from kinetoken.training.loop import curves_table, fabric_device


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/motion/track_params.parquet")
    generator: Annotated[Path, Input("generator whose masked prior also foretells")] = Path("models/generator")
    model: Annotated[Path, Output("the predictor, all models in one folder")] = Path("models/predictor")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/train_predictor.json")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_predictor/curves.csv")
    horizon: Annotated[Path, Output("errors at each step ahead, by class")] = Path("plots/train_predictor/horizon.csv")
    pictures: Annotated[Path, Output("past, truth, forecast")] = Path("plots/train_predictor/predictions.png")


def run(params: PredictorParams, paths: Paths, context: Context) -> None:
    codes, tokenizer = read_codes(paths.codes), load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    require_causal(tokenizer, paths.tokenizer)
    store, tracks = ClipStore(paths.videos), read_tracks(paths.trajectories, paths.track_params)
    check(params, paths, codes, store, tracks)
    generator = load_generator(paths.generator).to(fabric_device(context.hardware))
    codes.meta.require_same_tokenizer(generator.tokenizer_hash, paths.codes, paths.generator)
    predictor = build(params, codes, tokenizer, store)
    histories = train_predictor(predictor, codes, tracks, store.scene, params, context)
    tokenizer.to(fabric_device(context.hardware))
    foretell = forecasters(predictor, generator, params.seed)
    scores = {split: Scores(foretell, predictor.shape, tokenizer, codes, store, tracks, split, context)
              for split in ("test", "ood") if (codes.split == split).any()}
    predictor.save(paths.model)
    write_metrics(paths.metrics, all_metrics(scores, params.bootstrap, params.seed))
    write_csv(paths.curves, curves_table(histories))
    write_csv(paths.horizon, scores["test"].horizon_table())
    scores["test"].draw(paths.pictures, predictor.best)


def forecasters(predictor: Predictor, generator: Generator, seed: int) -> dict[str, Forecaster]:
    """All that foretell codes from codes, by name."""
    def masked(past: Codes, slices: int) -> Codes:
        return generator.complete(past, slices, seed)

    return {name: partial(_predicted, predictor, name) for name in DYNAMICS} | {"masked": masked}


def _predicted(predictor: Predictor, name: str, past: Codes, slices: int) -> Codes:
    return predictor.predict(past, name, slices)


def check(params: PredictorParams, paths: Paths, codes: CodesTable, store: ClipStore, tracks: Tracks) -> None:
    """UserError unless clips, codes and tracks belong together and hold what training and scoring need."""
    codes.of_split("train", "val", "test")
    if missing := sorted(set(codes.classes) - set(codes.label[codes.split == "train"])):
        raise UserError(f"{paths.codes}: class '{missing[0]}' has no clip in split 'train'")
    require_same_tracks(codes, paths.codes, (store, paths.videos), (tracks, paths.trajectories))
    slices = codes.meta.grid[0]
    if params.past_slices + params.future_slices > slices:
        raise UserError(
            f"train_predictor: past_slices {params.past_slices} and future_slices {params.future_slices} do not fit "
            f"the {slices} slices of {paths.codes}"
        )
    _ = store.scene  # must be known


def build(params: PredictorParams, codes: CodesTable, tokenizer: Tokenizer, store: ClipStore) -> Predictor:
    """An untrained predictor for these codes."""
    codebook = Codebook.of(tokenizer)
    shape = PredictorShape(
        grid=codes.meta.grid, levels=codebook.levels, coordinates=codebook.dim, codebook_size=codebook.size,
        past_slices=params.past_slices,
        slice_frames=store.shape[0] // codes.meta.grid[0], image_size=store.shape[1], width=params.width,
        filters=params.filters, lstm_width=params.lstm_width, transformer_width=params.transformer_width,
        future_slices=params.future_slices,
    )
    torch.manual_seed(params.seed)
    predictor = Predictor(shape, codebook)
    predictor.tokenizer_hash = codes.meta.tokenizer
    return predictor


def main() -> int:
    return run_stage(run, PredictorParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
