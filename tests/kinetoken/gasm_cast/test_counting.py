"""Costs: the counter against closed forms, and the marks at full size."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from kinetoken.gasm_cast.attention import attend
from kinetoken.gasm_cast.counting import (
    end_to_end_macs_saved,
    fusion_costs,
    fusion_macs_saved,
    multiply_adds,
    trainable_parameters,
)
from kinetoken.gasm_cast.cross_attention import CrossAttention
from kinetoken.gasm_cast.levels import Grain
from kinetoken.gasm_cast.sizes import FULL_SIZE, TokenSizes, grid_places
from kinetoken.gasm_cast.variants import VARIANTS, FusionParams, Stream
from tests.support.token_streams import FULL, SHARED_SEGMENTS, SMALL, SMALL_SIZE

SIZES_AND_PARAMS = [(FULL_SIZE, FULL), (SMALL_SIZE, SMALL), (SHARED_SEGMENTS, SMALL)]


def met(sizes: TokenSizes) -> list[tuple[int, int, int]]:
    """Groups, semantic and motion tokens of each, level by level."""
    per = sizes.frames // sizes.segments
    return [
        (sizes.segments, per * sizes.patches, sizes.cells),
        (1, sizes.frames * sizes.cells, sizes.segments * sizes.cells),
        (1, sizes.frames, sizes.segments),
    ]


def bottleneck_macs(g: int, n: int, m: int, s: int, w: int, b: int) -> int:
    down_and_up = 2 * (n * s * b + m * w * b)
    projections = (2 * n + 2 * m) * b * b * 2  # queries and out of one side, keys and values of the other, twice
    scores_and_sums = 2 * 2 * n * m * b
    return g * (down_and_up + projections + scores_and_sums)


def native_macs(g: int, n: int, m: int, s: int, w: int) -> int:
    to_semantic = 2 * n * s * s + 2 * m * w * s + 2 * n * m * s
    to_motion = 2 * m * w * w + 2 * n * s * w + 2 * n * m * w
    return g * (to_semantic + to_motion)


def graph_macs(graphs: int, n: int, width: int, inner: int, heads: int) -> int:
    a_graph = n * width * 3 * inner + n * n * width + 2 * n * n * inner + n * inner * width
    return graphs * a_graph + 2 * n * n * 8 * heads  # the curves of distance, once for all


def head_macs(sizes: TokenSizes, params: FusionParams) -> int:
    total, features = 0, 0
    for t, n, c in (
        (sizes.frames, sizes.patches, sizes.semantic_width), (sizes.segments, sizes.cells, sizes.motion_width)
    ):
        total += t * n * c * params.maps + t * n * params.maps * 2 + params.curves * t * (c + 2 * params.maps)
        features += params.curves * (c + 2 * params.maps)
    return total + features * sizes.classes


@pytest.mark.parametrize(("sizes", "params"), SIZES_AND_PARAMS)
def test_counts_are_those_of_the_closed_forms(sizes: TokenSizes, params: FusionParams) -> None:
    s, w = sizes.semantic_width, sizes.motion_width
    costs = fusion_costs(sizes, params)
    assert costs.cross_layers == tuple(bottleneck_macs(*level, s, w, params.bottleneck) for level in met(sizes))
    assert costs.graph == sum([
        graph_macs(sizes.frames, sizes.patches, s, params.graph_width, params.heads),
        graph_macs(sizes.cells, sizes.segments, w, params.graph_width, params.heads),
    ])
    assert costs.head == head_macs(sizes, params)
    assert costs.total == sum(costs.cross_layers) + costs.graph + costs.head
    plain = fusion_costs(sizes, dataclasses.replace(params, variant="plain"))
    assert plain.cross_layers == tuple(native_macs(*level, s, w) for level in met(sizes))
    assert (plain.graph, plain.head) == (costs.graph, costs.head)


def closed_parameters(sizes: TokenSizes, params: FusionParams) -> int:
    s, w, b, g = sizes.semantic_width, sizes.motion_width, params.bottleneck, params.graph_width
    layer = sum(2 * c + (c + 1) * b + (b + 1) * c for c in (s, w)) + 2 * (4 * b * b + b)
    graphs = sum(2 * 8 * params.heads + 2 * c + 3 * c * g + (g + 1) * c for c in (s, w))
    features = params.curves * (s + w + 4 * params.maps)
    steps = sizes.frames + sizes.segments
    head = (2 + params.maps) * (s + w) + params.curves * steps + (features + 1) * sizes.classes
    return params.layers * layer + graphs + head


def test_the_marks_at_full_size() -> None:
    costs = fusion_costs(FULL_SIZE, FULL)
    assert costs.parameters == closed_parameters(FULL_SIZE, FULL)
    assert costs.parameters <= 8_000_000
    saved = fusion_macs_saved(FULL_SIZE, FULL)
    assert saved == pytest.approx(1 - 1_941_078_016 / 5_497_569_280)
    assert saved >= 0.60
    assert [round(layer / 1e6) for layer in costs.cross_layers] == [1312, 620, 10]


def test_saved_end_to_end_is_what_the_bottleneck_spares_of_everything() -> None:
    plain = fusion_costs(FULL_SIZE, dataclasses.replace(FULL, variant="plain"))
    here = fusion_costs(FULL_SIZE, FULL)
    backbones = 8 * 17_900_000_000 + 40_700_000_000  # DINOv3-B on 8 frames, R3D-18 on a clip
    saved = end_to_end_macs_saved(FULL_SIZE, FULL, backbones)
    assert saved == pytest.approx(1 - (backbones + here.total) / (backbones + plain.total))
    assert 0.01 < saved < 0.03  # what the fusion saves is small beside the backbones
    assert end_to_end_macs_saved(FULL_SIZE, FULL, 0) == pytest.approx(1 - here.total / plain.total)


@pytest.mark.parametrize(("bottleneck", "expected"), [(None, 400e6), (256, 134e6)])
def test_a_frame_and_eight_pooled_segments_cost_what_is_known(bottleneck: int | None, expected: float) -> None:
    """The first design's layer, 196 patches and 8 segments: 400 MMACs at native width, 134 with the bottleneck."""
    with torch.device("meta"):
        patches, segments = grid_places((14, 14)), grid_places((1, 8))
        grains: dict[Stream, Grain] = {
            "semantic": Grain(np.arange(196), patches, steps=1, groups=1),
            "motion": Grain(np.arange(8), segments, steps=1, groups=1),
        }
        layer = CrossAttention(grains, {"semantic": 768, "motion": 512}, 8, bottleneck)
        macs = multiply_adds(layer, torch.empty(1, 1, 196, 768), torch.empty(1, 1, 8, 512))
    assert macs[""] == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_parts_add_up_to_the_whole_in_every_variant(variant: str) -> None:
    params = dataclasses.replace(SMALL, variant=variant)
    costs = fusion_costs(SMALL_SIZE, params)
    assert costs.parameters > 0 and costs.head > 0
    assert (costs.graph > 0) == VARIANTS[variant].graph
    assert (costs.cross > 0) == (VARIANTS[variant].cross != "none")
    saves = VARIANTS[variant].cross == "bottleneck"
    assert (fusion_macs_saved(SMALL_SIZE, params) > 0) == saves
    assert (end_to_end_macs_saved(SMALL_SIZE, params, 0) > 0) == saves


def test_any_network_can_be_counted_and_is_left_as_it_was() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3, padding=1)
            self.fixed = nn.Linear(4, 7).requires_grad_(False)

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            x = self.conv(clips).flatten(2).mT[:, None]  # (B, 1, N, 4)
            out: torch.Tensor = self.fixed(attend(x, x, x, heads=2))
            return out

    net = Net().train()
    before = net.conv.weight.clone()
    counts = multiply_adds(net, torch.zeros(1, 3, 2, 5, 5))
    assert counts["conv"] == 50 * 4 * 3 * 27 and counts["fixed"] == 50 * 4 * 7
    assert counts[""] == counts["conv"] + counts["fixed"] + 2 * 50 * 50 * 4
    assert trainable_parameters(net) == 3 * 4 * 27 + 4
    assert net.training and torch.equal(net.conv.weight, before)
