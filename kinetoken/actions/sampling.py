"""Which frames and which part of the picture are looked at: uniform segments, views, crops. Nothing is mirrored.

Segments are those of TSN (Wang et al. 2016, arXiv:1608.00859): the clip is cut into equal parts and one frame is
taken from each, at random in training and at fixed places in evaluation. Evaluation looks several times: each clip
of frames takes other places in the segments, each crop another part of the picture, and scores are averaged.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.params import Fraction, NonNegative, Positive, Range

Pixels = NDArray[np.uint8]
Places = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Views:
    """How a clip is looked at."""

    segments: Positive  # frames a view
    short_side: Positive  # pixels that the shorter side of a frame is brought to
    crop: Positive  # side of the square that is cut out, at most short_side
    zoom: Annotated[float, Range(gt=0, le=1)]  # training: the square's side is drawn from this share of crop to all
    jitter: Annotated[float, Range(ge=0, lt=1)]  # training: brightness and contrast change by up to this share
    clips: Positive  # evaluation: views in time
    crops: Literal[1, 3]  # evaluation: views along the longer side

    def __post_init__(self) -> None:
        if self.crop > self.short_side:
            raise ValueError(f"crop {self.crop} is larger than short_side {self.short_side}")


@dataclasses.dataclass(frozen=True)
class Intake:
    """What is done with clips that are missing, damaged or too short, and how clips are read."""

    broken: Literal["stop", "skip"]
    max_broken: Fraction  # of all clips; more than this stops, whatever `broken` says
    workers: NonNegative  # processes that read; 0: this one
    cache_mib: NonNegative  # decoded clips on disk, at most this much; 0: none


def random_places(frames: int, segments: int, rng: np.random.Generator) -> Places:
    """One frame of each segment (segments,), ascending; the instant is drawn evenly from the segment.

    Segments are parts of the clip's time, not of its list of frames: so a clip played backwards is sampled like the
    clip itself, and every frame is as likely as any other. ValueError for more segments than frames.
    """
    _check(frames, segments)
    times = (np.arange(segments) + rng.random(segments)) * frames / segments  # frame n is shown from n to n + 1
    return np.minimum(times.astype(np.int64), frames - 1)


def even_places(frames: int, segments: int, clips: int) -> Places:
    """For each of `clips` views one frame of each segment (clips, segments): at the middles of its equal parts.

    One clip takes the middles of the segments, two the instants at a quarter and three quarters, and so on. An
    instant between two frames takes the one nearer to the clip's middle: rounding to one side would let a model blind
    to order see which end of the clip is which. ValueError for more segments than frames.
    """
    _check(frames, segments)
    parts = 2 * (np.arange(clips)[:, None] + clips * np.arange(segments)) + 1  # in halves of a part
    instant, whole = parts * frames, 2 * clips * segments
    between = (instant % whole == 0) & (2 * instant > frames * whole)
    return np.asarray(instant // whole - between, np.int64)


def _check(frames: int, segments: int) -> None:
    if segments > frames:
        raise ValueError(f"{segments} segments of {frames} frames")


def crop_corners(height: int, width: int, side: int, crops: int) -> list[tuple[int, int]]:
    """(top, left) of each square: the middle one, or three along the longer side (start, middle, end)."""
    tall, wide = height - side, width - side
    if crops == 1:
        return [(tall // 2, wide // 2)]
    if height > width:
        return [(top, wide // 2) for top in (0, tall // 2, tall)]
    return [(tall // 2, left) for left in (0, wide // 2, wide)]


def look_training(pixels: Pixels, views: Views, rng: np.random.Generator) -> Pixels:
    """One square at a random place, the same in all frames, zoomed and relit: (T, H, W, 3) → (T, crop, crop, 3)."""
    zoom, down, right, bright, contrast = rng.random(5)
    side = max(round(views.crop * (1 - (1 - views.zoom) * zoom)), 1)
    top, left = int(down * (pixels.shape[1] - side + 1)), int(right * (pixels.shape[2] - side + 1))
    square = np.ascontiguousarray(pixels[:, top : top + side, left : left + side])
    if side == views.crop and not views.jitter:
        return square
    if side != views.crop:
        square = _resize(square, views.crop)
    gain, swing = 1 + views.jitter * (2 * np.array([bright, contrast]) - 1)
    return _relight(square, gain, swing) if views.jitter else square


def look_evenly(pixels: Sequence[Pixels] | Pixels, views: Views) -> Pixels:
    """All crops of each clip in time: (clips, T, H, W, 3) → (clips · crops, T, crop, crop, 3), crops together."""
    side = views.crop
    return np.stack([
        clip[:, top : top + side, left : left + side]
        for clip in pixels
        for top, left in crop_corners(clip.shape[1], clip.shape[2], side, views.crops)
    ])


def _resize(pixels: Pixels, side: int) -> Pixels:
    """(T, h, w, 3) → (T, side, side, 3), bilinear."""
    import torch
    from torch.nn.functional import interpolate

    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    resized = interpolate(planes, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def _relight(pixels: Pixels, gain: float, swing: float) -> Pixels:
    """Contrast about mid-grey times `swing`, then brightness times `gain`, by a table of the 256 values."""
    levels = np.clip(((np.arange(256) - 128) * swing + 128) * gain + 0.5, 0, 255).astype(np.uint8)
    # bytes.translate needs no temporary copy wider than a byte, as indexing does
    return np.frombuffer(bytearray(pixels.tobytes().translate(levels.tobytes())), np.uint8).reshape(pixels.shape)
