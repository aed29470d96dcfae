"""Train classifiers on codes: one pooling that keeps place, and the first team's, which does not.

Reads    params train_classifier, hardware; the motion codes; the tokenizer, for the codes' coordinates
Writes   models/classifier (the first pooling of the list, calibrated on val), metrics,
         plots/train_classifier/{confusion,curves,prefix,reliability}.csv

Alone    python -m stages.train_classifier
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.codes import CodesTable, read_codes
from kinetoken.heads.classifier import (
    ClassifierParams,
    CodeClassifier,
    build_classifier,
    prefix_step,
    save_classifier,
)
from kinetoken.heads.poolings import code_coordinates
from kinetoken.heads.scoring import (
    classification_metrics,
    confusion_rows,
    fitted_temperature,
    majority_accuracy,
    reliability_table,
    require_classes,
    with_interval,
)
from kinetoken.stage import Context, Input, Output, run_stage
from kinetoken.tokenizer.network import load_tokenizer
from kinetoken.training import History, TensorBatches, curves_table, fabric_device, fit

PLOTS = Path("plots/train_classifier")


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")] = Path("models/tokenizer")
    model: Annotated[Path, Output("the trained head")] = Path("models/classifier")
    metrics: Annotated[Path, Output("accuracy and its floor")] = Path("metrics/train_classifier.json")
    confusion: Annotated[Path, Output("actual and predicted class of each test clip")] = PLOTS / "confusion.csv"
    curves: Annotated[Path, Output("training curves")] = PLOTS / "curves.csv"
    prefix: Annotated[Path, Output("accuracy after each slice")] = PLOTS / "prefix.csv"
    reliability: Annotated[Path, Output("confidence against accuracy")] = PLOTS / "reliability.csv"


def run(params: ClassifierParams, paths: Paths, context: Context) -> None:
    codes = read_codes(paths.codes)
    require_classes(paths.codes, codes.label, codes.split)
    tokenizer = load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    coordinates = code_coordinates(tokenizer)
    heads: dict[str, CodeClassifier] = {}
    histories: dict[str, History] = {}
    for pooling in params.poolings:
        heads[pooling], histories[pooling] = train_head(params, pooling, codes, coordinates, context)
    best = heads[params.poolings[0]]
    save_classifier(paths.model, best, params, tokenizer.hash)
    context.progress.phase("scoring")
    score(heads, codes, paths)
    write_csv(paths.curves, curves_table(histories))


def train_head(
    params: ClassifierParams, pooling: str, codes: CodesTable, coordinates: Tensor, context: Context
) -> tuple[CodeClassifier, History]:
    """The head of one pooling, the weights of its best epoch and its temperatures chosen on val."""
    head = build_classifier(params, pooling, codes.classes, coordinates, codes.meta.grid)
    target = codes.target
    train, val = np.flatnonzero(codes.split == "train"), np.flatnonzero(codes.split == "val")

    def validate(_: torch.nn.Module) -> dict[str, float]:
        log_likelihood = head.log_probabilities(codes.codes[val])
        right = log_likelihood.argmax(1) == target[val]
        return {"val_loss": float(-log_likelihood[np.arange(len(val)), target[val]].mean()),
                "val_accuracy": float(right.mean())}

    batches = TensorBatches(
        codes=torch.from_numpy(codes.codes[train].astype(np.int64)), target=torch.from_numpy(target[train])
    )
    history = fit(
        head, prefix_step(params.prefix_weight), batches, params, context, label=pooling, validate=validate,
        monitor="val_loss",
    )
    head.to(fabric_device(context.hardware))
    for count in range(1, codes.meta.grid[0] + 1):
        raw = head.log_probabilities(codes.codes[val, :count])
        head.temperature[count - 1] = fitted_temperature(raw, target[val])
    return head, history


def score(heads: dict[str, CodeClassifier], codes: CodesTable, paths: Paths) -> None:
    """Metrics and plot tables of the heads on the test clips; the first head is the headline."""
    import pandas as pd

    classes = codes.classes
    test, target = codes.of_split("test"), codes.target[codes.split == "test"]
    floor = majority_accuracy(codes.target[codes.split == "train"], target)
    metrics: dict[str, Any] = {"pooling": {}, "prefix": {}}
    rows = []
    for rank, (name, head) in enumerate(heads.items()):
        for count in range(1, codes.meta.grid[0] + 1):
            probabilities = np.exp(head.log_probabilities(test.codes[:, :count]))
            right = with_interval("accuracy", (probabilities.argmax(1) == target).astype(float))
            rows.append({"pooling": name, "slices": count, **right, "accuracy_floor": floor})
            if rank == 0:
                metrics["prefix"][str(count)] = right
        metrics["pooling"][name] = {**right, "accuracy_floor": floor}
        if rank == 0:
            metrics |= classification_metrics(probabilities, target, classes, floor)
            write_csv(paths.confusion, confusion_rows(probabilities, target, classes))
            write_csv(paths.reliability, reliability_table(probabilities, target))
    write_metrics(paths.metrics, metrics)
    write_csv(paths.prefix, pd.DataFrame(rows))


def main() -> int:
    return run_stage(run, ClassifierParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
