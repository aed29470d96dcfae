"""Clips as strips of frames in one labelled picture: a row a clip, a heading over each group of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

INK = (110, 110, 110)  # legible on white and, where a page drops the white, on a dark page
GAP, GROUP_GAP, MARGIN = 2, 10, 8  # px between frames, between groups of frames, around text
TEXT = 13  # px, at an enlargement of 1 or 2


@dataclass(frozen=True)
class Group:
    """Frames that stand together: what is said over all of them, and over each one."""

    heading: str
    frames: int
    captions: Sequence[str] = ()  # one a frame, or none


def draw_strips(
    path: Path, rows: Sequence[Pixels], labels: Sequence[str], groups: Sequence[Group], *, enlarged: int = 2,
    title: str = "", colours: int | None = None,
) -> None:
    """Write a PNG with a row of frames for each clip, its label at the left, headings above.

    rows: a clip each, (F, H, W, 3) uint8; F is at most the frames of all groups together, what is missing stays white.
    labels: a text a clip, of one or more lines. With `colours`, so many are kept, for a smaller file. The same pixels
    and texts give the same bytes.
    """
    from PIL import Image, ImageDraw

    font = _font(TEXT)
    places = _places(groups, rows[0].shape[2] * enlarged)
    height = rows[0].shape[1] * enlarged + GAP
    left = max((_width(text, font) for text in labels), default=0) + 2 * MARGIN
    lines = bool(title) + any(group.heading for group in groups) + any(group.captions for group in groups)
    top = MARGIN + lines * (TEXT + MARGIN)
    right = max(left + places[-1] + rows[0].shape[2] * enlarged, _width(title, font) + 2 * MARGIN)
    sheet = Image.new("RGB", (right + MARGIN, top + height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    _write_heads(draw, font, title, groups, [left + place for place in places])
    for row, (frames, label) in enumerate(zip(rows, labels, strict=True)):
        middle = top + height * row + height // 2
        draw.multiline_text((MARGIN, middle), label, fill=INK, font=font, anchor="lm")
        for frame, place in zip(frames, places, strict=False):
            sheet.paste(_enlarged(frame, enlarged), (left + place, top + height * row))
    path.parent.mkdir(parents=True, exist_ok=True)
    (sheet if colours is None else sheet.quantize(colours)).save(path, "PNG", optimize=True)


def _places(groups: Sequence[Group], width: int) -> list[int]:
    """Where each frame begins, px from the first."""
    places, place = [], 0
    for group in groups:
        for _ in range(group.frames):
            places.append(place)
            place += width + GAP
        place += GROUP_GAP
    return places


def _write_heads(draw: Any, font: Any, title: str, groups: Sequence[Group], places: Sequence[int]) -> None:  # noqa: ANN401
    line, first = MARGIN, 0
    if title:
        draw.text((MARGIN, line), title, fill=INK, font=font)
        line += TEXT + MARGIN
    under = line + (TEXT + MARGIN) * any(group.heading for group in groups)
    for group in groups:
        draw.text((places[first], line), group.heading, fill=INK, font=font)
        for place, caption in zip(places[first : first + group.frames], group.captions, strict=False):
            draw.text((place, under), caption, fill=INK, font=font)
        first += group.frames


def _enlarged(frame: Pixels, times: int) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(frame.repeat(times, 0).repeat(times, 1)))


def _font(size: int) -> Any:  # noqa: ANN401 - one of two classes of Pillow
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _width(text: str, font: Any) -> int:  # noqa: ANN401
    return max((int(np.ceil(font.getlength(line))) for line in text.splitlines()), default=0)
