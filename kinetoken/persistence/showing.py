"""Decisions as pictures: when they fall, at what cost, how well, and what attention looked at."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.charts.figures import figure_style, new_figure, save_png
from kinetoken.charts.strips import Group, draw_strips
from kinetoken.persistence.attention import token_weights
from kinetoken.persistence.experiment import ExtractorResult, Material
from kinetoken.persistence.extractors import CELL
from kinetoken.persistence.records import chosen
from kinetoken.persistence.tables import REFERENCE, compute_rows
from kinetoken.physics.laws import Array

if TYPE_CHECKING:
    import pandas as pd

Pixels = NDArray[np.uint8]

STRIP = 10  # frames shown of a clip
ENLARGED = 2
HEADS_SHOWN = 4  # clips whose heads are shown one by one
BRIGHT = 8.0  # times uniform attention, at which a cell is fully lit


def draw(
    outcomes: Mapping[str, ExtractorResult], material: Material, operating: "pd.DataFrame", shown: int,
    efficiency: Path, attention: Path,
) -> None:
    """The efficiency figure, and in folder `attention` a picture of `shown` clips for each extractor."""
    draw_efficiency(efficiency, outcomes, operating)
    attention.mkdir(parents=True, exist_ok=True)
    rows = chosen(material, shown)
    for name, outcome in outcomes.items():
        draw_attention(attention / f"{name}.png", outcome, material, rows)
        draw_heads(attention / f"{name}_heads.png", outcome, material, rows[:HEADS_SHOWN])


@figure_style()
def draw_efficiency(path: Path, outcomes: Mapping[str, ExtractorResult], operating: "pd.DataFrame") -> None:
    """Accuracy over frames watched, when decisions fall, and what share of a clip's compute they took."""
    figure = new_figure(figsize=(13, 3.8))
    axes = figure.subplots(1, 3)
    for place, name in enumerate([*outcomes, REFERENCE]):
        rows, colour = operating[operating["extractor"] == name], "0.45" if name == REFERENCE else f"C{place}"
        fixed, sure = (rows[rows["rule"] == rule].sort_values("frames") for rule in ("fixed time", "confidence"))
        axes[0].plot(fixed["frames"], fixed["accuracy"], ":", color=colour, lw=1.2, label=f"{name}, fixed times")
        if len(sure):
            axes[0].plot(sure["frames"], sure["accuracy"], "-", color=colour, lw=1.5, label=f"{name}, by confidence")
        own = rows[rows["rule"] == "thresholds"]
        label = f"{name}, decided" if len(own) else None
        axes[0].plot(own["frames"], own["accuracy"], "o", color=colour, ms=7, label=label)
    axes[0].set(xlabel="frames watched, mean", ylabel="accuracy", xlim=(0, 20), ylim=(0.48, 1.01))
    axes[0].legend(fontsize=7, loc="lower right")
    width = 0.8 / len(outcomes)
    costs = compute_rows({name: outcome.trial for name, outcome in outcomes.items()})
    for place, (name, outcome) in enumerate(outcomes.items()):
        frames, count = np.unique(outcome.trial.frames, return_counts=True)
        axes[1].bar(frames + (place - (len(outcomes) - 1) / 2) * width, count / count.sum(), width, label=name)
        share = np.sort(costs.loc[costs["extractor"] == name, "share"].to_numpy())
        axes[2].step(100 * share, np.arange(1, len(share) + 1) / len(share), where="post", label=name)
    axes[1].set(xlabel="frame of the decision", ylabel="share of tracks", xlim=(0, 20))
    axes[1].legend(fontsize=8)
    axes[2].set(xlabel="% of a whole clip's multiply-adds", ylabel="share of tracks decided by then", ylim=(0, 1.02))
    axes[2].legend(fontsize=8, loc="lower right")
    save_png(figure, path)


def draw_attention(path: Path, outcome: ExtractorResult, material: Material, rows: np.ndarray) -> None:
    """A row a clip: its first frames until the decision, lit where attention lies, heads averaged."""
    step = outcome.trial.decisions.step
    weights = token_weights(outcome.watched, step)[rows]  # (K, S, cells)
    strips = [
        _strip(pixels, each, int(step[row]), outcome)
        for pixels, each, row in zip(_pixels(material, rows), weights, rows, strict=True)
    ]
    title = "Frames up to the decision; orange: where attention lies, all heads"
    _draw(path, strips, [_label(outcome, material, int(row)) for row in rows], title)


@torch.no_grad()
def draw_heads(path: Path, outcome: ExtractorResult, material: Material, rows: np.ndarray) -> None:
    """The same of a few clips, a row a head."""
    network = outcome.detector.network
    device = next(network.parameters()).device
    evidence = network(material.kept(network.extractor, material.rows("test")[rows], device).to(device))
    strips, labels = [], []
    for place, (row, pixels) in enumerate(zip(rows, _pixels(material, rows), strict=True)):
        step = int(outcome.trial.decisions.step[row])
        for head in range(evidence.over_time.shape[1]):
            over_time = evidence.over_time[place, head, step].cpu().numpy()
            over_space = evidence.seen.attention[place, :, head].cpu().numpy()
            strips.append(_strip(pixels, over_time[:, None] * over_space, step, outcome))
            labels.append(f"{_label(outcome, material, int(row))}\nhead {head + 1}")
    _draw(path, strips, labels, "Frames up to the decision; orange: where attention lies, head by head")


def _label(outcome: ExtractorResult, material: Material, row: int) -> str:
    """What test clip `row` is, and what was decided of it."""
    kinds = ("transient", "persistent")
    truth = kinds[int(material.truth.persistent[material.rows("test")[row]])]
    decided = kinds[int(outcome.trial.decisions.persistent[row])]
    return f"true: {truth}\ndecided: {decided}\nafter {int(outcome.trial.frames[row])} frames"


def _pixels(material: Material, rows: np.ndarray) -> Pixels:
    order = np.argsort(rows)
    clips = material.dataset.split("test").take(rows[order]).read_clips().pixels
    return clips[np.argsort(order)]


def _strip(pixels: Pixels, weights: Array, step: int, outcome: ExtractorResult) -> Pixels:
    """The frames until step `step`, STRIP at most, (F, side, side, 3): grey, lit in orange by weights (S, cells)."""
    stride, side = outcome.detector.network.stride, outcome.detector.network.extractor.side
    times_uniform = weights * (step + 1) * side * side
    size = pixels.shape[1] * ENLARGED
    tiles = np.empty((min(STRIP, (step + 1) * stride), size, size, 3), np.uint8)
    for frame, tile in enumerate(tiles):
        light = np.clip(times_uniform[frame // stride].reshape(side, side) / BRIGHT, 0, 1)
        light = light.repeat(CELL * ENLARGED, 0).repeat(CELL * ENLARGED, 1)[..., None]
        grey = pixels[frame].repeat(ENLARGED, 0).repeat(ENLARGED, 1).mean(-1, keepdims=True)
        tile[:] = np.clip(grey * (1 - 0.45 * light) + np.array([255.0, 140.0, 20.0]) * 0.45 * light, 0, 255)
    return tiles


def _draw(path: Path, strips: list[Pixels], labels: list[str], title: str) -> None:
    group = Group("", STRIP, [f"frame {frame}" for frame in range(STRIP)])
    draw_strips(path, strips, labels, [group], enlarged=1, title=title)
