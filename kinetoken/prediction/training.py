"""Train a predictor: reader and writer on the codes, then each dynamics network on paths.

The dynamics networks learn from paths that symmetry makes of the training tracks, or from the paths that a user's
videos show, whose symmetries nobody knows, each disturbed by errors such as
the reader makes on clips it was not trained on: they learn to trust it as far as it deserves. Such as, and not
those very ones: a network knows a few hundred errors again and takes them off, which helps on those clips only.
"""

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.prediction.network import Dynamics, Predictor, PredictorParams, PredictorShape
from kinetoken.prediction.truth import true_paths
from kinetoken.scenes.paths import RADIUS_GAIN, scene_path, symmetric_copies
from kinetoken.training.loop import (
    Batch,
    History,
    Step,
    TensorBatches,
    Validate,
    fabric_device,
    fit,
    index_batches,
)
from kinetoken.training.muon import muon_and_adamw

VALIDATION_BATCH = 240  # clips
BACKGROUND_WEIGHT = 0.1  # of a token that is what its cell most often holds


def train_predictor(
    predictor: Predictor, dataset: Dataset, params: PredictorParams, context: Context
) -> dict[str, History]:
    """Fit all parts on `train`, choose the best model on `val`; nothing else is looked at. Histories by label."""
    device = fabric_device(context.hardware)
    predictor.to(device)
    parts = {split: dataset.split(split) for split in ("train", "val")}
    clips = {split: torch.from_numpy(part.codes.astype(np.int64)) for split, part in parts.items()}
    paths = {split: true_paths(part) for split, part in parts.items()}
    translate = TensorBatches(codes=clips["train"], path=paths["train"])
    writing = translation_step(predictor, clips["train"])
    history = {"translation": fit(
        predictor.translator, writing, translate, params.translation, context, label="translation",
        validate=_validate_translation(predictor, writing, clips["val"], paths["val"]), monitor="val_loss",
    )}
    errors = ErrorModel(reading_errors(predictor, clips["val"], paths["val"]))
    drawn = paths["train"]
    if dataset.tracked:
        drawn = scene_path(dataset.scene, symmetric_copies(
            parts["train"].points, dataset.tracks.world, params.copies, params.copy_scale, params.seed
        ))
    batches = TensorBatches(path=drawn)
    for name, network in predictor.dynamics.items():
        assert isinstance(network, Dynamics)
        torch.manual_seed(params.seed)
        network.form.measure(errors.disturb(drawn))
        validate = _validate_dynamics(predictor, clips["val"], paths["val"])
        history[name] = fit(
            network, dynamics_step(predictor.shape, errors), batches, params, context, label=name,
            validate=validate, monitor="val_path_px", optimizers=muon_and_adamw(params),
        )
    predictor.best = min(predictor.dynamics, key=lambda name: history[name].best_value)
    predictor.eval()
    return history


def translation_step(predictor: Predictor, train: Tensor) -> Step:
    """Step of reader and writer. train (N, K, H, W): codes that say what each cell most often holds."""
    shape, device = predictor.shape, predictor.device
    digits, frames = predictor.codebook.digits(), shape.slice_frames
    common = train.mode(0).values.to(device)  # (K, H, W)

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        codes, path = batch["codes"], batch["path"]
        row = torch.arange(len(codes), device=device)
        # the slice to write: one to be foretold, or the one before those, for more examples
        first = max(shape.past_slices - 1, 1)
        target = torch.randint(first, shape.slices, (len(codes),), device=device)
        window = target[:, None] * frames + torch.arange(-1, frames, device=device)
        wanted = codes[row, target]  # (B, H, W)
        parts = digits[wanted]
        found, logits = module(codes, path[row[:, None], window], target, parts)
        surprise = sum(
            functional.cross_entropy(rearrange(each, "b h w c -> b c h w"), parts[..., i], reduction="none")
            for i, each in enumerate(logits)
        )
        weight = torch.where(wanted == common[target], BACKGROUND_WEIGHT, 1.0)
        writing = (weight * surprise).sum() / weight.sum()
        reading = path_loss(found, path[:, : found.shape[1]], shape.image_size)
        return reading + writing, {"reading": reading, "writing": writing}

    return step


