"""Training clips: batches from the store and the variety drawn into them.

Clips met later hold things the tokenizer was not trained on (clutter, other balls, noise), so some of that
is drawn into a share of the training clips. All draws come from torch's generator, which the loop seeds by
(seed, epoch): a resumed run draws the same.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kinetoken.core.params import Fraction, NonNegative, NonNegativeFloat, Positive
from kinetoken.scenes.clips import Pixels
from kinetoken.tokenizer.losses import LossParams, reconstruction_loss
from kinetoken.tokenizer.network import STRIDE, NetworkParams, Quantizing, Tokenizer
from kinetoken.tokenizer.quantizers import QuantizerParams
from kinetoken.training.loop import Batch, CpuPrecision, Step, Validate, index_batches
from kinetoken.training.muon import MuonParams

SHAPES = 3  # at most, in a clip that gets some
SHAPE_REACH = (1.5, 4.0)  # px, half the side or the radius
SHAPE_SPEED = 1.5  # px a frame, at most; half of the shapes stand still
PRESENT_IN_WINDOW = 0.05  # as PRESENT, for where a window is cut: above a shadow's soft border
PRESENT = 0.02  # deviation from the background, of full scale, above which another clip's pixel is its ball


@dataclasses.dataclass(frozen=True)
class AugmentationParams:
    """Shares of training clips that get each kind of variety; part of section train_tokenizer."""

    other_ball: Fraction  # the ball and shadow of another clip of the batch
    shapes: Fraction  # small squares and discs, still or moving
    background: Fraction  # another brightness and a soft texture
    noise: Fraction  # Gaussian noise, in the input only
    brightness: NonNegativeFloat  # background's gain: 1 ± this
    texture: NonNegativeFloat  # standard deviation of the texture, of full scale
    noise_std: NonNegativeFloat  # greatest standard deviation of the noise, of full scale
    # of clips of which no positions are known, so of videos:
    turned: Fraction = 0.5  # mirrored, upside down, transposed or backwards, each drawn by itself
    recoloured: Fraction = 0.5  # red, green and blue in another order


@dataclasses.dataclass(frozen=True)
class WindowParams:
    """Square windows around what moves, seen first; whole clips follow; part of section train_tokenizer.

    Most of a clip is background that teaches nothing: a window of half the side costs a quarter. Whole clips come
    last because they are what is scored, and a window's edges look like an image's.
    """

    size: Positive  # px, a multiple of 8
    share: Fraction  # of all steps, the first ones

    def __post_init__(self) -> None:
        if self.size % STRIDE[1]:
            raise ValueError(f"size: a window's side must be a multiple of {STRIDE[1]} px, found {self.size}")

    def whole_clips(self, batch_size: int, side: int) -> int:
        """How many whole clips of that side, px, a step sees: as many pixels as there are in a batch of windows."""
        return max(1, round(batch_size * min(self.size / side, 1) ** 2)) if self.share else batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerParams(MuonParams):
    """Section train_tokenizer."""

    cpu_precision: CpuPrecision = "auto"  # where hardware.precision is auto
    network: NetworkParams
    quantizer: QuantizerParams
    loss: LossParams
    windows: WindowParams
    augmentation: AugmentationParams
    validation_clips: Positive  # of the val split, after each epoch
    unquantized_epochs: NonNegative = 0  # the first ones, in which nothing is quantized (arXiv:2605.06870)

    def __post_init__(self) -> None:
        if self.unquantized_epochs >= self.epochs:
            raise ValueError(
                f"unquantized_epochs: must be fewer than the {self.epochs} epochs, found {self.unquantized_epochs}"
            )

    @property
    def unquantized_share(self) -> float:
        """Of all steps, the first ones."""
        return self.unquantized_epochs / self.epochs


class ClipBatches:
    """Batches of uint8 clips {"clips": (B, T, H, W, 3), "background": (B, 1, H, W, 3)} from pixels in memory.

    background (H, W, 3) in [0, 1], behind all clips, which the model takes off. Where clips do not share one, `still`
    (N, H, W, 3) uint8 has each clip's own still picture, by which what moves is found and weighed: a batch then holds
    {"still": (B, 1, H, W, 3)} too. Windows are cut for the first share of training; later as many
    clips of a batch are left out as makes a step cost the same. For the first `unquantized` share of training a batch
    also holds `quantizing: off`, and the one after it `quantizing: starting`, each an empty tensor.
    """

    def __init__(
        self, pixels: Pixels, background: Tensor, windows: WindowParams, unquantized: float = 0.0,
        still: NDArray[np.uint8] | None = None,
    ) -> None:
        self._pixels, self._background, self._windows = torch.from_numpy(pixels), background, windows
        self._unquantized = unquantized
        self._still = None if still is None else torch.from_numpy(still)

    def __len__(self) -> int:
        return len(self._pixels)

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        return self._clips(indices, done) | self._quantizing(done)

    def _quantizing(self, done: float) -> Batch:
        if not self._unquantized or done > self._unquantized:
            return {}
        return {"quantizing: off" if done < self._unquantized else "quantizing: starting": torch.empty(0)}

    def _clips(self, indices: np.ndarray, done: float) -> Batch:
        side = self._pixels.shape[2]
        in_windows = done < self._windows.share and self._windows.size < side
        rows = torch.from_numpy(indices if in_windows else indices[: self._windows.whole_clips(len(indices), side)])
        clips, still = self._pixels[rows], None if self._still is None else self._still[rows].float() / 255
        if in_windows:
            return cut_windows(clips, self._background, self._windows.size, still)
        batch = {"clips": clips, "background": repeat(self._background, "h w c -> b 1 h w c", b=len(clips))}
        return batch if still is None else batch | {"still": still[:, None]}


def static_background(pixels: Pixels, sample: int = 64) -> Tensor:
    """(H, W, 3) in [0, 1]: the median over frames of `sample` clips spread over (N, T, H, W, 3) uint8."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, sample).astype(np.int64))
    frames = rearrange(pixels[rows], "n t h w c -> (n t) h w c")
    return torch.from_numpy(np.median(frames, axis=0).astype(np.float32) / 255)


