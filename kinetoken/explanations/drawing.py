"""A clip of each class beside its attributions, as one picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinetoken.charts.strips import Group, Pixels, draw_strips
from kinetoken.explanations.explaining import ExplainedClips
from kinetoken.scenes.clips import ClipStore

Array = NDArray[np.float64]

MOST = 8  # clips shown
FOR, AGAINST = np.array([214.0, 64.0, 24.0]), np.array([36.0, 96.0, 200.0])  # orange-red and blue
OUTLINE = np.array([20, 20, 20], np.uint8)
SIDE = 128  # px of a frame in the picture, about


def draw_attribution(path: Path, found: ExplainedClips, store: ClipStore) -> None:
    """A row a class, its first clip that was classified correctly: the mean of each time slice's frames, and the
    attributions of its tokens. Tokens that meet the ball have an outline where it is known.
    """
    shown = shown_clips(found)
    ids = store.track_id
    rows = [int(np.flatnonzero(ids == found.codes.track_id[place])[0]) for place in shown]
    order = np.argsort(rows)
    clips = store.take(np.array(rows)[order]).pixels[np.argsort(order)]
    slices = found.attribution.shape[1]
    strips = []
    for place, pixels in zip(shown, clips, strict=True):
        frames = slice_means(pixels, slices)
        ball = np.zeros(found.attribution.shape[1:], bool) if found.ball is None else found.ball[place]
        strips.append(np.concatenate([frames, heat(frames, found.attribution[place], ball)]))
    labels = [
        f"{found.codes.label[place]}\npredicted:\n{found.classes[found.chosen[place]]}" for place in shown
    ]
    frames_each = clips.shape[1] // slices
    captions = [f"frames {n * frames_each} to {(n + 1) * frames_each - 1}" for n in range(slices)]
    tokens = "" if found.ball is None else "; outlined: tokens that meet the ball"
    groups = [
        Group("the clip, mean of the frames of each time slice", slices, captions),
        Group(f"attributions; red: for the predicted class, blue: against{tokens}", slices, captions),
    ]
    draw_strips(path, strips, labels, groups, enlarged=1, colours=256)


def shown_clips(found: ExplainedClips) -> list[int]:
    """Places of the first clip of each class that was classified correctly, else of its first."""
    places = []
    for number, name in enumerate(found.classes[:MOST]):
        of_class = np.flatnonzero(found.codes.label == name)
        right = of_class[found.chosen[of_class] == number]
        places.append(int(right[0] if len(right) else of_class[0]))
    return places


def slice_means(pixels: Pixels, slices: int) -> Pixels:
    """A picture a time slice, the mean of its frames, enlarged: pixels (T, H, W, 3) → (T', h, w, 3)."""
    means = pixels.reshape(slices, -1, *pixels.shape[1:]).mean(1).round().astype(np.uint8)
    times = max(SIDE // max(pixels.shape[1:3]), 1)
    return np.asarray(means.repeat(times, 1).repeat(times, 2))


def heat(frames: Pixels, attribution: Array, ball: NDArray[np.bool_]) -> Pixels:
    """Frames (T', h, w, 3) in pale grey under the attributions (T', H', W'), relative to the clip's largest."""
    height, width = frames.shape[1:3]
    peak = max(float(np.abs(attribution).max()), 1e-12)
    rows = np.arange(height) * attribution.shape[1] // height
    columns = np.arange(width) * attribution.shape[2] // width
    cells = attribution[:, rows][:, :, columns][..., None] / peak  # (T', h, w, 1)
    grey = 255 - 0.3 * (255 - frames.mean(-1, keepdims=True))
    strength = 0.9 * np.abs(cells) ** 0.8
    shown = (grey * (1 - strength) + np.where(cells > 0, FOR, AGAINST) * strength).round().astype(np.uint8)
    shown[_edges(ball[:, rows][:, :, columns])] = OUTLINE
    return np.asarray(shown)


def _edges(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outermost pixels of the masked parts of pictures (T', h, w)."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)))
    core = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return np.asarray(inside & ~core)
