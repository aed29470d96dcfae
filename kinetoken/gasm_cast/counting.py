"""What a network costs: trainable parameters, and multiply-adds of one clip.

Multiply-adds are counted by running the network on tensors without storage: all matrix products, convolutions and
attentions, a multiplication and its addition as one. Norms, activations and softmaxes are not counted.
"""

import copy
import dataclasses

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinetoken.gasm_cast.network import GasmCast
from kinetoken.gasm_cast.sizes import TokenSizes
from kinetoken.gasm_cast.variants import VARIANTS, FusionParams


@dataclasses.dataclass(frozen=True)
class FusionCosts:
    """Of one fusion network and one clip; everything but `parameters` in multiply-adds."""

    parameters: int  # trainable
    cross_layers: tuple[int, ...]  # cross-attention: projections, scores, sums, down and up
    graph: int
    head: int

    @property
    def cross(self) -> int:
        return sum(self.cross_layers)

    @property
    def total(self) -> int:
        return self.cross + self.graph + self.head


def trainable_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def multiply_adds(module: nn.Module, *inputs: Tensor | None) -> dict[str, int]:
    """Of one forward pass, by dotted name of the submodule; "" is the module itself. The module is left as it was."""
    hollow = copy.deepcopy(module).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hollow(*(None if x is None else x.to("meta") for x in inputs))
    counts = {"": counter.get_total_flops() // 2}
    root = f"{type(module).__name__}."
    for name, by_operation in counter.get_flop_counts().items():
        if name.startswith(root):
            counts[name.removeprefix(root)] = sum(by_operation.values()) // 2
    return counts


def fusion_costs(sizes: TokenSizes, params: FusionParams) -> FusionCosts:
    """Of the network of these sizes and params, which is never built with storage."""
    with torch.device("meta"):
        network = GasmCast(sizes, params)
        semantic = torch.empty(1, sizes.frames, sizes.patches, sizes.semantic_width)
        motion = torch.empty(1, sizes.segments, sizes.cells, sizes.motion_width)
    counts = multiply_adds(network, semantic, motion)
    return FusionCosts(
        parameters=trainable_parameters(network),
        cross_layers=tuple(counts[f"cross.{k}"] for k in range(len(network.cross))),
        graph=sum(counts[f"graphs.{name}"] for name in network.graphs),
        head=counts["head"],
    )


def fusion_macs_saved(sizes: TokenSizes, params: FusionParams) -> float:
    """Share of the cross-attention layers' multiply-adds that the bottleneck saves: same tokens, same layers.

    0 for a variant without a bottleneck.
    """
    here, native = fusion_costs(sizes, params).cross, _native_cross(sizes, params)
    return (native - here) / max(native, 1)


def end_to_end_macs_saved(sizes: TokenSizes, params: FusionParams, backbone_macs: int) -> float:
    """The same share of all that runs for a clip: graphs, head and `backbone_macs`, the backbones', included."""
    here, native = fusion_costs(sizes, params), _native_cross(sizes, params)
    return (native - here.cross) / (backbone_macs + here.total - here.cross + native)


def _native_cross(sizes: TokenSizes, params: FusionParams) -> int:
    """What the cross-attention of this network would cost at native width; 0 if it has none."""
    if VARIANTS[params.variant].cross == "none":
        return 0
    return fusion_costs(sizes, dataclasses.replace(params, variant="plain")).cross
