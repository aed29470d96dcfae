"""A small direct network on pixels that knows where things are: the pixel judge.

Each frame, less the still background, goes through two convolutions without biases, so that what stands still
weighs nothing. Of each of K maps the spatial moments are taken: mass, mean place and spread, the expected
place being the soft-argmax of Levine et al. (2016, arXiv 1504.00702). A perceptron reads the moments of all
frames in order. Pooling over space instead throws the place away, which here is the message.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import Fraction, Positive
from kinetoken.core.stage import Context
from kinetoken.layers import cell_centres
from kinetoken.physics.laws import are_laws
from kinetoken.scenes.clips import Clips
from kinetoken.scores import Labels
from kinetoken.training.loop import Batch, History, TensorBatches, TrainingParams, fabric_device, fit, index_batches

Pixels = NDArray[np.uint8]

BACKGROUND_CLIPS = 256
MOMENTS = 5  # log mass, x, y, spread in x and y


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselinesParams(TrainingParams):
    """Section train_baselines: the direct network on pixels."""

    channels: Positive  # of the convolutions
    maps: Positive  # K, whose moments are read
    width: Positive  # of the perceptron over frames
    still: Fraction  # difference from the background, of full scale, under which a pixel counts nothing
    mirror: bool  # train on left-right mirror images too: right where a mirrored motion keeps its class
    reverse: bool  # and on clips played backwards, likewise


class VideoClassifier(nn.Module):
    """clips (B, T, H, W, 3) uint8, less what stands still → logits (B, C), for the T it was built for."""

    background: Tensor

    def __init__(
        self, classes: tuple[str, ...], shape: tuple[int, int, int], *, channels: int, maps: int, width: int,
        still: float = 0.0, mirror: bool = False, reverse: bool = False, own_still: bool = False,
    ) -> None:
        """shape: frames, height, width of a clip. own_still: what is behind each clip is its own median over time."""
        super().__init__()
        self.classes, self.shape, self.still, self.mirror, self.reverse = classes, shape, still, mirror, reverse
        self.own_still = own_still
        frames, height, image_width = shape
        self.register_buffer("background", torch.zeros(height, image_width, 3))  # in [0, 1]
        # no biases: where nothing moves the maps are empty
        self.first = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, maps, 3, padding=1, bias=False)
        self.threshold = nn.Parameter(torch.full((maps,), 0.02))
        self.scale = nn.BatchNorm1d(maps * MOMENTS)
        self.path = nn.Sequential(
            nn.Linear(frames * maps * MOMENTS, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(classes)),
        )
        self.to(memory_format=torch.channels_last)

    def motion(self, clips: Tensor) -> Tensor:
        """clips (B, T, H, W, 3) uint8 → what differs from the background, at half size: (B, T, 3, H/2, W/2)."""
        frames = clips.float().div_(255)
        moving = frames - frames.median(1, keepdim=True).values if self.own_still else frames.sub_(self.background)
        images = functional.avg_pool2d(rearrange(moving, "b t h w c -> (b t) c h w"), 2)
        # faint differences far from the ball, as codes leave them, would pull its centroid
        return rearrange(functional.softshrink(images, self.still), "(b t) c h w -> b t c h w", b=len(clips))

    def forward(self, motion: Tensor) -> Tensor:
        """What `motion` gives → logits (B, C)."""
        images = rearrange(motion, "b t c h w -> (b t) c h w").to(self.background)
        if self.training and self.mirror and torch.rand(()) < 0.5:
            images = images.flip(3)
        seen = rearrange(self._moments(images), "(b t) f -> b t f", b=len(motion))
        if self.training and self.reverse:
            backwards = torch.rand(len(seen), 1, 1, device=seen.device) < 0.5
            seen = torch.where(backwards, seen.flip(1), seen)
        logits: Tensor = self.path(rearrange(seen, "b t f -> b (t f)"))
        return logits

    def _moments(self, images: Tensor) -> Tensor:
        """(M, 3, h, w) → (M, K 5): log mass, mean x and y, spread in x and y of each map, standardised."""
        maps = self.second(functional.gelu(self.first(images)))
        maps = functional.relu(maps - self.threshold.abs()[:, None, None])  # (M, K, h, w)
        height, width = images.shape[-2:]
        places = cell_centres(height, width, -1, 1, "centres").to(maps.device)
        powers = torch.cat([torch.ones_like(places[:, :1]), places, places**2], -1)  # (h w, 5)
        sums = rearrange(maps, "m k h w -> m k (h w)") @ powers  # (M, K, 5)
        mass = sums[..., :1]
        mean = sums[..., 1:3] / (mass + 1e-3)
        spread = (sums[..., 3:] / (mass + 1e-3) - mean**2).clamp_min(1e-6).sqrt()
        seen: Tensor = self.scale(rearrange(torch.cat([(mass + 1e-2).log(), mean, spread], -1), "m k f -> m (k f)"))
        return seen

    def probabilities(self, clips: Pixels, batch_size: int = 64) -> NDArray[np.float64]:
        """clips (N, T, H, W, 3) uint8 → (N, C). Raises ValueError for another clip shape."""
        if clips.shape[1:] != (*self.shape, 3):
            raise ValueError(f"clips of shape {clips.shape[1:]}, the pixel classifier needs {(*self.shape, 3)}")
        self.eval()
        device = self.background.device
        with torch.no_grad():
            parts = [
                self(self.motion(torch.from_numpy(clips[rows]).to(device))).double().softmax(-1).cpu().numpy()
                for rows in index_batches(len(clips), batch_size)
            ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)))


def still_background(clips: Pixels) -> Tensor:
    """(H, W, 3) in [0, 1]: the median of the first clips over time and clips, which moving things leave alone."""
    frames = rearrange(clips[:BACKGROUND_CLIPS, ::4], "n t h w c -> (n t) h w c")
    return torch.from_numpy(np.median(frames, axis=0).astype(np.float32) / 255)


def build_video_classifier(
    params: BaselinesParams, classes: tuple[str, ...], shape: tuple[int, int, int], background: Tensor,
    own_still: bool = False,
) -> VideoClassifier:
    """An untrained network; its weights come from the params' seed.

    Classes that are no laws of motion, such as directions, are not mirrored or reversed whatever the params say.
    """
    symmetric = are_laws(classes)
    torch.manual_seed(params.seed)
    module = VideoClassifier(
        classes, shape, channels=params.channels, maps=params.maps, width=params.width,
        still=params.still, mirror=params.mirror and symmetric, reverse=params.reverse and symmetric,
        own_still=own_still,
    )
    module.background.copy_(background)
    return module


def stored_motion(module: VideoClassifier, clips: Pixels, batch_size: int = 64) -> Tensor:
    """`motion` of clips (N, T, H, W, 3) in half precision, (N, T, 3, H/2, W/2): computed once, read every epoch."""
    frames, height, width = module.shape
    stored = torch.empty((len(clips), frames, height // 2, width // 2, 3), dtype=torch.float16)
    for rows in index_batches(len(clips), batch_size):
        stored[rows] = rearrange(module.motion(torch.from_numpy(clips[rows])), "b t c h w -> b t h w c").half()
    return rearrange(stored, "n t h w c -> n t c h w")  # channels last in memory


def classification_step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of batch["target"] (B,) given batch["motion"] (B, T, 3, H/2, W/2)."""
    logits = module(batch["motion"])
    loss = functional.cross_entropy(logits, batch["target"])
    accuracy = (logits.argmax(-1) == batch["target"]).float().mean()
    return loss, {"train_accuracy": accuracy}


