"""GASM-CAST: graph attention inside each stream, cross-attention between them from simple to complex, and a head.

    semantic tokens (B, T, P, C)  ─ graph over the patches of a frame ────────┐
                                                   cross-attention × layers ─ head ─ logits (B, classes)
    motion tokens (B, S, M, D)    ─ graph over the segments at each cell ─────┘

Frames and segments keep their order and their number all the way to the head, and channels stay channels. All that
attention adds starts at zero, so the untrained network hands both streams to the head as they came.
At full size (see FULL_SIZE) the three layers cost 1.94 GMACs a clip with a bottleneck of 256, against 5.50 at native
width.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.attention import Kept
from kinetoken.gasm_cast.cross_attention import CrossAttention
from kinetoken.gasm_cast.graph_attention import GraphAttention
from kinetoken.gasm_cast.head import FusionHead, StreamReader
from kinetoken.gasm_cast.levels import LEVELS, Grain
from kinetoken.gasm_cast.sizes import Places, TokenSizes, grid_places, step_times
from kinetoken.gasm_cast.variants import VARIANTS, FusionParams, Stream

Streams = dict[Stream, Tensor]


class TokenPlaces(NamedTuple):
    """Where the tokens of a frame and of a segment lie: (P, 2) and (M, 2), each (y, x) in [0, 1]."""

    semantic: Places
    motion: Places


@dataclasses.dataclass(frozen=True)
class Attended:
    """What a forward pass looked at. Weights are (B, G, heads, Q, K), of queries on keys, rows summing to 1.

    Graph weights: G frames of patches, G cells of segments; empty without a graph. Cross weights, one entry a layer:
    `motion_to_semantic` where semantic tokens ask motion ones, `semantic_to_motion` the reverse; G segments in the
    first layer and 1 after it, tokens in the order step, cell.
    """

    logits: Tensor
    patch_edges: list[Tensor]
    segment_edges: list[Tensor]
    motion_to_semantic: list[Tensor]
    semantic_to_motion: list[Tensor]


class GasmCast(nn.Module):
    """Semantic tokens (B, T, P, C) and motion tokens (B, S, M, D) → logits (B, classes)."""

    def __init__(self, sizes: TokenSizes, params: FusionParams, places: TokenPlaces | None = None) -> None:
        """`places` are the row-major grids' own if none are given. Raises UserError for params that do not fit."""
        super().__init__()
        self.sizes, self.params, self.variant = sizes, params, VARIANTS[params.variant]
        where = places or TokenPlaces(grid_places(sizes.semantic_grid), grid_places(sizes.motion_grid))
        widths: dict[Stream, int] = {"semantic": sizes.semantic_width, "motion": sizes.motion_width}
        steps: dict[Stream, int] = {"semantic": sizes.frames if self.variant.ordered else 1, "motion": sizes.segments}
        self.graphs = nn.ModuleDict()
        if self.variant.graph:
            self.graphs.update({name: _graph(name, sizes, params, where) for name in self.variant.streams})
        self.cross = nn.ModuleList()
        if self.variant.cross != "none":
            narrow = params.bottleneck if self.variant.cross == "bottleneck" else None
            for name in list(LEVELS)[: params.layers]:
                self.cross.append(CrossAttention(_grains(name, sizes, where), widths, params.heads, narrow))
        curves = params.curves if self.variant.ordered else 1
        self.head = FusionHead({
            name: StreamReader(getattr(where, name), widths[name], steps[name], params.maps, curves)
            for name in self.variant.streams
        }, sizes.classes, params.dropout)

    def forward(self, semantic: Tensor | None, motion: Tensor | None) -> Tensor:
        """A stream that the variant does not use may be None, and is not looked at."""
        logits: Tensor = self.head(self.fuse(semantic, motion))
        return logits

    def fuse(self, semantic: Tensor | None, motion: Tensor | None) -> Streams:
        """The streams that the variant uses, refined and fused; same shapes (one frame, if it averages them)."""
        return self._fused(self._checked(semantic, motion), None)

    @torch.no_grad()
    def attend(self, semantic: Tensor | None, motion: Tensor | None) -> Attended:
        """The forward pass with every attention weight kept: slower and larger than `forward`, same logits."""
        kept: dict[str, list[Tensor]] = {"semantic": [], "motion": [], "to_semantic": [], "to_motion": []}
        logits = self.head(self._fused(self._checked(semantic, motion), kept))
        return Attended(logits, kept["semantic"], kept["motion"], kept["to_semantic"], kept["to_motion"])

    def _fused(self, streams: Streams, kept: dict[str, list[Tensor]] | None) -> Streams:
        keep: dict[str, Kept] = {} if kept is None else dict(kept)
        streams = {name: self._refined(name, tokens, keep.get(name)) for name, tokens in streams.items()}
        for layer in self.cross:
            semantic, motion = self._run(
                layer, streams["semantic"], streams["motion"], keep.get("to_semantic"), keep.get("to_motion")
            )
            streams = {"semantic": semantic, "motion": motion}
        return streams

    def _refined(self, name: Stream, tokens: Tensor, keep: Kept) -> Tensor:
        """After the stream's own graph: over the patches of each frame, or the segments at each cell."""
        if name not in self.graphs:
            return tokens
        if name == "semantic":
            refined: Tensor = self._run(self.graphs[name], tokens, keep)
            return refined
        by_cell = rearrange(tokens, "b s m d -> b m s d")
        refined = self._run(self.graphs[name], by_cell, keep)
        return rearrange(refined, "b m s d -> b s m d")

    def _run(self, layer: Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401
        """The layer's output; its inner activations made again for the gradient instead of stored, if so wished."""
        if self.params.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def _checked(self, semantic: Tensor | None, motion: Tensor | None) -> Streams:
        """The streams in use, frames averaged if order is withheld; UserError for tokens of another shape."""
        sizes = self.sizes
        expected = {
            "semantic": (semantic, (sizes.frames, sizes.patches, sizes.semantic_width)),
            "motion": (motion, (sizes.segments, sizes.cells, sizes.motion_width)),
        }
        streams: Streams = {}
        for name in self.variant.streams:
            tokens, shape = expected[name]
            found = None if tokens is None else tuple(tokens.shape[1:])
            if tokens is None or tokens.ndim != 4 or found != shape:
                got = "none" if tokens is None else f"tokens of shape {tuple(tokens.shape)}"
                raise UserError(f"{name} stream: {got}; expected (B, {', '.join(map(str, shape))})")
            streams[name] = tokens
        if not self.variant.ordered:  # in 64 bits, so that not even rounding knows the order
            streams = {name: x.mean(1, keepdim=True, dtype=torch.float64).to(x.dtype) for name, x in streams.items()}
        return streams


def motion_tokens(feature_map: Tensor) -> Tensor:
    """A 3-D network's map (B, D, S, h, w) → motion tokens (B, S, h w, D)."""
    return rearrange(feature_map, "b d s h w -> b s (h w) d")


def smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, classes), labels (B,), a share `smoothing` of each label given to all classes alike.

    Szegedy et al. (2016, arXiv:1512.00567).
    """
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def _graph(name: Stream, sizes: TokenSizes, params: FusionParams, where: TokenPlaces) -> GraphAttention:
    if name == "semantic":
        positions = where.semantic * np.array(sizes.semantic_grid)  # in patches
        return GraphAttention(
            positions, sizes.semantic_width, params.graph_width, params.heads, params.patch_radius, params.patch_similar
        )
    positions = step_times(sizes.segments)[:, None] * sizes.segments  # in segments
    return GraphAttention(
        positions, sizes.motion_width, params.graph_width, params.heads, params.segment_radius, params.segment_similar
    )


def _grains(level: str, sizes: TokenSizes, where: TokenPlaces) -> dict[Stream, Grain]:
    cells, groups = LEVELS[level].cells, sizes.segments if LEVELS[level].by_segment else 1
    return {
        "semantic": Grain(cells(where.semantic, where.motion), where.semantic, sizes.frames, groups),
        "motion": Grain(cells(where.motion, where.motion), where.motion, sizes.segments, groups),
    }
