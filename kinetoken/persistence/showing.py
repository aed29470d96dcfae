"""Decisions for people: when they fall, at what cost, how well; what attention looked at; what each rested on."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.artifacts import write_csv
from kinetoken.laws import Array
from kinetoken.persistence.attention import token_weights
from kinetoken.persistence.experiment import Material, Outcome
from kinetoken.persistence.extractors import CELL
from kinetoken.persistence.reasons import reason_of, sentence
from kinetoken.persistence.tables import REFERENCE, compute_rows
from kinetoken.report.figures import figure_style, new_figure, save_png

if TYPE_CHECKING:
    import pandas as pd

Pixels = NDArray[np.uint8]

STRIP = 10  # frames shown of a clip
ENLARGED = 2
HEADS_SHOWN = 4  # clips whose heads are shown one by one
BRIGHT = 8.0  # times uniform attention, at which a cell is fully lit
REASONS = 40  # decisions told of each extractor, evenly over the test tracks
WRONG = 6  # and of its wrong ones the first so many, which may be among them


def draw(
    outcomes: Mapping[str, Outcome], material: Material, operating: "pd.DataFrame", shown: int, efficiency: Path,
    attention: Path,
) -> None:
    """The efficiency figure, and in folder `attention` a picture of `shown` clips for each extractor."""
    draw_efficiency(efficiency, outcomes, operating)
    attention.mkdir(parents=True, exist_ok=True)
    rows = chosen(material, shown)
    for name, outcome in outcomes.items():
        draw_attention(attention / f"{name}.png", outcome, material, rows)
        draw_heads(attention / f"{name}_heads.png", outcome, material, rows[:HEADS_SHOWN])


def chosen(material: Material, shown: int) -> np.ndarray:
    """Places among the test tracks, evenly over them, persistent and transient in turn."""
    persistent = material.truth.persistent[material.rows("test")]
    kinds = [np.flatnonzero(persistent == kind) for kind in (True, False)]
    each = [rows[np.linspace(0, len(rows) - 1, min((shown + 1) // 2, len(rows))).astype(int)] for rows in kinds]
    both = [row for pair in zip(*each, strict=False) for row in pair]
    return np.array(both[:shown], np.int64)


@figure_style()
def draw_efficiency(path: Path, outcomes: Mapping[str, Outcome], operating: "pd.DataFrame") -> None:
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


def draw_attention(path: Path, outcome: Outcome, material: Material, rows: np.ndarray) -> None:
    """A row a clip: its first frames until the decision, lit where attention lies, heads averaged."""
    step = outcome.trial.decisions.step
    weights = token_weights(outcome.watched, step)[rows]  # (K, S, cells)
    _save_strips(path, [
        _strip(pixels, each, int(step[row]), outcome)
        for pixels, each, row in zip(_pixels(material, rows), weights, rows, strict=True)
    ])


@torch.no_grad()
def draw_heads(path: Path, outcome: Outcome, material: Material, rows: np.ndarray) -> None:
    """The same of a few clips, a row a head."""
    network = outcome.detector.network
    device = next(network.parameters()).device
    evidence = network(material.kept(network.extractor, material.rows("test")[rows], device).to(device))
    strips = []
    for place, (row, pixels) in enumerate(zip(rows, _pixels(material, rows), strict=True)):
        step = int(outcome.trial.decisions.step[row])
        for head in range(evidence.over_time.shape[1]):
            over_time = evidence.over_time[place, head, step].cpu().numpy()
            over_space = evidence.seen.attention[place, :, head].cpu().numpy()
            strips.append(_strip(pixels, over_time[:, None] * over_space, step, outcome))
    _save_strips(path, strips)


def _pixels(material: Material, rows: np.ndarray) -> Pixels:
    order = np.argsort(rows)
    clips = material.store.take(material.rows("test")[rows[order]]).pixels
    return clips[np.argsort(order)]


def _strip(pixels: Pixels, weights: Array, step: int, outcome: Outcome) -> Pixels:
    """Frames side by side, (side, STRIP side, 3): grey, lit in orange by weights (S, cells), until step `step`."""
    stride, side = outcome.detector.network.stride, outcome.detector.network.extractor.side
    times_uniform = weights * (step + 1) * side * side
    size = pixels.shape[1] * ENLARGED
    tiles = np.full((STRIP, size, size, 3), 255, np.uint8)
    for frame in range(min(STRIP, (step + 1) * stride)):
        light = np.clip(times_uniform[frame // stride].reshape(side, side) / BRIGHT, 0, 1)
        light = light.repeat(CELL * ENLARGED, 0).repeat(CELL * ENLARGED, 1)[..., None]
        grey = pixels[frame].repeat(ENLARGED, 0).repeat(ENLARGED, 1).mean(-1, keepdims=True)
        tiles[frame] = np.clip(grey * (1 - 0.45 * light) + np.array([255.0, 140.0, 20.0]) * 0.45 * light, 0, 255)
        tiles[frame, :, -1] = 255
    return np.concatenate(list(tiles), 1)


def _save_strips(path: Path, strips: list[Pixels]) -> None:
    from PIL import Image

    gap = np.full((3, strips[0].shape[1], 3), 255, np.uint8)
    Image.fromarray(np.concatenate([part for strip in strips for part in (strip, gap)])).save(path, optimize=True)


def told(outcomes: Mapping[str, Outcome], material: Material, shown: int, ratios: Path, reasons: Path) -> None:
    """Attention on every test track's candidate as CSV, and what a few decisions rested on as JSON lines."""
    import pandas as pd

    test = material.rows("test")
    kind = material.store.label[test]
    write_csv(ratios, pd.concat([
        pd.DataFrame({
            "extractor": name, "kind": kind, "attention": outcome.attention, "uniform": 1.0,
        }).dropna()
        for name, outcome in outcomes.items()
    ], ignore_index=True))
    rows = chosen(material, max(shown, REASONS))
    with reasons.open("w", encoding="utf-8") as sink:
        for name, outcome in outcomes.items():
            wrong = np.flatnonzero(outcome.trial.decisions.persistent != material.truth.persistent[test])[:WRONG]
            for row in [*rows, *np.setdiff1d(wrong, rows)]:
                record = reason(name, outcome, int(row), int(material.store.track_id[test[row]]))
                sink.write(json.dumps(record | {"actual": str(kind[row])}, sort_keys=True) + "\n")


def reason(name: str, outcome: Outcome, row: int, track_id: int) -> dict[str, Any]:
    """The record of one test decision, and its sentence."""
    decided, trial = outcome.trial.decisions, outcome.trial
    step, frames = int(decided.step[row]), int(trial.frames[row])
    ratio = outcome.attention[row]
    found = reason_of(
        track_id, name, bool(decided.persistent[row]), float(decided.confidence[row]), frames,
        outcome.watched.place[row, :frames], outcome.watched.presence[row, :frames], trial.log_odds[row, : step + 1],
        float(ratio) if np.isfinite(ratio) else 0.0,
    )
    return dataclasses.asdict(found) | {"sentence": sentence(found)}
