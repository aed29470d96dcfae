"""Clips as strips: every pixel is kept."""

import base64
import io

import numpy as np
from PIL import Image

from kinetoken.charts.sprites import sprite


def test_sprite_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), np.uint8)
    made = sprite(pixels, "a clip", future=3)
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.source.partition(",")[2]))))
    assert strip.shape == (8, 30, 3) and made.frames == 5
    assert np.array_equal(np.stack(np.split(strip, 5, axis=1)), pixels)
