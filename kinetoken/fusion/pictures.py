"""Where attention looks, laid on the frames; which patches are neighbours, drawn on one.

Weights are shown as multiples of even attention, which is 1 everywhere.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from kinetoken.fusion.gasm_cast import Attended
from kinetoken.fusion.levels import LEVELS
from kinetoken.fusion.precision import Inference
from kinetoken.fusion.sizes import TokenSizes, grid_places
from kinetoken.fusion.system import GasmCastSystem
from kinetoken.report.figures import figure_style, new_figure, save_png

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

STRIP = 8  # frames shown of a clip
EDGES = 2  # drawn from each patch, the strongest
NEAR, ALIKE = "#ffd23f", "#35c9ff"  # colours of edges to neighbours in the picture, and to those that only look alike


@dataclasses.dataclass(frozen=True)
class Looks:
    """What the network looked at in N clips; of each, maps on the grids, all as multiples of even attention."""

    titles: list[str]
    frames: Pixels  # (N, T, H, W, 3) those of the semantic stream
    onto_patches: Array | None  # (N, T, rows, columns) where motion tokens look in the frames of their own segment
    onto_cells: Array | None  # (N, S, rows, columns) where semantic tokens look in the motion of their own segment
    frame_to_segment: Array | None  # (N, T, S) which segments the patches of a frame look at, in the whole clip
    segment_to_frame: Array | None  # (N, S, T) the reverse
    patch_edges: Array | None  # (N, T, P, P) graph weights, rows sum to 1
    segment_edges: Array | None  # (N, S, S) the same, mean over cells


@torch.no_grad()
def look(system: GasmCastSystem, pixels: Tensor, titles: list[str], inference: Inference) -> Looks:
    """What is attended to in clips (N, T, H, W, 3) uint8."""
    system.eval().to(inference.device)
    semantic, motion = system.tokens(pixels.to(inference.device))
    attended = system.fusion.attend(semantic, motion)
    sizes = system.fusion.sizes
    chosen = pixels if system.semantic is None else pixels[:, list(system.semantic.chosen)]
    patches = attended.patch_edges[0].double().mean(2).cpu().numpy() if attended.patch_edges else None
    if patches is not None and not system.fusion.variant.ordered:
        chosen = chosen[:, :1]  # an average of frames has one graph
    segments = attended.segment_edges[0].double().mean((1, 2)).cpu().numpy() if attended.segment_edges else None
    inside = _inside_segments(attended, sizes) if attended.motion_to_semantic else (None, None)
    across = _across_clip(attended, sizes) if len(attended.motion_to_semantic) > 1 else (None, None)
    return Looks(
        titles, chosen.numpy(), onto_patches=inside[0], onto_cells=inside[1], frame_to_segment=across[0],
        segment_to_frame=across[1], patch_edges=patches, segment_edges=segments,
    )


def _inside_segments(attended: Attended, sizes: TokenSizes) -> tuple[Array, Array]:
    """Of the level "segment": maps (N, T, rows, columns) on patches and (N, S, rows, columns) on cells."""
    assert next(iter(LEVELS)) == "segment"
    per = sizes.frames // sizes.segments
    on_patches = attended.semantic_to_motion[0].double().mean((2, 3)).cpu()  # (N, S, per · P)
    on_cells = attended.motion_to_semantic[0].double().mean((2, 3)).cpu()  # (N, S, M)
    rows, columns = sizes.semantic_grid
    patches = rearrange(on_patches, "n s (f h w) -> n (s f) h w", f=per, h=rows, w=columns) * per * sizes.patches
    cells = rearrange(on_cells, "n s (h w) -> n s h w", h=sizes.motion_grid[0]) * sizes.cells
    return patches.numpy(), cells.numpy()


def _across_clip(attended: Attended, sizes: TokenSizes) -> tuple[Array, Array]:
    """Of the level "pattern", whose tokens are steps × cells: (N, T, S) and (N, S, T)."""
    made = []
    for weights, asking, asked in (
        (attended.motion_to_semantic[1], sizes.frames, sizes.segments),
        (attended.semantic_to_motion[1], sizes.segments, sizes.frames),
    ):
        whole = weights.double().mean(2)[:, 0].cpu()  # (N, steps · cells, steps · cells)
        by_step = rearrange(whole, "n (q a) (k b) -> n q a k b", q=asking, k=asked).sum(-1).mean(2)
        made.append((by_step * asked).numpy())
    return made[0], made[1]


@figure_style()
def draw_attention(path: Path, looks: Looks) -> None:
    """Of each clip its frames; where motion looks in them; where they look in motion; and when, as two matrices."""
    if looks.onto_patches is None or looks.onto_cells is None:
        _say(path, "this variant has no cross-attention")
        return
    shown = np.array(_evenly(looks.frames.shape[1], STRIP))
    segments = shown * looks.onto_cells.shape[1] // looks.frames.shape[1]
    clips = len(looks.titles)
    figure = new_figure(figsize=(13, 3.6 * clips + 0.5))
    figure.suptitle("Where and when the streams look at one another: 1 is even attention", fontsize=11)
    for clip, part in enumerate(np.atleast_1d(np.asarray(figure.subfigures(clips, 1)))):
        part.suptitle(looks.titles[clip], fontsize=10)
        grid = part.add_gridspec(2, 2, width_ratios=(5.2, 1))
        axis = part.add_subplot(grid[:, 0])
        strips = {
            "frames": None,
            "where motion looks\nin the frames": looks.onto_patches[clip, shown],
            "where frames look\nin motion": looks.onto_cells[clip, segments],
        }
        drawn = _strips(axis, looks.frames[clip, shown], strips)
        part.colorbar(drawn, ax=axis, fraction=0.02, pad=0.01, shrink=0.8).ax.tick_params(labelsize=6)
        _matrices(part, grid, looks, clip)
    save_png(figure, path)


def _strips(axis: Any, frames: Pixels, strips: dict[str, Array | None]) -> Any:  # noqa: ANN401 - matplotlib's
    """The frames (n, H, W, 3) side by side once a strip, and the strip's maps (n, rows, columns) laid over them."""
    gap = max(frames.shape[1] // 16, 1)
    strip, over = _beside(frames, gap, 255), []
    for maps in strips.values():
        if maps is None:
            over.append(np.full(strip.shape[:2], np.nan))
            continue
        rows = np.arange(frames.shape[1]) * maps.shape[1] // frames.shape[1]
        columns = np.arange(frames.shape[2]) * maps.shape[2] // frames.shape[2]
        over.append(_beside(maps[:, rows][:, :, columns], gap, np.nan))
    _picture(axis, np.concatenate([strip] * len(strips)))
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    axis.set_yticks([(row + 0.5) * len(strip) for row in range(len(strips))], list(strips), fontsize=8)
    axis.tick_params(length=0)
    most = max(float(np.nanmax(np.concatenate(over))), 2.0)
    return axis.imshow(np.concatenate(over), cmap="inferno", alpha=0.6, vmin=0, vmax=most)


def _beside(tiles: Any, gap: int, filling: float) -> Any:  # noqa: ANN401 - of pixels or of weights
    """Tiles (n, H, W, …) in one row, with a gap below and to the right of each."""
    around = ((0, 0), (0, gap), (0, gap), *[(0, 0)] * (tiles.ndim - 3))
    return np.concatenate(np.pad(tiles, around, constant_values=filling), 1)


def _matrices(part: Any, grid: Any, looks: Looks, clip: int) -> None:  # noqa: ANN401 - matplotlib's
    """When: which steps of the other stream each step looks at."""
    if looks.frame_to_segment is None or looks.segment_to_frame is None:
        return
    spans = ((grid[0, 1], looks.frame_to_segment, "frame", "segment"),
             (grid[1, 1], looks.segment_to_frame, "segment", "frame"))
    for place, weights, asking, asked in spans:
        axis = part.add_subplot(place)
        _matrix(part, axis, weights[clip])
        axis.set_xlabel(f"{asked} looked at", fontsize=7)
        axis.set_ylabel(f"{asking} that looks", fontsize=7)


def _matrix(part: Any, axis: Any, weights: Array) -> None:  # noqa: ANN401 - matplotlib's
    """Weights (asking, asked), both numbered from 1."""
    high, wide = weights.shape
    drawn = axis.imshow(weights, vmin=0, extent=(0.5, wide + 0.5, high + 0.5, 0.5))
    axis.set_xticks(range(1, wide + 1, max(wide // 4, 1)))
    axis.set_yticks(range(1, high + 1, max(high // 4, 1)))
    axis.tick_params(labelsize=6)
    axis.grid(visible=False)
    part.colorbar(drawn, ax=axis, fraction=0.05).ax.tick_params(labelsize=6)


@figure_style()
def draw_graph(path: Path, looks: Looks) -> None:
    """Of each clip three frames with the strongest edges of every patch, and which segments attend to which."""
    from matplotlib.lines import Line2D

    if looks.patch_edges is None and looks.segment_edges is None:
        _say(path, "this variant has no graph")
        return
    shown = _evenly(looks.frames.shape[1], 3)
    figure = new_figure(figsize=(2.7 * (len(shown) + 1), 3.0 * len(looks.titles) + 0.4))
    for clip, part in enumerate(np.atleast_1d(np.asarray(figure.subfigures(len(looks.titles), 1)))):
        part.suptitle(looks.titles[clip], fontsize=10)
        axes = part.subplots(1, len(shown) + 1)
        for axis, frame in zip(axes, shown, strict=False):
            _picture(axis, looks.frames[clip, frame])
            if looks.patch_edges is not None:
                _edges(axis, looks.patch_edges[clip, frame], looks.frames.shape[2])
            axis.set_xlabel(f"frame {frame + 1}", fontsize=8)
        if looks.segment_edges is None:
            axes[-1].axis("off")
            continue
        _matrix(part, axes[-1], looks.segment_edges[clip] * len(looks.segment_edges[clip]))
        axes[-1].set_xlabel("segment looked at over time, 1 is even", fontsize=8)
        axes[-1].set_ylabel("segment that looks", fontsize=8)
    figure.legend(
        handles=[Line2D([], [], color=NEAR, label=f"to a near patch, the {EDGES} strongest edges of each"),
                 Line2D([], [], color=ALIKE, label="to a patch farther off that looks alike")],
        loc="outside lower center", ncols=2, fontsize=8,
    )
    save_png(figure, path)


def _edges(axis: Any, weights: Array, side: int) -> None:  # noqa: ANN401 - matplotlib's
    """The EDGES strongest edges of each patch but that to itself, wider for more weight. weights (P, P)."""
    patches = len(weights)
    rows = round(patches**0.5)
    where = grid_places((rows, patches // rows)) * side - 0.5  # y, x
    others = weights * (1 - np.eye(patches))
    near = 1.5 * side / rows
    for one in range(patches):
        for two in np.argsort(-others[one], kind="stable")[: min(EDGES, patches - 1)]:
            far = float(np.linalg.norm(where[one] - where[two])) > near
            wide = min(0.5 + 3 * float(others[one, two]), 2.5)
            axis.annotate(
                "", xy=where[two][::-1], xytext=where[one][::-1],
                arrowprops={
                    "arrowstyle": "->", "color": ALIKE if far else NEAR, "shrinkA": 2, "shrinkB": 2, "lw": wide,
                    "alpha": 0.85, "connectionstyle": f"arc3,rad={0.2 if far else 0.08}",
                },
            )
    axis.plot(where[:, 1], where[:, 0], ".", color="white", markersize=3)


def _picture(axis: Any, frame: Pixels) -> None:  # noqa: ANN401 - matplotlib's
    axis.imshow(frame)
    axis.grid(visible=False)
    axis.set_xticks([])
    axis.set_yticks([])


def _evenly(count: int, shown: int) -> list[int]:
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(shown, count)).round())]


def _say(path: Path, words: str) -> None:
    figure = new_figure(figsize=(4, 1))
    axis = figure.subplots()
    axis.text(0.5, 0.5, words, ha="center", va="center")
    axis.axis("off")
    save_png(figure, path)
