"""What the first team took for codes, the encoder's output that was never quantized: their classifier and the doctor.

Reads    params reading (the doctor's and the classifier's) and hardware; a clip store and a tokenizer
Writes   the features as one array, as a user would hand them in; the scores of a classifier on their average over
         space, the doctor's numbers and its verdict

Alone    python -m studies.first_team.examine_features --params studies/first_team/params.yaml
             --section reading --videos VIDEOS --tokenizer TOKENIZER --features features.npz
             --heads heads.csv --numbers doctor.csv --verdict verdict.md --verdict-json verdict.json
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.doctor import diagnose
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.text import write_verdict
from kinetoken.heads.classifier import ClassifierParams, train_head
from kinetoken.scenes.clips import ClipStore
from kinetoken.scores import majority_accuracy, with_interval
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import fabric_device

BATCH = 16  # clips encoded at once
POOLING = "spatial_mean"


@dataclass(frozen=True)
class Reading:
    """Section reading: what reads codes and the encoder's output alike."""

    doctor: Diagnosis
    classifier: ClassifierParams


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")]
    tokenizer: Annotated[Path, Input("the tokenizer whose encoder is read")]
    features: Annotated[Path, Output("features, labels and splits, NPZ")]
    heads: Annotated[Path, Output("accuracy of the classifier")]
    numbers: Annotated[Path, Output("the doctor's numbers")]
    verdict: Annotated[Path, Output("cause, evidence, cure in words")]
    verdict_json: Annotated[Path, Output("the same as data")]


def run(params: Reading, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(DatasetPaths(videos=paths.videos, tokenizer=paths.tokenizer))
    store, tokenizer = dataset.clips, dataset.tokenizer
    tokenizer.to(fabric_device(context.hardware))
    context.progress.phase("encoding", len(store), "clips")
    features = np.concatenate(list(encoder_output(store, tokenizer, context)))
    with paths.features.open("wb") as sink:
        np.savez(
            sink, codes=features, label=store.label, split=store.split, track_id=store.track_id.astype(np.int64)
        )
    heads = {"pooling": {POOLING: classified(params.classifier, features, store, context)}}
    write_numbers_table(paths.heads, heads)
    patient = take_in(Files(paths.features, clips=paths.videos), params.doctor, context.progress)
    report = diagnose(patient, params.doctor, context)
    write_numbers_table(paths.numbers, {"healthy": int(report.verdict.healthy), **report.numbers})
    write_verdict(paths.verdict, paths.verdict_json, report.statement("kinetoken"))
    context.progress.say(f"verdict: {report.verdict.cause}. {report.verdict.evidence}")


def classified(
    params: ClassifierParams, features: NDArray[np.float32], store: ClipStore, context: Context
) -> dict[str, float]:
    """Accuracy on test clips, with its interval and floor, of train_classifier's head on averaged features.

    The head takes codes and looks up their coordinates; a codebook with one entry a token has it read the features
    (N, T', H', W', D) themselves.
    """
    grid = (features.shape[1], features.shape[2], features.shape[3])
    tokens = np.arange(features[..., 0].size, dtype=np.int32).reshape(features.shape[:-1])
    table = CodesTable(
        store.track_id, store.label, store.split, tokens, CodesMeta(grid, tokens.size, "none", (), "")
    )
    head, _ = train_head(params, POOLING, table, torch.from_numpy(features.reshape(-1, features.shape[-1])), context)
    test, target = table.of_split("test"), table.target[table.split == "test"]
    right = head.log_probabilities(test.codes).argmax(1) == target
    floor = majority_accuracy(table.target[table.split == "train"], target)
    return {**with_interval("accuracy", right.astype(np.float64)), "accuracy_floor": floor}


@torch.no_grad()
def encoder_output(store: ClipStore, tokenizer: Tokenizer, context: Context) -> Iterator[NDArray[np.float32]]:
    """The clips' latents (n, T', H', W', D) in the store's order, a few at a time."""
    for clips in store.stream():
        for start in range(0, len(clips), BATCH):
            pixels = torch.from_numpy(clips.pixels[start : start + BATCH]).to(tokenizer.background.device)
            latents = tokenizer.latents(pixels).float().cpu().numpy()
            yield np.ascontiguousarray(rearrange(latents, "n d t h w -> n t h w d"))
            context.progress.advance(len(latents))


def main() -> int:
    return run_stage(run, Reading, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
