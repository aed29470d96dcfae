"""What clips really show: where the ball is in every frame, which pixels are its own, and what is behind it.

Of clips whose tracks are known it is the projected true position. Of a user's videos it is the middle of what moves,
found in the pixels.
"""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinetoken.dataset import Split
from kinetoken.footage.motion import moving_pixels, picture_behind, track_moving
from kinetoken.scenes.paths import Array, scene_path, to_path_coordinates
from kinetoken.scenes.rendering import MASK_COVERAGE, Scene, ball_coverage
from kinetoken.training.loop import index_batches

Pixels = NDArray[np.uint8]

BATCH = 64  # clips


@dataclasses.dataclass
class Truth:
    """What really happened next, for N clips of one split; H frames ahead of the past, T frames in all."""

    label: np.ndarray
    frames: Pixels  # (N, H, H', W', 3)
    u: Array  # (N, T) px, from the first frame of the clip to the last of those frames
    v: Array
    mask: NDArray[np.bool_]  # (N, H, H', W'), the pixels of the ball or of what moves
    background: NDArray[np.float32]  # (H', W', 3) of all clips, or (N, 1, H', W', 3) of each its own; in [0, 1]
    past_frames: int

    @classmethod
    def of_tracks(cls, label: np.ndarray, frames: Pixels, points: Array, scene: Scene, past_frames: int) -> "Truth":
        """frames (N, H, H', W', 3) after the past, and true positions (N, past + H, 3) m of the whole clips."""
        u, v, _ = scene.camera.project(points)
        mask = [ball_coverage(scene, points[rows, past_frames:]) > MASK_COVERAGE
                for rows in index_batches(len(points), BATCH)]
        return cls(label, frames, u, v, np.concatenate(mask), scene.background(), past_frames)

    @classmethod
    def of_pixels(cls, label: np.ndarray, clips: Pixels, past_frames: int) -> "Truth":
        """Whole clips (N, T, H', W', 3) of which no positions are known."""
        parts = []
        for rows in index_batches(len(clips), BATCH):
            pixels = clips[rows]
            frames = _floats(pixels)
            still = picture_behind(frames, None)
            found = track_moving(frames, still)
            parts.append((found.u, found.v, moving_pixels(pixels[:, past_frames:], still[:, 0]), still))
        u, v, mask, background = (np.concatenate(each) for each in zip(*parts, strict=True))
        return cls(label, clips[:, past_frames:], u, v, mask, background, past_frames)

    @classmethod
    def of(cls, split: Split, past_frames: int, last: int) -> "Truth":
        """Of the clips of a split, up to frame `last` (without it)."""
        clips = split.read_clips().pixels[:, :last]
        if not split.dataset.tracked:
            return cls.of_pixels(split.label, clips, past_frames)
        points = split.points[:, :last]
        return cls.of_tracks(split.label, clips[:, past_frames:], points, split.dataset.scene, past_frames)

    @property
    def shared_background(self) -> NDArray[np.float32] | None:
        """(H', W', 3), if it is the same behind all clips."""
        return self.background if self.background.ndim == 3 else None

    def behind(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The background of these clips: (H', W', 3) or (n, 1, H', W', 3)."""
        return self.background if self.background.ndim == 3 else self.background[rows]

    def of_frames(self, first: int, last: int) -> "Truth":
        """What happened in the frames ahead `first` to `last` (from 0, without the last), after all before them."""
        end = self.past_frames + last
        return dataclasses.replace(
            self, frames=self.frames[:, first:last], u=self.u[:, :end], v=self.v[:, :end],
            mask=self.mask[:, first:last], past_frames=self.past_frames + first,
        )


def true_paths(split: Split) -> Tensor:
    """Path coordinates (N, T, 3) of the clips of a split: of true positions, or of what moves."""
    if split.dataset.tracked:
        return scene_path(split.dataset.scene, split.points)
    clips, parts = split.read_clips().pixels, []
    for rows in index_batches(len(clips), BATCH):
        found = track_moving(_floats(clips[rows]), None)
        parts.append(to_path_coordinates(found.u, found.v, found.radius, clips.shape[-2]))
    return torch.cat(parts)


def _floats(pixels: Pixels) -> NDArray[np.float32]:
    return np.asarray(pixels / np.float32(255), np.float32)
