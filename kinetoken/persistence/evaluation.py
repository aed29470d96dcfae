"""What a trained network does with clips, and how good its decisions are: numbers with their floors and intervals."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinetoken.core.numbers import Headlines
from kinetoken.persistence.compute import Compute
from kinetoken.persistence.network import PersistenceNetwork
from kinetoken.persistence.stopping import Decisions, Flags, Steps, costs, decide, decide_at, sigmoid
from kinetoken.physics.laws import Array
from kinetoken.scores import expected_calibration_error, with_interval
from kinetoken.training.loop import index_batches

BATCH = 16


@dataclasses.dataclass
class DetectorPredictions:
    """What a network says of N whole clips, after every step; S steps, T frames."""

    logits: Array  # (N, S), before any temperature
    place: Array  # (N, T, 2) px
    presence: Array  # (N, T) in [0, 1]
    over_space: Array  # (N, S, cells), heads averaged; the rest of 1 is nowhere
    over_time: Array  # (N, S, S), heads averaged


@torch.no_grad()
def predict_clips(network: PersistenceNetwork, kept: Tensor, device: torch.device) -> DetectorPredictions:
    """Run the network over what its extractor keeps of N clips."""
    parts: list[tuple[Tensor, ...]] = []
    for rows in index_batches(len(kept), BATCH):
        output = network(kept[torch.from_numpy(rows)].to(device))
        seen = output.seen
        parts.append((
            output.logits, seen.place, seen.presence.sigmoid(), seen.attention.mean(2), output.over_time.mean(1),
        ))
    logits, place, presence, space, time = (torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
    return DetectorPredictions(logits.astype(np.float64), place, presence, space, time)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One extractor's decisions on N tracks of T frames, and all that they are judged by."""

    log_odds: Array  # (N, S), calibrated
    decisions: Decisions
    fixed: int  # the step that is best for all tracks alike, by the validation tracks
    seen: Steps  # (S,) frames seen at each step
    compute: Compute
    num_frames: int

    @property
    def frames(self) -> Steps:
        """(N,) frames seen when each was decided."""
        return self.seen[self.decisions.step]


def headlines(extractors: Sequence[str]) -> Headlines:
    """For these extractors: all of the first two, of further ones accuracy and harmonic mean."""
    first, more = extractors[:2], extractors[2:]
    keys = (
        "accuracy", "early_stop_rate", "mean_decision_frame", "compute_saved", "harmonic_mean", "ece",
        "attention_ratio",
    )
    return Headlines(
        required=tuple(f"{name}.{key}" for name in first for key in keys),
        further=(
            *(f"{name}.regret" for name in first),  # where the optimum is known
            *(f"{name}.{key}" for name in more for key in ("accuracy", "harmonic_mean")),
            *(f"control.{name}.accuracy" for name in ("first_frame", "metadata", "shuffled_labels")),
            *(f"{name}.gain_over_fixed" for name in first[-1:]), "reference.accuracy",
        ),
        bounded=tuple(f"{name}.accuracy" for name in reversed(first)),
    )


def harmonic_mean(accuracy: float, earliness: float) -> float:
    """Of accuracy and earliness: both must be high (Schäfer & Leser 2020, TEASER)."""
    return 2 * accuracy * earliness / max(accuracy + earliness, 1e-12)


