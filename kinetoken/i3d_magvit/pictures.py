"""Forecasts for people: drawn on the frames, and as paths in space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinetoken.charts.figures import figure_style, new_figure, save_png
from kinetoken.charts.strips import Group, draw_strips

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

ENLARGED = 3
TRUE, PREDICTED = (60, 220, 90), (255, 70, 60)  # colours of the crosses


def draw_frames(
    path: Path, labels: Sequence[str], past: Pixels, truth: Pixels, predicted: Pixels, true_place: Array,
    predicted_place: Array,
) -> None:
    """A row a clip: the last frame seen, the true frames to come, the predicted ones; crosses where the ball is.

    past (N, H, W, 3), truth and predicted (N, F, H, W, 3); places (N, F, 2) u, v px. Green is true, red predicted.
    """
    rows = []
    for clip in range(len(past)):
        tiles = [_enlarged(past[clip])]
        for frames in (truth, predicted):
            for step, frame in enumerate(frames[clip]):
                tile = _enlarged(frame)
                _cross(tile, true_place[clip, step], TRUE)
                _cross(tile, predicted_place[clip, step], PREDICTED)
                tiles.append(tile)
        rows.append(np.stack(tiles))
    ahead = [f"{step + 1} ahead" for step in range(truth.shape[1])]
    groups = [
        Group("last frame seen", 1), Group("true future", len(ahead), ahead),
        Group("predicted future", len(ahead), ahead),
    ]
    title = "Crosses mark the ball's place: green the true one, red the predicted one."
    draw_strips(path, rows, labels, groups, enlarged=1, title=title)


def _enlarged(frame: Pixels) -> Pixels:
    return np.ascontiguousarray(frame.repeat(ENLARGED, 0).repeat(ENLARGED, 1))


def _cross(tile: Pixels, place: Array, colour: tuple[int, int, int]) -> None:
    size = len(tile)
    u, v = (int(np.clip(ENLARGED * (each + 0.5), 4, size - 5)) for each in place)
    tile[v, u - 4 : u + 5] = colour
    tile[v - 4 : v + 5, u] = colour


@figure_style()
def draw_paths(path: Path, titles: list[str], points: Array, read: Array, ahead: Array) -> None:
    """A panel a clip, in metres: points (N, T, 3) true, read (N, P, 3) from the past, ahead (N, F, 3) predicted."""
    columns = min(4, len(titles))
    rows = -(-len(titles) // columns)
    figure = new_figure(figsize=(3.4 * columns, 3.4 * rows))
    for index, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, index + 1, projection="3d")
        past = read.shape[1]
        for line, style, name in (
            (points[index], {"color": "0.7", "lw": 3}, "true path"),
            (read[index], {"color": "#1f77b4", "marker": "o", "ms": 2.5, "lw": 1}, "read from the frames seen"),
            (np.concatenate([read[index, -1:], ahead[index]]), {"color": "#d62728", "marker": "o", "ms": 2.5, "lw": 1},
             "predicted"),
            (points[index, past:], {"color": "#2ca02c", "marker": "x", "ms": 4, "lw": 0}, "true future"),
        ):
            x, y, z = line.T
            axes.plot(x, z, y, label=name, **style)
        _equal(axes, points[index])
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=6)
        axes.set_box_aspect(None, zoom=0.85)  # room for the labels
    figure.axes[0].legend(fontsize=6, loc="upper left")
    save_png(figure, path)


def _equal(axes: object, points: Array) -> None:
    """One scale for all three axes; drawn x right, z (depth) into the page, y up."""
    middle, reach = (points.max(0) + points.min(0)) / 2, max(float(np.ptp(points, axis=0).max()) / 2, 0.05) * 1.1
    for axis, index in (("x", 0), ("y", 2), ("z", 1)):
        getattr(axes, f"set_{axis}lim")(middle[index] - reach, middle[index] + reach)
        getattr(axes, f"set_{axis}label")("xzy"["xyz".index(axis)] + ", m", fontsize=7)
