"""How good a classifier is: accuracy with its interval and floor, per class, calibration, raw rows for plots."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ECE_BINS = 15
BOOTSTRAP_DRAWS = 1000
TEMPERATURES = np.geomspace(0.2, 5.0, 81)


def bootstrap_interval(values: np.ndarray, seed: int = 0, draws: int = BOOTSTRAP_DRAWS) -> tuple[float, float]:
    """95 % percentile interval of the mean over clips. values (N, ...): one clip a row, rows drawn together.

    Efron (1979). A row of several numbers (a frame each) counts as one clip: frames of a clip err together.
    """
    each = np.asarray(values, np.float64).reshape(len(values), -1).mean(1)  # (N,)
    rng = np.random.default_rng(seed)
    means = [each[rng.integers(0, len(each), len(each))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def with_interval(name: str, values: np.ndarray, seed: int = 0) -> dict[str, float]:
    """`name`, `name_ci95_low` and `name_ci95_high` for the mean of one value (or row) a clip."""
    low, high = bootstrap_interval(values, seed)
    return {name: float(np.mean(values)), f"{name}_ci95_low": low, f"{name}_ci95_high": high}


def majority_accuracy(train: Labels, test: Labels) -> float:
    """Accuracy of always naming the class most frequent in training: the floor of every classifier."""
    return float((test == np.bincount(train).argmax()).mean())


def expected_calibration_error(probabilities: Array, target: Labels, bins: int = ECE_BINS) -> float:
    """Mean |confidence − accuracy| of the top label over bins of equal mass. probabilities (N, C).

    Guo et al. (2017, arXiv 1706.04599), with bins of equal mass after Nguyen and O'Connor (2015).
    """
    return float(sum(r["share"] * abs(r["confidence"] - r["accuracy"]) for r in _bins(probabilities, target, bins)))


def reliability_table(probabilities: Array, target: Labels, bins: int = ECE_BINS) -> "pd.DataFrame":
    """One row a bin of equal mass: mean confidence, accuracy, share of the clips."""
    import pandas as pd

    return pd.DataFrame(_bins(probabilities, target, bins))


def _bins(probabilities: Array, target: Labels, bins: int) -> list[dict[str, float]]:
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == target
    order = np.argsort(confidence, kind="stable")
    return [
        {"confidence": float(confidence[part].mean()), "accuracy": float(correct[part].mean()),
         "share": len(part) / len(order)}
        for part in np.array_split(order, bins) if len(part)
    ]


def classification_metrics(
    probabilities: Array, target: Labels, classes: Sequence[str], floor: float
) -> dict[str, Any]:
    """accuracy with floor and interval, per_class.<class> (recall), ece. probabilities (N, C), target (N,)."""
    correct = (probabilities.argmax(1) == target).astype(np.float64)
    return {
        **with_interval("accuracy", correct), "accuracy_floor": floor,
        "per_class": {name: float(correct[target == i].mean()) for i, name in enumerate(classes)},
        "ece": expected_calibration_error(probabilities, target),
    }


def confusion_rows(probabilities: Array, target: Labels, classes: Sequence[str]) -> "pd.DataFrame":
    """One row a clip, columns actual and predicted: what `dvc plots` draws as a confusion matrix."""
    import pandas as pd

    names = np.array(classes)
    return pd.DataFrame({"actual": names[target], "predicted": names[probabilities.argmax(1)]})


def fitted_temperature(logits: Array, target: Labels) -> float:
    """The temperature of a grid that gives the least cross-entropy on held-out clips. logits (N, C).

    Guo et al. (2017, arXiv 1706.04599): divide the logits by it.
    """
    losses = [-log_softmax(logits / t)[np.arange(len(target)), target].mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def log_softmax(logits: Array) -> Array:
    """(N, C) → (N, C) log-probabilities."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
