"""A contact sheet: one clip of each class, a few of its frames in a row, the two classes of a pair together."""

import json
from pathlib import Path

import numpy as np

from kinetoken.actions.classes import PAIRS
from kinetoken.actions.layout import VIDEOS
from kinetoken.charts.figures import figure_style, new_figure, save_png
from kinetoken.footage.webm import Pixels, probe, read_frames

FRAMES = 8
SCALE = 1.0 / 110  # inches a pixel
GAP = 3  # pixels between frames
TEXT = 300  # pixels for the labels


@figure_style()
def draw_sheet(folder: Path, path: Path) -> None:
    """The first training clip of each class that there is, decoded from the files of `folder`."""
    rows = json.loads((folder / "labels" / "train.json").read_text(encoding="utf-8"))
    first = {row["template"]: row for row in reversed(rows)}
    shown = [(first.get(action.template), action.backward) for pair in PAIRS for action in pair]
    strips = [(row["label"], strip(folder, row["id"]), backward) for row, backward in shown if row is not None]
    height, width = strips[0][1].shape[:2]
    tall = sum(height + (3 * GAP if backward else GAP) for _, _, backward in strips)
    figure = new_figure(figsize=((TEXT + width) * SCALE, tall * SCALE), layout="none")
    top = 0
    for label, pixels, backward in strips:
        left = TEXT / (TEXT + width)
        axes = figure.add_axes((left, 1 - (top + height) / tall, 1 - left, height / tall))
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        words = label.replace(" closer", "\ncloser").replace(" away from each", "\naway from each")
        words = words.replace(" behind", "\nbehind")
        figure.text(0.01, 1 - (top + height / 2) / tall, words, va="center", fontsize=8)
        top += height + (3 * GAP if backward else GAP)
    save_png(figure, path)


def strip(folder: Path, clip: str) -> Pixels:
    """A few frames of a clip side by side on white, (H, FRAMES · W, 3); fewer if the clip has fewer."""
    path = folder / VIDEOS / f"{clip}.webm"
    count = probe(path).frames
    frames = read_frames(path, np.linspace(0, count - 1, min(FRAMES, count)).round().astype(np.int64))
    blank = np.full((FRAMES, *frames.shape[1:]), 255, np.uint8)
    blank[: len(frames)] = frames
    padded = np.pad(blank, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)
