"""Clips that play in the page with nothing to load: all frames side by side in one image.

The page's script moves one number, the frame, and every strip shows that frame: all clips run in step.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOSSY = 85  # quality of a strip that need not be lossless


@dataclass(frozen=True)
class Sprite:
    """One clip: a data URI of its strip, and what a caption or a screen reader says of it."""

    source: str
    caption: str
    frames: int
    future: int | None = None  # first frame that a model predicted


@dataclass(frozen=True)
class Card:
    """Clips to be compared, side by side."""

    title: str
    note: str
    sprites: Sequence[Sprite]


def sprite(
    pixels: NDArray[np.uint8], caption: str, future: int | None = None, *, lossless: bool = True
) -> Sprite:
    """(T, H, W, 3) uint8 as a strip of T frames; the same bytes for the same pixels.

    What a network decoded is full of faint noise: losing some of it takes a fifth of the room.
    """
    from PIL import Image

    frames, height, width, _ = pixels.shape
    strip = np.ascontiguousarray(pixels.transpose(1, 0, 2, 3)).reshape(height, frames * width, 3)
    content = io.BytesIO()
    if lossless:
        Image.fromarray(strip).save(content, format="WEBP", lossless=True, quality=60, method=4)
    else:
        Image.fromarray(strip).save(content, format="WEBP", quality=LOSSY, method=4)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return Sprite(f"data:image/webp;base64,{encoded}", caption, frames, future)
