"""Train both streams, the class and the future together, from every clip whole and from its past alone.

Of most of each batch only the codes are read: they cost a sixth of what the frames cost, and both the class and the
path take more clips to learn than a processor can look at in the time.

Where a trained position head reads the codes, what it says of training clips is nearer to the truth than what it will
say of others. So in training the true path stands for it, off as far as the head is on validation clips. Beside each
batch come paths that symmetry makes of the training tracks, with no codes and no frames: 256 of them cost a fifth of a
step, and the class and the future take more paths to learn than there are clips.
"""

import dataclasses

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.stage import Context
from kinetoken.dataset import Split
from kinetoken.i3d_magvit.network import I3DMagvit, JointOutput
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.prediction.training import BACKGROUND_WEIGHT, ErrorModel
from kinetoken.scenes.paths import RADIUS_GAIN, scene_path
from kinetoken.training.loop import Batch, History, Step, Validate, fabric_device, fit, index_batches
from kinetoken.training.muon import muon_and_adamw

Array = NDArray[np.float64]

READING_BATCH = 64
READING_NOISE = 0.04  # path coordinates: what is read off codes is about as far off, and its form is judged by that


@dataclasses.dataclass
class ClipSet:
    """N clips with all that is asked of them: pixels (N, T, H, W, 3) uint8, codes (N, K, H', W') and labels int64,
    path (N, T, 3) in path coordinates."""

    clips: Tensor
    codes: Tensor
    label: Tensor
    path: Tensor
    copies: Tensor | None = None  # (M N, T, 3) paths of the same classes, the N clips' M times over; none if not made

    @classmethod
    def of(cls, split: Split) -> "ClipSet":
        """All of them, read now."""
        return cls(
            torch.from_numpy(split.read_clips().pixels), torch.from_numpy(split.codes.astype(np.int64)),
            torch.from_numpy(split.target), scene_path(split.dataset.scene, split.points),
        )


class HeadReadings:
    """What a position head might say of clips: their true paths, off as far as it is on clips it does not know.

    `errors`, of a path, are new at every draw. Beside the clips' own paths `count` others are drawn for each batch, of
    `path` (N, T, 3) with the classes `label` (N,).
    """

    def __init__(self, errors: ErrorModel, path: Tensor, label: Tensor, count: int) -> None:
        self.errors, self.path, self.label, self.count = errors, path, label, count

    def beside(self, path: Tensor) -> Batch:
        """What a batch of clips with these paths (B, T, 3) is given more."""
        index = torch.randint(0, len(self.path), (self.count,))
        others = self.path[index]
        return {
            "read": self.errors.disturb(path), "drawn": self.errors.disturb(others), "drawn_path": others,
            "drawn_label": self.label[index],
        }


class PartlySeen:
    """Batches of codes, labels and paths, and the frames that are looked at of them: `whole` of the first clips, and
    `pasts` of the last.
    """

    def __init__(self, clips: ClipSet, share: float, past: int, readings: HeadReadings | None = None) -> None:
        """`share` of each batch, at least one clip, is looked at whole, and as many as `past` frames.

        readings: given with the codes, in place of what the network's reader finds in them.
        """
        self.clips, self.share, self.past, self.readings = clips, share, past, readings

    def __len__(self) -> int:
        return len(self.clips.label)

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        index, clips = torch.from_numpy(indices), self.clips
        looked = max(round(self.share * len(index)), 1)
        batch = {
            "whole": clips.clips[index[:looked]], "pasts": clips.clips[index[-looked:], : self.past],
            "codes": clips.codes[index], "label": clips.label[index], "path": clips.path[index],
        }
        return batch if self.readings is None else batch | self.readings.beside(batch["path"])


@dataclasses.dataclass
class JointPredictions:
    """What the network says of N clips of T frames, on the CPU; `ahead` and `codes` of pasts only."""

    logits: Array  # (N, classes)
    embedding: NDArray[np.float32]  # (N, E)
    path: Tensor  # (N, T, 3)
    located: Tensor | None  # (N, T, 3) as the frames alone tell it
    ahead: Tensor | None  # (N, F, 3)
    codes: NDArray[np.int32] | None  # (N, 1, H', W') of the slice to come