def training_step(params: TokenizerParams) -> Step:
    """The step for `training.fit` on `ClipBatches`: vary a batch, reconstruct it, compare with the noiseless target."""
    quantizer = params.quantizer
    weights = {"quantizer": quantizer.weight, "contrastive": quantizer.contrastive}

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        clips, behind = batch["clips"].float() / 255, batch["background"]
        if "still" in batch:
            clips, behind = turn(clips, batch["still"], params.augmentation)
        given, target, varied = vary(clips, behind, params.augmentation)
        view = _noisy(target, params.augmentation.noise_std) if quantizer.contrastive else None
        output, losses = module(given, batch["background"], view, quantizing_of(batch))
        reconstruction = reconstruction_loss(output, target, varied, params.loss)
        total = reconstruction + sum(weights[name] * part for name, part in losses.items())
        return total, {"reconstruction": reconstruction, **losses}

    return step


def quantizing_of(batch: Batch) -> Quantizing:
    """Whether latents of this batch are quantized: they are unless it says otherwise."""
    if "quantizing: off" in batch:
        return "off"
    return "starting" if "quantizing: starting" in batch else "on"


def cut_windows(clips: Tensor, background: Tensor, size: int, still: Tensor | None = None) -> Batch:
    """A window of each clip (B, T, H, W, 3) uint8, near what differs from the background (H, W, 3) in one frame.

    Where clips have `still` pictures (B, H, W, 3) of their own, near what differs from those.
    → {"clips": (B, T, size, size, 3), "background": (B, 1, size, size, 3)} and, if there are such, still pictures of
    the same size. Their corners lie on multiples of 8 px, as whole clips' tokens do.
    """
    frame = torch.randint(clips.shape[1], (len(clips),), device=clips.device)
    shown = clips[torch.arange(len(clips), device=clips.device), frame].float() / 255  # (B, H, W, 3)
    present = ((shown - (background if still is None else still)).abs().amax(-1) > PRESENT_IN_WINDOW).float()
    parts: dict[str, list[Tensor]] = {"clips": [], "background": [], "still": []}
    for place, (clip, here) in enumerate(zip(clips, present, strict=True)):
        corner = [_corner(here.sum(1 - dim), size) for dim in (0, 1)]
        rows, columns = (slice(start, start + size) for start in corner)
        parts["clips"].append(clip[:, rows, columns])
        parts["background"].append(background[None, rows, columns])
        if still is not None:
            parts["still"].append(still[place, None, rows, columns])
    return {name: torch.stack(each) for name, each in parts.items() if each}


def _corner(weight: Tensor, size: int) -> int:
    """Where a window of `size` begins along an axis whose pixels weigh (L,): its middle is at most 8 px off theirs."""
    length, total = len(weight), weight.sum()
    middle = (weight @ torch.arange(length, device=weight.device, dtype=weight.dtype)) / total if total else length / 2
    start = float(middle - size / 2 + STRIDE[1] * (2 * torch.rand(()) - 1))
    return int(min(max(round(start / STRIDE[1]) * STRIDE[1], 0), length - size))


def validation(
    pixels: Pixels, background: Tensor, loss: LossParams, batch_size: int = 40, still: NDArray[np.uint8] | None = None
) -> Validate:
    """For `training.fit`: `val_loss`, that of training on clips as they are, and `val_psnr_db`; always quantized."""

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, Tokenizer)
        device = module.background.device
        total = squared = 0.0
        for rows in index_batches(len(pixels), batch_size):
            clips = torch.from_numpy(pixels[rows]).to(device).float() / 255
            output = module.reconstruct(clips)
            behind = background if still is None else torch.from_numpy(still[rows])[:, None].float() / 255
            total += len(rows) * reconstruction_loss(output, clips, behind.to(device), loss).item()
            squared += len(rows) * F.mse_loss(output, clips).item()
        return {"val_loss": total / len(pixels), "val_psnr_db": -10 * math.log10(max(squared / len(pixels), 1e-10))}

    return validate


