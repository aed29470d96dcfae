"""Frames of any size brought to the square that a model takes: the middle cut out, then averaged over areas."""

import functools

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import Pixels


class FrameFitter:
    """Brings frames to `size` × `size` pixels for one reader.

    Without `resize` frames of another size are refused; with it `notes` gets a sentence for each size that was met.
    """

    def __init__(self, size: int, reader: str, resize: bool, notes: list[str]) -> None:
        self.size, self.reader, self.resize, self.notes = size, reader, resize, notes
        self._met = set[tuple[int, int]]()

    def check(self, width: int, height: int, name: str) -> None:
        """UserError for frames that are neither of the size nor to be resized."""
        if (width, height) != (self.size, self.size) and not self.resize:
            raise UserError(
                f"{name}: frames are {width}×{height}, {self.reader} takes {self.size}×{self.size}; "
                "--resize cuts out the middle square and averages it to that size"
            )

    def fit(self, frames: Pixels, name: str) -> Pixels:
        """(..., H, W, 3) uint8 → (..., size, size, 3) uint8. UserError as `check`."""
        height, width = frames.shape[-3:-1]
        self.check(width, height, name)
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = frames[..., top : top + side, left : left + side, :]
        if (width, height) == (self.size, self.size):
            return square
        self._note(width, height, name)
        return averaged(square, self.size)

    def _note(self, width: int, height: int, name: str) -> None:
        if (width, height) in self._met:
            return
        self._met.add((width, height))
        side = min(width, height)
        cut = "" if width == height else f"the middle {side}×{side} "
        how = "averaged down" if side > self.size else "enlarged"
        scaled = "kept" if side == self.size else f"{how} to {self.size}×{self.size}"
        self.notes.append(f"{name}: frames of {width}×{height}, {cut}{scaled}")


def averaged(square: Pixels, size: int) -> Pixels:
    """(..., S, S, 3) uint8 → (..., size, size, 3): each pixel the mean of the area that it covers, rounded."""
    weights = _overlaps(square.shape[-2], size)
    flat = square.reshape(-1, *square.shape[-3:])
    small = np.empty((len(flat), size, size, 3), np.uint8)
    for place, frame in enumerate(flat):
        rows = np.tensordot(weights, frame.astype(np.float32), (1, 0))  # (size, S, 3)
        small[place] = (np.einsum("xs,ysc->yxc", weights, rows, optimize=True) + 0.5).astype(np.uint8)
    return small.reshape(*square.shape[:-3], size, size, 3)


@functools.cache
def _overlaps(side: int, size: int) -> NDArray[np.float32]:
    """(size, side): the share of each new pixel's width that each old pixel fills; rows sum to one."""
    edges = np.arange(size + 1) * (side / size)
    old = np.arange(side)
    shared = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.asarray(np.maximum(shared, 0) * (size / side), np.float32)
