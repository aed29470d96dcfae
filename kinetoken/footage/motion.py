"""What moves in clips of which nobody knows how they were made: what differs from the clip's own still picture."""

import numpy as np
from numpy.typing import NDArray

from kinetoken.scenes.clips import Pixels

MOVING = 0.1  # grey difference from the still picture, in [0, 1], from which a pixel counts as moving


def still_pictures(clips: Pixels) -> NDArray[np.float32]:
    """(N, T, H, W, 3) uint8 → (N, H, W, 3) in [0, 1]: each clip's median over time."""
    return np.asarray(np.median(clips, axis=1) / 255, np.float32)


def moving_pixels(clips: Pixels, still: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, T, H, W): where clips (N, T, H, W, 3) uint8 differ from the still picture, (H, W, 3) or one a clip."""
    behind = still[:, None] if still.ndim == 4 else still
    return np.asarray(np.abs(clips / np.float32(255) - behind).mean(-1) > MOVING)