class ErrorModel:
    """Errors such as those measured, new at every draw: Gaussian with their mean and covariance over a whole path.

    How large they are in all varies from clip to clip as it does among those measured (a faint ball is read badly in
    every frame).
    """

    def __init__(self, measured: Tensor) -> None:
        """measured: (M, P, 3) in path coordinates, of M clips."""
        self.frames = measured.shape[1]
        flat = measured.flatten(1).double()
        self.mean = flat.mean(0)
        values, directions = torch.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        kept = values > 1e-9 * values.max().clamp_min(1e-12)
        self.root = (directions[:, kept] * values[kept].sqrt()).T  # (D', D)
        whitened = (flat - self.mean) @ (directions[:, kept] / values[kept].sqrt())
        self.size = whitened.square().mean(1).sqrt()  # (M,) about 1

    def draw(self, count: int) -> Tensor:
        """(count, P, 3) float32 on the CPU, by torch's own generator."""
        size = self.size[torch.randint(0, len(self.size), (count,))]
        noise = size[:, None] * torch.randn(count, len(self.root), dtype=torch.float64)
        drawn: Tensor = (self.mean + noise @ self.root).float().unflatten(1, (self.frames, 3))
        return drawn

    def disturb(self, path: Tensor) -> Tensor:
        """Whole paths (B, T, 3) as far as the errors go, disturbed: (B, P, 3)."""
        return path[:, : self.frames] + self.draw(len(path)).to(path.device)


def dynamics_step(shape: PredictorShape, errors: ErrorModel) -> Step:
    """Step of a dynamics network: every number of slices that may be given, from one reading of the path."""

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        path = batch["path"]
        loss = path_loss(module(errors.disturb(path)), slices_ahead(shape, path), shape.image_size)
        return loss, {}

    return step


def slices_ahead(shape: PredictorShape, path: Tensor) -> Tensor:
    """Whole paths (B, T, 3) → the slice after each number of slices that may be given (B, prefixes, frames, 3)."""
    ahead = path[:, shape.past_frames : shape.slices * shape.slice_frames]
    return rearrange(ahead, "b (k f) c -> b k f c", f=shape.slice_frames)


def path_loss(found: Tensor, path: Tensor, image_size: int) -> Tensor:
    """Mean distance in the image in pixels, plus ten times the mean error of the radius as a share of it."""
    across: Tensor = (found - path)[..., :2].norm(dim=-1).mean() * image_size / 4
    return across + 10 * (found - path)[..., 2].abs().mean() / RADIUS_GAIN


@torch.no_grad()
def reading_errors(predictor: Predictor, codes: Tensor, path: Tensor) -> Tensor:
    """What the reader finds less the truth, in all slices but the last: (N, P, 3) in path coordinates."""
    predictor.eval()
    found = _read(predictor, codes)
    return found - path[:, : found.shape[1]]


def _read(predictor: Predictor, codes: Tensor) -> Tensor:
    """The path (N, (slices − 1) · frames, 3) that the reader finds in all slices from which others are foretold."""
    seen = codes[:, : predictor.shape.slices - 1].to(predictor.device)
    return predictor.read(seen)[1].cpu()


def _validate_translation(predictor: Predictor, step: Step, codes: Tensor, path: Tensor) -> Validate:
    """Errors of reading, and the loss of reading and writing together, over the same slices in every epoch."""
    def validate(module: nn.Module) -> dict[str, float]:
        error = reading_errors(predictor, codes, path)
        pixels = error[..., :2].norm(dim=-1).mean() * predictor.shape.image_size / 4
        losses, state = [], torch.get_rng_state()
        torch.manual_seed(0)
        for rows in index_batches(len(codes), VALIDATION_BATCH):
            batch = {"codes": codes[rows].to(predictor.device), "path": path[rows].to(predictor.device)}
            losses.append(float(step(module, batch)[0]) * len(rows))
        torch.set_rng_state(state)
        return {
            "val_loss": sum(losses) / len(codes), "val_path_px": float(pixels),
            "val_radius_share": float(error[..., 2].abs().mean() / RADIUS_GAIN),
        }

    return validate


def _validate_dynamics(predictor: Predictor, codes: Tensor, path: Tensor) -> Callable[[nn.Module], dict[str, float]]:
    read, ahead = _read(predictor, codes).detach(), slices_ahead(predictor.shape, path)

    def validate(module: nn.Module) -> dict[str, float]:
        found = module(read.to(predictor.device)).cpu()
        distance = (found - ahead)[..., :2].norm(dim=-1).mean()
        return {"val_path_px": float(distance) * predictor.shape.image_size / 4}

    return validate
