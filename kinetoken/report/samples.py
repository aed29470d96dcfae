"""Clips to look at: originals beside reconstructions, the future foretold beside what came, clips made up.

Always the first test clips of each class in the order of the store, never chosen by how they turned out.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinetoken.charts.sprites import Card, sprite
from kinetoken.codes import CodesTable, Indices
from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import Clips, ClipStore, Pixels
from kinetoken.scenes.rendering import to_bytes
from kinetoken.scenes.tracking import Floats, track_ball

DIFFERENCE_GAIN = 4  # differences are shown this much stronger
NOISE = 0.03  # deviation from the background, of full scale, that a path does not show
FAINTEST = 0.1  # share of the ball's own colour at the path's beginning


class Decoder(Protocol):
    """A tokenizer: codes (N, T', H', W') → (N, T, H, W, 3) in [0, 1]."""

    def decode(self, indices: Any) -> Any: ...  # noqa: ANN401 - a tensor, named without importing torch


def first_rows(label: np.ndarray, split: np.ndarray, count: int) -> NDArray[np.intp]:
    """Ascending rows of the first `count` test clips of each class."""
    chosen = [np.flatnonzero((label == name) & (split == "test"))[:count] for name in sorted(set(label))]
    return np.sort(np.concatenate(chosen))


def first_clips(store: ClipStore, count: int) -> Clips:
    """The first `count` test clips of each class, by class."""
    clips = store.take(first_rows(store.label, store.split, count))
    order = np.argsort(clips.label, kind="stable")
    return Clips(clips.track_id[order], clips.label[order], clips.split[order], clips.pixels[order], clips.fps)


def codes_of(table: CodesTable, track_id: NDArray[np.int32]) -> Indices | None:
    """(N, T', H', W') codes of the tracks in their order; None if the table lacks one of them."""
    place = {int(track): row for row, track in enumerate(table.track_id)}
    rows = [place.get(int(track)) for track in track_id]
    return None if None in rows else table.codes[np.array(rows)]


def decode(tokenizer: Decoder, codes: Indices) -> Pixels:
    """(N, T', H', W') codes → (N, T, H, W, 3) uint8."""
    import torch

    with torch.no_grad():
        decoded = tokenizer.decode(torch.from_numpy(np.ascontiguousarray(codes, np.int64)))
    return np.asarray(decoded.clamp(0, 1).mul(255).add(0.5).byte().cpu().numpy())


def reconstruction_cards(clips: Clips, decoded: Pixels, background: Floats) -> list[Card]:
    """Original, reconstruction, their difference and the path, with the clip's PSNR."""
    cards = []
    for row, track in enumerate(clips.track_id):
        original, rebuilt = clips.pixels[row], decoded[row]
        apart = np.abs(original.astype(np.int16) - rebuilt)
        stronger = np.minimum(apart * DIFFERENCE_GAIN, 255).astype(np.uint8)
        path = trail(rebuilt, background)
        cards.append(Card(
            f"{clips.label[row]}, track {track}", f"{psnr_db(original, rebuilt):.1f} dB",
            [sprite(original, "original"), sprite(rebuilt, "decoded from codes", lossless=False),
             sprite(stronger, f"difference ×{DIFFERENCE_GAIN}", lossless=False),
             sprite(path, "path, from codes", lossless=False)],
        ))
    return cards


def prediction_cards(clips: Clips, decoded: Pixels, predicted: Pixels, past: int, background: Floats) -> list[Card]:
    """Original, its own codes decoded, and the prediction, whose first `past` frames were given.

    The prediction may end before the clip does.
    """
    cards = []
    for row, track in enumerate(clips.track_id):
        original, pixels = clips.pixels[row], predicted[row]
        off = apart_px(pixels[-1], original[len(pixels) - 1], background)
        cards.append(Card(
            f"{clips.label[row]}, track {track}", f"{off:.1f} px off in frame {len(pixels)}",
            [sprite(original, "original"), sprite(decoded[row], "decoded from codes", lossless=False),
             sprite(pixels, "predicted", past, lossless=False),
             sprite(trail(pixels, background), "path, predicted", lossless=False)],
        ))
    return cards


def furthest(clips: Clips, predicted: Pixels, background: Floats, count: int) -> NDArray[np.intp]:
    """Rows of the clips whose last predicted frame has the ball furthest from its place, the worst first."""
    last = predicted.shape[1] - 1
    off = [apart_px(predicted[row, last], clips.pixels[row, last], background) for row in range(len(predicted))]
    return np.argsort(-np.array(off), kind="stable")[:count]


def trail(pixels: Pixels, background: Floats) -> Pixels:
    """The whole path in one image, the past fading: (T, H, W, 3) uint8 → (1, H, W, 3) uint8."""
    canvas = background.copy()
    for place, frame in enumerate(pixels.astype(np.float32) / 255, 1):
        moved = np.clip((np.abs(frame - background).mean(-1, keepdims=True) - NOISE) / NOISE, 0, 1)  # (H, W, 1)
        shown = moved * (FAINTEST + (1 - FAINTEST) * place / len(pixels))
        canvas = canvas + shown * (frame - canvas)
    return to_bytes(canvas)[None]


def background_of(store: ClipStore, clips: Clips) -> Floats:
    """(H, W, 3) in [0, 1] of the scene, or the clips' median where they do not say how they were drawn."""
    try:
        return store.scene.background()
    except UserError:
        return np.asarray(np.median(clips.pixels, (0, 1)) / 255, np.float32)


def psnr_db(original: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of one clip in dB, at most 99."""
    error = float(np.mean(((original.astype(np.float64) - other) / 255) ** 2))
    return float(min(-10 * np.log10(max(error, 1e-12)), 99.0))


def apart_px(frame: Pixels, truth: Pixels, background: Floats) -> float:
    """Distance in pixels between the ball found in two frames (H, W, 3)."""
    both = np.asarray(np.stack([frame, truth]) / 255, np.float32)
    found = track_ball(both, background)
    return float(np.hypot(found.u[0] - found.u[1], found.v[0] - found.v[1]))
