"""What moves in clips of which nobody knows how they were made: what differs from the clip's own still picture."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.scenes.clips import Pixels
from kinetoken.scenes.tracking import Floats, Tracked, track_ball

MOVING = 0.1  # grey difference from the still picture, in [0, 1], from which a pixel counts as moving


def still_pictures(clips: Pixels) -> NDArray[np.float32]:
    """(N, T, H, W, 3) uint8 → (N, H, W, 3) in [0, 1]: each clip's median over time."""
    return np.asarray(np.median(clips, axis=1) / 255, np.float32)


def moving_pixels(clips: Pixels, still: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, T, H, W): where clips (N, T, H, W, 3) uint8 differ from the still picture, (H, W, 3) or one a clip."""
    behind = still[:, None] if still.ndim == 4 else still
    return np.asarray(np.abs(clips / np.float32(255) - behind).mean(-1) > MOVING)


def picture_behind(frames: Floats, background: Floats | None) -> Floats:
    """What is behind the things that move in frames (B, T, H, W, 3): the background of all clips, (H, W, 3), if there
    is one, else each clip's median over time (B, 1, H, W, 3)."""
    return np.asarray(np.median(frames, axis=1, keepdims=True), np.float32) if background is None else background


def track_moving(frames: Floats, background: Floats | None) -> Tracked:
    """The ball before the background of all clips, else the middle and the size of what moves.

    frames (B, T, H, W, 3) in [0, 1]; the background is one for all, one a clip, or the clip's own median (None).
    Videos may have frames in which nothing moves. There, place and size are those between the frames before and after
    in which something does; if nothing ever moves, the image's middle and a sixteenth of its side.
    """
    behind = picture_behind(frames, background)
    found = track_ball(frames, behind)
    return found if behind.ndim == 3 else _without_gaps(found, frames.shape[-2])


def _without_gaps(found: Tracked, size: int) -> Tracked:
    u, v, radius = found.u.copy(), found.v.copy(), found.radius.copy()
    every = np.arange(u.shape[1])
    for row, seen in enumerate(found.mass > 0):
        if not seen.any():
            radius[row] = size / 16
        elif not seen.all():
            for values in (u, v, radius):
                values[row] = np.interp(every, every[seen], values[row, seen])
    return dataclasses.replace(found, u=u, v=v, radius=radius)
