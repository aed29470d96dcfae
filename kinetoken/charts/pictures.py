"""Pictures that a stage drew, small enough to lie in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinetoken.core.errors import UserError

WIDEST = 640  # px in the page; wider ones are averaged down by a whole number
QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """A data URI with its size, a caption, and what a screen reader says of it."""

    title: str
    caption: str
    source: str
    width: int
    height: int


def picture(path: Path, title: str, caption: str, *, widest: int = WIDEST, clear: bool = False) -> Picture:
    """The image file as WebP; with `clear`, pure white lets the page through, dark as it may be.

    Raises UserError naming the file if it is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a picture: {' '.join(str(error).split())}") from None
    if clear:
        pixels = np.dstack([pixels, np.where((pixels == 255).all(-1), 0, 255).astype(np.uint8)])
    image = Image.fromarray(pixels)
    image = image.reduce(-(-image.width // widest))
    content = io.BytesIO()
    image.save(content, format="WEBP", quality=QUALITY, method=4)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return Picture(title, caption, f"data:image/webp;base64,{encoded}", image.width, image.height)