def train_video_classifier(
    params: BaselinesParams, classes: tuple[str, ...], train: Clips, val: Clips, context: Context, label: str,
    own_still: bool = False,
) -> tuple[VideoClassifier, History]:
    """The direct network trained on the clips, the weights of its best epoch on `val`.

    own_still: for clips that share no background, as videos do. Of a single frame nothing would be left, so there the
    background of all clips is taken off.
    """
    shape = (train.pixels.shape[1], train.pixels.shape[2], train.pixels.shape[3])
    module = build_video_classifier(params, classes, shape, still_background(train.pixels), own_still and shape[0] > 1)
    target = target_of(val, classes)

    def validate(_: torch.nn.Module) -> dict[str, float]:
        likelihood = module.probabilities(val.pixels)[np.arange(len(target)), target]
        return {"val_loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean())}

    batches = TensorBatches(
        motion=stored_motion(module, train.pixels), target=torch.from_numpy(target_of(train, classes))
    )
    history = fit(
        module, classification_step, batches, params, context, label=label, validate=validate, monitor="val_loss"
    )
    return module.to(fabric_device(context.hardware)), history


def target_of(clips: Clips, classes: tuple[str, ...]) -> Labels:
    """(N,) index of each clip's class."""
    return np.searchsorted(np.array(classes), clips.label).astype(np.int64)


def save_video_classifier(folder: Path, module: VideoClassifier, params: BaselinesParams) -> None:
    """models/video_classifier: weights, and a config that rebuilds it."""
    size = {name: getattr(params, name) for name in ("channels", "maps", "width", "still")}
    size |= {"own_still": True} if module.own_still else {}
    save_model(folder, module, {"classes": list(module.classes), "shape": list(module.shape), "network": size})


def load_video_classifier(folder: Path) -> VideoClassifier:
    """The trained judge, in eval mode; UserError if the folder is damaged or another kind of model."""
    with rebuilding(folder) as config:
        if not {"classes", "shape", "network"} <= set(config):
            raise UserError(f"{folder}: not a video classifier")
        module = VideoClassifier(tuple(config["classes"]), tuple(config["shape"]), **config["network"])
        load_weights(folder, module)
    return module.eval()
