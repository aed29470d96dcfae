"""One extractor from training to its decisions on the test tracks."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.persistence.attention import attention_ratio, meets_candidate, token_weights
from kinetoken.persistence.compute import count
from kinetoken.persistence.evaluation import DetectorPredictions, Trial, predict_clips
from kinetoken.persistence.extractors import Extractor, MagvitExtractor
from kinetoken.persistence.network import Detector, PersistenceNetwork, build_network
from kinetoken.persistence.params import PersistenceParams
from kinetoken.persistence.stopping import best_fixed_step, best_thresholds, decide, fitted_temperatures, steps_seen
from kinetoken.persistence.training import Targets, targets, train_network
from kinetoken.physics.laws import Array
from kinetoken.scenes.candidates import CandidateTruth, truth_of
from kinetoken.scores import with_interval
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import History, fabric_device, index_batches

ENCODED = 64  # clips at once
CONTROL = 240  # test tracks that the network sees before its training, for attention's control


@dataclasses.dataclass
class Material:
    """A dataset of N candidates, and what is true of each, row for row."""

    dataset: Dataset
    truth: CandidateTruth
    known: Targets
    made: dict[tuple[str, str], Tensor] = dataclasses.field(default_factory=dict)  # of codes, by extractor and split

    @classmethod
    def of(cls, dataset: Dataset) -> "Material":
        """UserError for tracks that are no candidates, or a candidate that is never in sight."""
        truth = truth_of(dataset.tracks.drawn, dataset.paths.track_params, dataset.clips.shape[0])
        return cls(dataset, truth, targets(dataset.tracks.points, truth.persistent, dataset.scene))

    def rows(self, split: str) -> np.ndarray:
        """The tracks of a split."""
        return self.dataset.split(split).rows

    def kept(self, extractor: Extractor, rows: np.ndarray, device: torch.device) -> Tensor:
        """What the extractor keeps of the clips at `rows`, on the CPU; of codes in half precision."""
        if not isinstance(extractor, MagvitExtractor):
            return torch.from_numpy(self.dataset.clips.take(rows).pixels)
        self.dataset.tokenizer.to(device)
        codes = torch.from_numpy(self.dataset.codes.codes[rows].astype(np.int64))
        parts = [
            extractor.kept_of_codes(codes[torch.from_numpy(batch)].to(device)).half().cpu()
            for batch in index_batches(len(rows), ENCODED)
        ]
        return torch.cat(parts)

    def clips(self, extractor: Extractor, split: str, device: torch.device) -> tuple[Tensor, Targets]:
        """What is kept of a split's clips, and what is known of them; what is made of codes is made once."""
        rows, key = self.rows(split), (type(extractor).__name__, split)
        kept = self.made[key] if key in self.made else self.kept(extractor, rows, device)
        if isinstance(extractor, MagvitExtractor):
            self.made[key] = kept
        return kept, self.known.take(rows)


@dataclasses.dataclass
class ExtractorResult:
    """Of one extractor, on the test tracks."""

    detector: Detector
    history: History
    watched: DetectorPredictions
    trial: Trial
    attention: Array  # (N,) ratio at the decision, NaN where the candidate was not met yet
    untrained: Array  # (CONTROL,) the same of the network before training, its control

    def attention_metrics(self, persistent: np.ndarray) -> dict[str, float]:
        """Means over the tracks that were met; uniform attention scores 1, which is the floor."""
        met = np.isfinite(self.attention)
        return {
            **with_interval("attention_ratio", self.attention[met]), "attention_ratio_floor": 1.0,
            "attention_ratio_untrained": float(np.nanmean(self.untrained)),
            "attention_ratio_persistent": float(self.attention[met & persistent].mean()),
            "attention_ratio_transient": float(self.attention[met & ~persistent].mean()),
        }

    def place_metrics(self, material: Material) -> dict[str, float]:
        """How far off the candidate is read in px, in frames where it is in sight; the floor is the mean place."""
        known = material.known.take(material.rows("test"))
        present, place = known.presence.numpy() > 0, known.place.numpy()
        miss = np.linalg.norm(self.watched.place - place, axis=-1)[present]
        mean = place[present].mean(0)
        return {
            "place_px": float(miss.mean()), "place_median_px": float(np.median(miss)),
            "place_px_floor": float(np.linalg.norm(place[present] - mean, axis=-1).mean()),
        }


def try_extractor(
    name: str, material: Material, params: PersistenceParams, context: Context, label: str | None = None
) -> ExtractorResult:
    """Train it, calibrate and set its thresholds on the validation tracks, and let it decide the test tracks.

    `label` names the training, where an extractor is trained more than once.
    """
    device = fabric_device(context.hardware)
    dataset = material.dataset
    size, frames = dataset.clips.shape[1], dataset.clips.shape[0]
    network = build_network(name, params, size, dataset.tokenizer)
    context.progress.phase(f"{label or name}: reading clips")
    val, test = (material.clips(network.extractor, split, device) for split in ("val", "test"))
    untrained = predict_clips(network.eval().to(device), test[0][:CONTROL], device)
    history = train_network(
        network, material.clips(network.extractor, "train", device), val, params.of(name), params.head, context,
        label or name,
    )
    network.to(device)
    context.progress.phase(f"{label or name}: deciding", len(test[0]), "tracks")
    detector, fixed = calibrate(name, network, val, params, frames, dataset.tokenizer, device)
    watched = predict_clips(network, test[0], device)
    context.progress.advance(len(test[0]))
    odds = watched.logits / np.array(detector.temperatures)
    decisions = decide(odds, detector.persistent_above, detector.transient_below)
    trial = Trial(odds, decisions, fixed, steps_seen(network.stride, frames), count(network, size, frames), frames)
    points = dataset.split("test").points
    meets = meets_candidate(points, dataset.scene, network.stride, network.extractor.side)
    ratios = (
        attention_ratio(token_weights(each, steps), meets[: len(steps)], steps)
        for each, steps in ((watched, decisions.step), (untrained, decisions.step[:CONTROL]))
    )
    return ExtractorResult(detector, history, watched, trial, *ratios)


def calibrate(
    name: str, network: PersistenceNetwork, val: tuple[Tensor, Targets], params: PersistenceParams, frames: int,
    tokenizer: Tokenizer, device: torch.device,
) -> tuple[Detector, int]:
    """Temperatures of each step and thresholds, from the validation tracks; and the best step for all of them alike."""
    logits = predict_clips(network, val[0], device).logits
    persistent = val[1].persistent.numpy() > 0
    temperatures = fitted_temperatures(logits, persistent)
    seen = steps_seen(network.stride, frames)
    measured = (logits / temperatures, persistent, seen, frames, params.frame_cost)
    above, below = best_thresholds(*measured)
    digest = tokenizer.hash if isinstance(network.extractor, MagvitExtractor) else ""
    detector = Detector(name, network, tuple(map(float, temperatures)), above, below, frames, digest)
    return detector, best_fixed_step(*measured)
