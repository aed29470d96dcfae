"""Pixels looked for in a picture."""

from pathlib import Path

import numpy as np
from PIL import Image


def places_of(path: Path, tile: np.ndarray, within: float = 0.0) -> list[tuple[int, int]]:
    """(row, column) of every place of a picture that holds `tile` (H, W, 3) uint8, off by `within` at most (mean)."""
    with Image.open(path) as opened:
        sheet = np.asarray(opened.convert("RGB")).astype(int)
    height, width, _ = tile.shape
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (height, width), (0, 1))  # (R, C, 3, H, W)
    odd = np.abs(tile.astype(int) - np.median(tile, (0, 1)).astype(int)).sum(-1)  # the ball, not what lies around it
    probes = [np.unravel_index(place, odd.shape) for place in np.argsort(-odd, axis=None)[:12]]
    near = np.all([
        np.abs(windows[:, :, :, row, column] - tile[row, column]).max(-1) <= 4 * within for row, column in probes
    ], 0)
    return [
        (int(row), int(column)) for row, column in zip(*np.nonzero(near), strict=True)
        if np.abs(windows[row, column].transpose(1, 2, 0) - tile).mean() <= within
    ]