def turn(clips: Tensor, still: Tensor, params: AugmentationParams) -> tuple[Tensor, Tensor]:
    """Clips (B, T, H, W, 3) and the still picture of each (B, 1, H, W, 3), turned and recoloured: all frames alike.

    A tokenizer learns no classes, so a clip may become one of another class.
    """
    turns: list[Callable[[Tensor], Tensor]] = [lambda each: each.flip(3), lambda each: each.flip(2)]
    turns.append(lambda each: each.flip(1))  # played backwards
    if clips.shape[2] == clips.shape[3]:
        turns.append(lambda each: each.transpose(2, 3))
    for change in turns:
        rows = _chosen(clips, params.turned)
        clips, still = (each.index_copy(0, rows, change(each[rows])) for each in (clips, still))
    rows = _chosen(clips, params.recoloured)
    order = torch.rand(len(rows), 1, 1, 1, 3, device=clips.device).argsort(-1)
    clips, still = (
        each.index_copy(0, rows, each[rows].gather(-1, order.expand_as(each[rows]))) for each in (clips, still)
    )
    return clips, still


def vary(clips: Tensor, background: Tensor, params: AugmentationParams) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (B, T, H, W, 3) in [0, 1], background behind each (B, 1, H, W, 3) → input, target, background.

    The target is the input without noise, the background is changed where the clip's was. Each kind of variety is
    worked out for the clips that get it only.
    """
    target = clips.clone()
    behind = background.clone()
    rows = _chosen(clips, params.other_ball)
    other = (rows + 1) % len(clips)
    others = clips[other]  # (K, T, H, W, 3)
    present = (others - background[other]).abs().amax(-1, keepdim=True) > PRESENT
    target[rows] = torch.where(present, others, clips[rows])
    rows = _chosen(clips, params.background)
    change = _background_change(behind[rows], params)
    target[rows], behind[rows] = (target[rows] + change).clamp_(0, 1), (behind[rows] + change).clamp_(0, 1)
    rows = _chosen(clips, params.shapes)
    target[rows] = _with_shapes(target[rows])
    rows = _chosen(clips, params.noise)
    given = target.clone()
    given[rows] = _noisy(given[rows], params.noise_std)
    return given, target, behind


def _noisy(clips: Tensor, greatest: float) -> Tensor:
    """Clips (K, T, H, W, 3) under Gaussian noise, each of its own strength up to `greatest`."""
    strength = greatest * torch.rand(len(clips), 1, 1, 1, 1, device=clips.device)
    return (clips + strength * torch.randn_like(clips)).clamp_(0, 1)


def _chosen(clips: Tensor, share: float) -> Tensor:
    """(K,) rows of the batch, each taken with probability `share`."""
    return torch.nonzero(torch.rand(len(clips), device=clips.device) < share).squeeze(-1)


def _background_change(behind: Tensor, params: AugmentationParams) -> Tensor:
    """(K, 1, H, W, 3) to be added: another brightness and a soft texture."""
    count, _, height, width, _ = behind.shape
    gain = params.brightness * (2 * torch.rand(count, 1, 1, 1, 1, device=behind.device) - 1)
    coarse = params.texture * torch.randn(count, 3, 8, 8, device=behind.device)
    if count == 0:
        return behind
    texture = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return behind * gain + rearrange(texture, "b c h w -> b 1 h w c")


def _with_shapes(clips: Tensor) -> Tensor:
    """One to `SHAPES` squares or discs of one colour each, on straight paths. (K, T, H, W, 3) → the same."""
    count, frames, height, width, _ = clips.shape
    device = clips.device
    draws = torch.rand(SHAPES, count, 10, device=device)
    times = torch.arange(frames, device=device) - (frames - 1) / 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    for number, draw in enumerate(draws):  # (K, 10)
        moving = (draw[:, 4] < 0.5).float() * SHAPE_SPEED
        u = draw[:, :1] * width + (moving * (2 * draw[:, 2] - 1))[:, None] * times  # (K, T)
        v = draw[:, 1:2] * height + (moving * (2 * draw[:, 3] - 1))[:, None] * times
        reach = (SHAPE_REACH[0] + (SHAPE_REACH[1] - SHAPE_REACH[0]) * draw[:, 5])[:, None, None, None]
        across, down = (columns - u[..., None])[..., None, :], (rows - v[..., None])[..., :, None]
        box = torch.maximum(down.abs(), across.abs())  # (K, T, H, W)
        disc = (down.square() + across.square()).sqrt()
        distance = torch.where((draw[:, 6] < 0.5)[:, None, None, None], box, disc)
        here = (draw[:, 9] < (1.0 if number == 0 else 0.5))[:, None, None, None]
        coverage = ((reach - distance + 0.5).clamp(0, 1) * here)[..., None]
        clips = torch.lerp(clips, draw[:, None, None, None, 6:9].expand_as(clips), coverage)
    return clips
