"""Train a network on one extractor: a logit after every step, the candidate's place and whether it is in sight."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.stage import Context
from kinetoken.persistence.evaluation import DetectorPredictions, predict_clips
from kinetoken.persistence.network import DetectorOutput, PersistenceNetwork
from kinetoken.persistence.params import ExtractorParams, HeadParams
from kinetoken.physics.laws import Array
from kinetoken.scenes.rendering import Scene
from kinetoken.training.loop import Batch, Batches, History, Step, fit


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is known of N clips: persistent (N,), place (N, T, 2) px and presence (N, T), both of every frame."""

    persistent: Tensor
    place: Tensor
    presence: Tensor

    def take(self, rows: np.ndarray) -> "Targets":
        """Of the clips at `rows`."""
        index = torch.from_numpy(rows)
        return Targets(self.persistent[index], self.place[index], self.presence[index])


def targets(points: Array, persistent: np.ndarray, scene: Scene) -> Targets:
    """points (N, T, 3) m, NaN where out of sight, and persistent (N,)."""
    present = np.isfinite(points[..., 0])
    u, v, _ = scene.camera.project(np.where(present[..., None], points, [0.0, 0.0, 1.0]))
    return Targets(
        torch.from_numpy(persistent.astype(np.float32)), torch.from_numpy(np.stack([u, v], -1).astype(np.float32)),
        torch.from_numpy(present.astype(np.float32)),
    )


class CandidateBatches(Batches):
    """Clips, most of them cut short; frames that come as pixels are mirrored and turned, and places with them.

    Which law a candidate moves by knows no left, right, up or down. What a batch shows depends on the seed and on how
    much of the training lies behind, and on nothing else.
    """

    def __init__(
        self, kept: Tensor, known: Targets, params: ExtractorParams, head: HeadParams, frames_kept: int
    ) -> None:
        self._kept, self._known, self._params, self._head = kept, known, params, head
        self._frames_kept = frames_kept

    def __len__(self) -> int:
        return len(self._kept)

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        rng = np.random.default_rng([self._params.seed, round(done * 2**32)])
        known, kept = self._known.take(indices), self._kept[torch.from_numpy(indices)]
        frames = known.place.shape[1]
        if rng.random() >= self._head.whole_share:
            frames = min(self._head.short_frames, frames)
        kept, place = kept[:, : frames // self._frames_kept], known.place[:, :frames]
        if kept.dtype == torch.uint8:
            kept, place = turned(kept, place, int(rng.integers(8)))
        return {
            "kept": kept, "place": place, "presence": known.presence[:, :frames], "persistent": known.persistent,
        }


def turned(clips: Tensor, place: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """One of the square's eight symmetries of clips (B, T, H, H, 3) and places (B, T, 2) px in them."""
    end = clips.shape[2] - 1
    u, v = place.unbind(-1)
    if way & 1:
        clips, u = clips.flip(3), end - u
    if way & 2:
        clips, v = clips.flip(2), end - v
    if way & 4:
        clips, u, v = clips.transpose(2, 3), v, u
    return clips, torch.stack([u, v], -1)


def losses(output: DetectorOutput, batch: Batch, head: HeadParams) -> dict[str, Tensor]:
    """Cross-entropy of persistent at every step, error of place in px where in sight, cross-entropy of presence."""
    persistent = batch["persistent"][:, None].expand_as(output.logits)
    present = batch["presence"]
    miss = functional.smooth_l1_loss(output.seen.place, batch["place"], reduction="none").sum(-1)
    return {
        "decision": functional.binary_cross_entropy_with_logits(output.logits, persistent),
        "place": (miss * present).sum() / present.sum().clamp(min=1),
        "presence": functional.binary_cross_entropy_with_logits(output.seen.presence, present),
    }


def persistence_step(head: HeadParams) -> Step:
    """The training step for `fit`."""

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts = losses(module(batch["kept"]), batch, head)
        loss = parts["decision"] + head.place_weight * parts["place"] + head.presence_weight * parts["presence"]
        return loss, parts

    return step


def train_network(
    network: PersistenceNetwork, train: tuple[Tensor, Targets], val: tuple[Tensor, Targets], params: ExtractorParams,
    head: HeadParams, context: Context, label: str,
) -> History:
    """Fit to the first; keep the epoch whose decisions on the second have the least cross-entropy.

    Mean over the steps of twice `short_frames`: decisions fall there, and later steps would cost time.
    """
    each = network.extractor.frames_kept()
    batches = CandidateBatches(*train, params, head, each)
    frames = min(2 * head.short_frames, val[1].place.shape[1])
    first = Targets(val[1].persistent, val[1].place[:, :frames], val[1].presence[:, :frames])
    return fit(
        network, persistence_step(head), batches, params, context, label=label,
        validate=_validation(val[0][:, : frames // each], first), monitor="val_decision",
    )


def _validation(kept: Tensor, known: Targets) -> Callable[[nn.Module], dict[str, float]]:
    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, PersistenceNetwork)
        seen: DetectorPredictions = predict_clips(module, kept, next(module.parameters()).device)
        persistent = known.persistent.numpy()[:, None]
        present = known.presence.numpy()
        miss = np.linalg.norm(seen.place - known.place.numpy(), axis=-1)
        return {
            "val_decision": float(np.logaddexp(0, np.where(persistent > 0, -seen.logits, seen.logits)).mean()),
            "val_place_px": float((miss * present).sum() / present.sum()),
        }

    return validate