def decision_metrics(
    trial: Trial, persistent: Flags, reference: Array | None, frame_cost: float
) -> dict[str, float]:
    """Of one extractor. reference (N,): the optimum's costs on the same tracks, or None where none is known.

    `fixed` are the figures of the rule that decides all tracks at the same time, the best such time of the validation
    tracks; `gain_over_fixed` is what deciding each track at its own time saves, in hundredths of an error a track.
    """
    decided = trial.decisions
    right = decided.persistent == persistent
    saved = 1 - trial.compute.share(decided.step)
    earliness = 1 - trial.frames / trial.num_frames
    accuracy = float(right.mean())
    probabilities = np.stack([1 - decided.confidence, decided.confidence], -1)
    metrics = {
        **with_interval("accuracy", right), "accuracy_floor": float(max(persistent.mean(), 1 - persistent.mean())),
        "early_stop_rate": float(decided.early.mean()), "mean_decision_frame": float(trial.frames.mean()),
        **with_interval("compute_saved", saved), "earliness": float(earliness.mean()),
        "harmonic_mean": harmonic_mean(accuracy, float(earliness.mean())),
        "ece": expected_calibration_error(probabilities, right.astype(np.int64)),
        "ece_floor": ideal_calibration_error(decided.confidence),
        "accuracy_whole_clip": float(((trial.log_odds[:, -1] > 0) == persistent).mean()),
        "area": area(trial, persistent),
    }
    own = costs(decided, persistent, trial.seen, trial.num_frames, frame_cost)
    at_once = decide_at(trial.fixed, trial.log_odds)
    alike = costs(at_once, persistent, trial.seen, trial.num_frames, frame_cost)
    metrics |= with_interval("gain_over_fixed", 100 * (alike - own))
    fixed = _fixed_figures(trial, at_once, persistent)
    if reference is not None:
        metrics |= with_interval("regret", 100 * (own - reference))
        fixed["regret"] = float(100 * (alike - reference).mean())
    return metrics | {f"fixed.{name}": value for name, value in fixed.items()}


def _fixed_figures(trial: Trial, decided: Decisions, persistent: Flags) -> dict[str, float]:
    frame = int(trial.seen[trial.fixed])
    accuracy = float((decided.persistent == persistent).mean())
    return {
        "frame": frame, "accuracy": accuracy, "harmonic_mean": harmonic_mean(accuracy, 1 - frame / trial.num_frames),
        "compute_saved": float((1 - trial.compute.share(decided.step)).mean()),
    }


def ideal_calibration_error(confidence: Array, draws: int = 40, seed: int = 0) -> float:
    """What a perfectly calibrated model's error measures as on so few tracks: outcomes drawn from the confidences."""
    rng = np.random.default_rng(seed)
    probabilities = np.stack([1 - confidence, confidence], -1)
    return float(np.mean([
        expected_calibration_error(probabilities, (rng.random(len(confidence)) < confidence).astype(np.int64))
        for _ in range(draws)
    ]))


def area(trial: Trial, persistent: Flags) -> float:
    """Under accuracy over the share of the clip that has been seen, all tracks decided at the same time; in [0, 1]."""
    share = np.concatenate([[0.0], trial.seen / trial.num_frames])
    accuracy = ((trial.log_odds > 0) == persistent[:, None]).mean(0)
    return float(np.trapezoid(np.concatenate([[0.5], accuracy]), share))


def by_group(trial: Trial, persistent: Flags, group: np.ndarray) -> dict[str, dict[str, float]]:
    """Accuracy and mean decision frame of each group (N,) of tracks, and how many they are."""
    right = trial.decisions.persistent == persistent
    return {
        str(name): {
            "accuracy": float(right[group == name].mean()), "tracks": int((group == name).sum()),
            "mean_decision_frame": float(trial.frames[group == name].mean()),
        }
        for name in sorted(set(group))
    }


def rules(trial: Trial, persistent: Flags, confidence: float) -> dict[str, Any]:
    """The simple rule and the fixed times beside it: accuracy and mean decision frame of each."""
    bound = float(np.log(confidence / (1 - confidence)))
    chosen = {"confidence": decide(trial.log_odds, bound, -bound)}
    chosen |= {f"fixed_{int(trial.seen[k])}": decide_at(k, trial.log_odds) for k in _fixed_times(trial.seen)}
    return {
        name: {
            "accuracy": float((each.persistent == persistent).mean()),
            "mean_decision_frame": float(trial.seen[each.step].mean()),
        }
        for name, each in chosen.items()
    }


def _fixed_times(seen: Steps) -> list[int]:
    """Steps that see a multiple of 4 frames."""
    return [k for k, frames in enumerate(seen) if frames % 4 == 0]


def calibrated(logits: Array, temperatures: Array) -> Array:
    """(N, S) log-odds."""
    return np.asarray(logits / temperatures)


def probability(log_odds: Array) -> Array:
    """Of persistent."""
    return sigmoid(log_odds)
