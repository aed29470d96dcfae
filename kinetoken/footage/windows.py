"""How many frames a model reads of a clip, and where a clip of another length is cut."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import Pixels

Cut = Literal["first", "last", "all"]  # which windows of a longer clip are read: one of its ends, or all side by side
CUTS: tuple[Cut, ...] = ("first", "last", "all")
STEP = 4  # frames of a time slice of codes
FRAMES = 16  # of a window, where no model asks for another length


@dataclasses.dataclass(frozen=True)
class ClipNeed:
    """What a model asks of clips."""

    reader: str  # that asks, for messages
    size: int  # pixels a side
    frames: int | None  # read of each clip; None: all of them, where they are a multiple of four
    most: int | None = None  # frames that a clip or window may have, of which the first `frames` are read
    shorter: bool = False  # a clip with fewer frames is read as far as it goes

    def windows(self, total: int, cut: Cut | None, name: str) -> tuple[int, list[int]]:
        """Length and first frames of what is read of a clip of `total` frames.

        UserError for a clip that is too short, or longer and not to be cut.
        """
        length = self._length(total, cut, name)
        if total < length:
            if self.shorter and total > 0:
                return total, [0]
            raise too_short(name, total, length, self.reader)
        if cut is None:
            if total > max(length, self.stride if self.frames else 0):
                raise too_long(name, str(total), length, self.reader)
            return length, [0]
        every = list(range(0, total - length + 1, self.stride))
        return length, {"first": [0], "last": [total - length], "all": every}[cut]

    @property
    def stride(self) -> int:
        """Frames from one window to the next."""
        return max(self.frames or FRAMES, self.most or 0)

    def _length(self, total: int, cut: Cut | None, name: str) -> int:
        if self.frames is not None:
            return self.frames
        if cut is not None:
            return FRAMES
        if total % STEP or not total:
            raise UserError(
                f"{name}: {total} frames, {self.reader} reads a multiple of {STEP}; give --frames, or --window first, "
                f"last or all for windows of {FRAMES}"
            )
        return total


def too_short(name: str, total: int, length: int, reader: str) -> UserError:
    return UserError(f"{name}: {total} frame{'' if total == 1 else 's'}, {reader} reads {length}")


def too_long(name: str, total: str, length: int, reader: str) -> UserError:
    return UserError(
        f"{name}: {total} frames, {reader} reads {length}; --window first or last reads one window of them, "
        "--window all every window that fits"
    )


def left_over(name: str, frames: int, length: int) -> str:
    return f"{name}: the last {frames} frame{'' if frames == 1 else 's'} fill no window of {length} and are not read"


def cut_stream(
    need: ClipNeed, cut: Cut | None, frames: Iterable[Pixels], name: str, notes: list[str]
) -> Iterator[tuple[int, Pixels]]:
    """The windows of a clip whose frames (K, H, W, 3) come a few at a time: first frame and (length, H, W, 3) of each.

    Never more than a window and one such batch is held, and nothing is read beyond what decides. `notes` gets a
    sentence for frames at the end that fill no window. UserError as `ClipNeed.windows`.
    """
    length, most = need.frames or FRAMES, need.stride
    held: deque[Pixels] = deque(maxlen=length if cut == "last" else None)
    seen = 0
    for frame in (frame for batch in frames for frame in batch):
        seen += 1
        if cut is None and seen > most:
            raise too_long(name, f"more than {most}", length, need.reader)
        if cut == "last" or (seen - 1) % most < length:
            held.append(frame)
        if cut in ("first", "all") and len(held) == length:
            yield seen - length, np.stack(held)
            held.clear()
            if cut == "first":
                return
    if seen < length:
        if not (need.shorter and held):
            raise too_short(name, seen, length, need.reader)
        yield 0, np.stack(held)
    elif cut in (None, "last"):
        yield 0 if cut is None else seen - length, np.stack(held)
    elif held:
        notes.append(left_over(name, len(held), length))
