"""How well actions are told: the multi-view protocol, calibration, and what is left within pairs of mirrored actions.

Protocol (TSN, arXiv:1608.00859, as SSv2 is commonly scored): a clip's class probabilities are the mean over its views,
clips in time × crops. Divided by a temperature that is fitted on the validation part, their logarithms are what
calibration is measured on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.actions.classes import PAIRS
from kinetoken.actions.dataset import ActionClips, Footage, mean_over_views
from kinetoken.core.numbers import Headlines
from kinetoken.core.progress import Progress
from kinetoken.gasm_cast.batches import gathered, scoring_batches
from kinetoken.gasm_cast.system import GasmCastSystem
from kinetoken.scores import BOOTSTRAP_DRAWS, Array, Labels, expected_calibration_error, log_softmax, with_interval
from kinetoken.training.precision import Inference

LEAST = 1e-12  # of a probability
HEADLINES = Headlines(
    required=(
        "top1", "top5", "ece", "trainable_parameters_full", "fusion_macs_saved", "end_to_end_macs_saved",
        "scored_on_test",
    ),
    further=("order_blind.top1", "within_pairs", "order_blind.within_pairs"),  # with the control; with mirrored pairs
    bounded=("top1", "within_pairs", "order_blind.top1", "order_blind.within_pairs"),
)


def scored_split(footage: Footage) -> str:
    """The part that is scored: test where the class of all its clips is known, else validation."""
    clips = footage.actions.splits.get("test", ())
    return "test" if clips and all(clip.label >= 0 for clip in clips) else "validation"


@torch.no_grad()
def clip_scores(
    systems: Mapping[str, GasmCastSystem], clips: ActionClips, inference: Inference, progress: Progress
) -> dict[str, Array]:
    """For each system the log-probabilities (N, classes) of all clips, means over all views; the clips are read once.

    In a distributed training every process scores its share, and all get the whole.
    """
    params = next(iter(systems.values())).params
    progress.phase(f"scoring {len(clips)} clips", len(clips), "clips")
    found: dict[str, torch.Tensor] = {}
    for name, system in systems.items():
        system.eval().to(inference.device)
        found[name] = torch.zeros(len(clips), len(system.classes), dtype=torch.float64, device=inference.device)
    for batch in scoring_batches(clips, params).epoch():
        views = batch["pixels"].to(inference.device)  # (B, V, T, H, W, 3)
        for name, system in systems.items():
            with inference.precision():
                logits = system(views.flatten(0, 1))
            found[name][batch["index"].to(inference.device)] = mean_over_views(
                logits.double().unflatten(0, views.shape[:2])
            )
        progress.advance(len(views))
    return {name: np.log(np.maximum(gathered(each).cpu().numpy(), LEAST)) for name, each in found.items()}


def calibrated(scores: Array, temperature: float) -> Array:
    """Probabilities (N, classes) from log-probabilities (N, classes)."""
    return np.exp(log_softmax(scores / temperature))


def action_metrics(probabilities: Array, label: Labels, train: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """top1, top5 and ece, each with interval and floor; per_class; and the score within pairs.

    Floors know the training labels only: the class, or the five, most frequent there; their frequencies as
    probabilities.
    """
    seen = np.bincount(train, minlength=len(classes)) / len(train)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    frequent = np.argsort(-seen, kind="stable")
    metrics: dict[str, Any] = {}
    for count in (1, 5):
        right = (order[:, :count] == label[:, None]).any(1)
        metrics |= with_interval(f"top{count}", right.astype(np.float64))
        metrics[f"top{count}_floor"] = float(np.isin(label, frequent[:count]).mean())
    right = order[:, 0] == label
    metrics["per_class"] = {
        name: float(right[label == i].mean()) for i, name in enumerate(classes) if (label == i).any()
    }
    floor = expected_calibration_error(np.broadcast_to(seen, probabilities.shape), label, bins=1)  # one confidence
    return {**metrics, **calibration_metrics(probabilities, label), "ece_floor": floor,
            **pair_metrics(order[:, 0], label, classes)}


def calibration_metrics(probabilities: Array, label: Labels) -> dict[str, float]:
    """`ece` and its 95 % interval, clips drawn with replacement."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(label), len(label)) for _ in range(BOOTSTRAP_DRAWS))
    low, high = np.percentile(
        [expected_calibration_error(probabilities[rows], label[rows]) for rows in drawn], [2.5, 97.5]
    )
    ece = expected_calibration_error(probabilities, label)
    return {"ece": ece, "ece_ci95_low": min(float(low), ece), "ece_ci95_high": max(float(high), ece)}


def pair_metrics(predicted: NDArray[np.int64], label: Labels, classes: Sequence[str]) -> dict[str, float]:
    """Of clips whose pair of mirrored actions was told right, the share whose order was too: `within_pairs`.

    What is blind to order gets 0.5. Empty for a set without such pairs; `pair_top1` is the share of clips whose pair
    was told, of those that have one.
    """
    other = mirrored(classes)
    paired = other[label] >= 0
    told = paired & ((predicted == label) | (predicted == other[label]))
    if not told.any():
        return {}
    right = (predicted == label)[told].astype(np.float64)
    pair = {"pair_top1": float(told.sum() / paired.sum())}
    return {**pair, **with_interval("within_pairs", right), "within_pairs_floor": 0.5}


def mirrored(classes: Sequence[str]) -> NDArray[np.int64]:
    """For each class that which it is when played backwards, or −1."""
    index = {name: place for place, name in enumerate(classes)}
    other = np.full(len(classes), -1, np.int64)
    for pair in PAIRS:
        one, two = (index.get(action.name) for action in pair)
        if one is not None and two is not None:
            other[one], other[two] = two, one
    return other
