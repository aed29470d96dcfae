"""How good reconstructions are: error in dB, over everything and over the ball, and where the ball is found.

Definitions: the mask is where the renderer's ball coverage is above 0.5; PSNR is −10·log10 of the mean
squared error pooled over all clips (over their masks for the foreground); the floor of each number is the
mean video of the training clips, the ceiling of what is tracked is the original.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.footage.motion import moving_pixels, still_pictures
from kinetoken.scenes.clips import Clips, Pixels
from kinetoken.scenes.rendering import MASK_COVERAGE, Scene, ball_coverage
from kinetoken.scenes.tracking import Tracked, distances, track_ball
from kinetoken.tokenizer.network import Tokenizer

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

BATCH = 20
BOOTSTRAP_DRAWS = 1000
HEADLINES = Headlines(
    required=(
        "psnr_db", "psnr_db_floor", "foreground_psnr_db", "foreground_psnr_db_floor", "centroid_error_px",
        "centroid_error_px_floor", "missed_rate", "radius_error_px", "parameters",
    ),
    bounded=("psnr_db", "foreground_psnr_db", "centroid_error_px", "radius_error_px"),
)
HEADLINES_OF_FOOTAGE = Headlines(  # of clips in which no ball is known
    required=("psnr_db", "psnr_db_floor", "foreground_psnr_db", "foreground_psnr_db_floor", "parameters"),
    bounded=("psnr_db", "foreground_psnr_db"),
)


@dataclasses.dataclass
class PixelScores:
    """One row a clip, (N,) each: sums of squared errors and what they are sums over."""

    squared: Array  # summed over the clip's pixels, mean over colours
    pixels: Array
    squared_mask: Array  # the same over the mask of the ball, or of what moves where no ball is known
    pixels_mask: Array

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


@dataclasses.dataclass
class ClipScores(PixelScores):
    """The same of clips with a known ball, and means over frames."""

    centroid: Array  # px, mean over frames
    missed: Array  # share of frames
    radius: Array  # px, mean |tracked radius − the original's| over frames


@dataclasses.dataclass
class Originals:
    """N clips (N, T, H, W, 3) in [0, 1] with all that reconstructions are held against, worked out once."""

    frames: Floats
    background: Floats
    u: Array  # (N, T) px, the projected true centre
    v: Array
    mask: NDArray[np.bool_]  # (N, T, H, W)
    tracked: Tracked

    @classmethod
    def of(cls, frames: Floats, scene: Scene, points: Array) -> "Originals":
        """points (N, T, 3) m."""
        u, v, _ = scene.camera.project(points)
        mask = ball_coverage(scene, points) > MASK_COVERAGE
        background = scene.background()
        return cls(frames, background, u, v, mask, track_ball(frames, background))


def score_clips(frames: Floats, originals: Originals) -> ClipScores:
    """Reconstructions (N, T, H, W, 3) in [0, 1], or one (T, H, W, 3) for all, against the originals."""
    pixels = score_pixels(frames, originals.frames, originals.mask)
    tracked = track_ball(frames, originals.background)
    centroid, missed = distances(tracked, originals.tracked.mass, frames.shape[-2], originals.u, originals.v)
    return ClipScores(
        pixels.squared, pixels.pixels, pixels.squared_mask, pixels.pixels_mask,
        centroid.mean(1), missed.mean(1), np.abs(tracked.radius - originals.tracked.radius).mean(1),
    )


def score_pixels(frames: Floats, originals: Floats, mask: NDArray[np.bool_]) -> PixelScores:
    """Reconstructions (N, T, H, W, 3) in [0, 1], or one for all, against originals, over a mask (N, T, H, W) too."""
    error = frames - originals
    squared = np.einsum("nthwc,nthwc->nthw", error, error) / error.shape[-1]
    every = (1, 2, 3)
    return PixelScores(
        squared.sum(every, dtype=np.float64), np.full(len(squared), float(squared[0].size)),
        (squared * mask).sum(every, dtype=np.float64), mask.sum(every).astype(np.float64),
    )


@torch.no_grad()
def score_tokenizer(
    tokenizer: Tokenizer, clips: Clips, scene: Scene, points: Array, mean_video: Floats,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, ClipScores]:
    """Scores of the tokenizer (`reconstruction`), of the mean video (`floor`) and of the originals (`ceiling`)."""
    device = tokenizer.background.device
    parts: dict[str, list[ClipScores]] = {"reconstruction": [], "floor": [], "ceiling": []}
    for start in range(0, len(clips), BATCH):
        rows = slice(start, start + BATCH)
        original: Floats = clips.pixels[rows].astype(np.float32) / np.float32(255)
        output: Floats = tokenizer.reconstruct(torch.from_numpy(clips.pixels[rows]).to(device)).cpu().numpy()
        originals = Originals.of(original, scene, points[rows])
        for name, frames in (("reconstruction", output), ("floor", mean_video), ("ceiling", original)):
            parts[name].append(score_clips(frames, originals))
        advance(len(original))
    return {name: ClipScores.joined(scores) for name, scores in parts.items()}


@torch.no_grad()
def score_footage(
    tokenizer: Tokenizer, clips: Clips, mean_video: Floats, advance: Callable[[int], None] = lambda count: None
) -> dict[str, PixelScores]:
    """The same of clips in which no ball is known: `reconstruction` and `floor`, over what moves as over the mask."""
    device = tokenizer.background.device
    parts: dict[str, list[PixelScores]] = {"reconstruction": [], "floor": []}
    for start in range(0, len(clips), BATCH):
        pixels = clips.pixels[start : start + BATCH]
        original: Floats = pixels.astype(np.float32) / np.float32(255)
        output: Floats = tokenizer.reconstruct(torch.from_numpy(pixels).to(device)).cpu().numpy()
        mask = moving_pixels(pixels, still_pictures(pixels))
        for name, frames in (("reconstruction", output), ("floor", mean_video)):
            parts[name].append(score_pixels(frames, original, mask))
        advance(len(original))
    return {name: PixelScores.joined(scores) for name, scores in parts.items()}


def mean_video(pixels: Pixels) -> Floats:
    """(T, H, W, 3) in [0, 1]: the mean over clips (N, T, H, W, 3) uint8."""
    total = np.zeros(pixels.shape[1:], np.int64)
    for start in range(0, len(pixels), 256):
        total += pixels[start : start + 256].sum(0, dtype=np.int64)
    return (total / (255 * len(pixels))).astype(np.float32)


def psnr(squared: Array, pixels: Array) -> float:
    """dB of the pooled mean squared error, at most 100."""
    return float(-10 * np.log10(max(squared.sum() / max(pixels.sum(), 1.0), 1e-10)))


OF_PIXELS: dict[str, Callable[[Any], float]] = {
    "psnr_db": lambda s: psnr(s.squared, s.pixels),
    "foreground_psnr_db": lambda s: psnr(s.squared_mask, s.pixels_mask),
}
OF_THE_BALL: dict[str, Callable[[Any], float]] = {
    "centroid_error_px": lambda s: float(s.centroid.mean()),
    "radius_error_px": lambda s: float(s.radius.mean()),
    "missed_rate": lambda s: float(s.missed.mean()),
}
MEASURES = OF_PIXELS | OF_THE_BALL


def reconstruction_metrics(scores: Mapping[str, PixelScores], seed: int) -> dict[str, float]:
    """Each measure with its floor and 95 % interval (bootstrap over clips); the centroid's ceiling too.

    Those of the ball are left out where none is known.
    """
    measures = MEASURES if isinstance(scores["reconstruction"], ClipScores) else OF_PIXELS
    rng = np.random.default_rng(seed)
    count = len(scores["reconstruction"].squared)
    draws = rng.integers(0, count, (BOOTSTRAP_DRAWS, count))
    metrics = {}
    for name, measure in measures.items():
        metrics[name] = measure(scores["reconstruction"])
        metrics[f"{name}_floor"] = measure(scores["floor"])
        resampled = [measure(scores["reconstruction"].take(rows)) for rows in draws]
        metrics[f"{name}_ci95_low"], metrics[f"{name}_ci95_high"] = np.percentile(resampled, [2.5, 97.5])
    if "ceiling" in scores:
        metrics["centroid_error_px_ceiling"] = MEASURES["centroid_error_px"](scores["ceiling"])
    return metrics