def train_network(
    network: I3DMagvit, train: ClipSet, val: ClipSet, params: I3DMagvitParams, context: Context
) -> History:
    """Fit to `train`, keep the epoch that is best on `val`; nothing else is looked at."""
    step, validate = joint_step(network, train.codes), _validation(network, val)
    network.to(fabric_device(context.hardware))
    known, readings = network.read_by_head(val.codes), None
    noise = torch.randn(train.path.shape, generator=torch.Generator().manual_seed(params.seed))
    if known is not None:
        paths = train.path if train.copies is None else train.copies
        labels = train.label.repeat(len(paths) // len(train.label))
        readings = HeadReadings(ErrorModel(known - val.path), paths, labels, params.drawn)
    network.form.measure(train.path + READING_NOISE * noise)
    return fit(
        network, step, PartlySeen(train, params.video_share, network.past_frames, readings), params, context,
        label="train", validate=validate, monitor="val_loss", optimizers=muon_and_adamw(params),
    )


def joint_step(network: I3DMagvit, train: Tensor) -> Step:
    """The joint loss of a batch of PartlySeen. train (N, K, H', W'): codes that say what a cell most often holds."""
    weights, size = network.params.weights, network.shape.image_size
    past, first = network.past_frames, network.past_slices
    common = train[:, first].mode(0).values  # (H', W')

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        codes, path, label = batch["codes"], batch["path"], batch["label"]
        seen, told = module(batch["whole"], batch["pasts"], codes, batch.get("read"), batch.get("drawn"))
        every, labels = path, label
        if "drawn" in batch:
            every, labels = torch.cat([path, batch["drawn_path"]]), torch.cat([label, batch["drawn_label"]])
        assert told.ahead is not None and seen.located is not None and told.located is not None

        def misplaced(whole: Tensor, pasts: Tensor) -> Tensor:
            """How far off paths of the first clips, and of the last clips' pasts, are."""
            return (
                place_loss(whole, path[: len(whole)], size, weights.depth)
                + place_loss(pasts, path[-len(pasts) :, :past], size, weights.depth)
            ) / 2

        parts = {
            "class": functional.cross_entropy(seen.logits, labels),
            "class_of_past": functional.cross_entropy(told.logits, labels),
            "place": misplaced(seen.path[: len(path)], told.path[: len(path)]),
            "forecast": place_loss(told.ahead, _next(every, past, network.shape.slice_frames), size, weights.depth),
            "tokens": _writing_loss(network, told, batch, common.to(codes.device)),
            "compression": seen.compression,
        }
        placed = parts["place"]
        if network.reader is not None:  # asked nothing of their own, the frames soon say the same of every clip
            parts["place_by_frames"] = misplaced(seen.located, told.located)
            placed = placed + parts["place_by_frames"]
        loss = (
            (parts["class"] + parts["class_of_past"]) / 2 + weights.place * placed
            + weights.forecast * parts["forecast"] + weights.tokens * parts["tokens"]
            + weights.compression * parts["compression"]
        )
        return loss, {name: part.detach() for name, part in parts.items()}

    return step


def place_loss(found: Tensor, path: Tensor, image_size: int, depth_weight: float) -> Tensor:
    """Mean distance in the image in pixels, and `depth_weight` times the mean error of the logarithm of depth.

    Both (B, T, 3) in path coordinates.
    """
    depth = (found - path)[..., 2].abs().mean() / RADIUS_GAIN
    return pixels_apart(found, path, image_size).mean() + depth_weight * depth


def pixels_apart(found: Tensor, path: Tensor, image_size: int) -> Tensor:
    """Distances in the image (B, T) px of two paths (B, T, 3) in path coordinates."""
    apart: Tensor = (found - path)[..., :2].norm(dim=-1)
    return apart * (image_size / 4)


def _next(path: Tensor, past: int, frames: int) -> Tensor:
    return path[:, past : past + frames]


def _writing_loss(network: I3DMagvit, told: JointOutput, given: Batch, common: Tensor) -> Tensor:
    """Cross-entropy of the next slice's levels where the true path says; common tokens weigh little."""
    past, first, frames = network.past_frames, network.past_slices, network.shape.slice_frames
    wanted = given["codes"][:, first]  # (B, H', W')
    path = given["path"][:, past - 1 : past + frames]
    digits = network.codebook.digits()[wanted]
    clips = dataclasses.replace(told, embedding=told.embedding[: len(wanted)])  # not the paths that were drawn
    shown = network.written(clips, given["codes"][:, :first], path)
    surprise = sum(
        functional.cross_entropy(rearrange(each, "b h w c -> b c h w"), digits[..., i], reduction="none")
        for i, each in enumerate(network.writer.logits(shown, digits))
    )
    weight = torch.where(wanted == common, BACKGROUND_WEIGHT, 1.0)
    return (weight * surprise).sum() / weight.sum()


@torch.no_grad()
def read(network: I3DMagvit, clips: Tensor | None, codes: Tensor, tokens: bool = False) -> JointPredictions:
    """What the network says of clips (N, T, H, W, 3) uint8 and their codes (N, K, H', W'); next tokens if asked.

    With no clips what the frames would say is left open.
    """
    network.eval()
    device = network.place.device
    parts: list[tuple[Tensor, ...]] = []
    located: list[Tensor] = []
    ahead: list[Tensor] = []
    following: list[Tensor] = []
    for rows in index_batches(len(codes), READING_BATCH):
        index = torch.from_numpy(rows)
        shown = codes[index].to(device)
        seen = network.see(None if clips is None else clips[index].to(device), shown)
        parts.append((seen.logits.double().cpu(), seen.embedding.float().cpu(), seen.path.float().cpu()))
        if seen.located is not None:
            located.append(seen.located.float().cpu())
        if seen.ahead is not None:
            ahead.append(seen.ahead.float().cpu())
            if tokens:
                following.append(network.next_codes(seen, shown).cpu())
    logits, embedding, path = (torch.cat(column) for column in zip(*parts, strict=True))
    return JointPredictions(
        logits.numpy(), embedding.numpy(), path, torch.cat(located) if located else None,
        torch.cat(ahead) if ahead else None,
        torch.cat(following).numpy().astype(np.int32) if following else None,
    )


def _validation(network: I3DMagvit, val: ClipSet) -> Validate:
    """Cross-entropy of the class from whole clips and from pasts, and how far off the future is, px."""
    past, first, size = network.past_frames, network.past_slices, network.shape.image_size

    def validate(module: nn.Module) -> dict[str, float]:
        whole = read(network, val.clips, val.codes)
        told = read(network, val.clips[:, :past], val.codes[:, :first])
        assert told.ahead is not None
        losses = [
            float(functional.cross_entropy(torch.from_numpy(each.logits), val.label)) for each in (whole, told)
        ]
        error = float(pixels_apart(told.ahead, _next(val.path, past, network.shape.slice_frames), size).mean())
        accuracy = float((torch.from_numpy(whole.logits).argmax(1) == val.label).double().mean())
        weighed = sum(losses) / 2 + network.params.weights.forecast * error
        return {"val_loss": weighed, "val_class": losses[0], "val_accuracy": accuracy, "val_forecast_px": error}

    return validate
