"""The keys and shapes of published weights, written down from the structure of their references.

pytorchvideo 0.1.5 (models/resnet.py, slowfast.py, stem.py, head.py), torchvision's video ResNet, timm's Eva, and Meta's
DINOv3: none of this is read off Kinetoken's modules. `tests/kinetoken/backbones/test_oracle.py` compares with them.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

DEPTHS = (3, 4, 6, 3)


def norm(name: str, channels: int) -> Shapes:
    vectors: Shapes = {f"{name}.{key}": (channels,) for key in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": ()}


def stem(name: str, channels: int, time: int) -> Shapes:
    return {f"{name}.conv.weight": (channels, 3, time, 7, 7), **norm(f"{name}.norm", channels)}


def stage(name: str, entering: int, leaving: int, times: Iterator[int]) -> Shapes:
    """times: the extent in time of each block's conv_a."""
    shapes: Shapes = {}
    inner = leaving // 4
    for block, time in enumerate(times):
        start = f"{name}.res_blocks.{block}"
        if block == 0:
            shapes |= {f"{start}.branch1_conv.weight": (leaving, entering, 1, 1, 1)}
            shapes |= norm(f"{start}.branch1_norm", leaving)
        sizes = {
            "a": (inner, leaving if block else entering, time, 1, 1), "b": (inner, inner, 1, 3, 3),
            "c": (leaving, inner, 1, 1, 1),
        }
        for letter, shape in sizes.items():
            shapes |= {f"{start}.branch2.conv_{letter}.weight": shape}
            shapes |= norm(f"{start}.branch2.norm_{letter}", shape[0])
    return shapes


def i3d_r50(width: int = 64, depths: tuple[int, ...] = DEPTHS, classes: int = 400) -> Shapes:
    """Block 2 is a pooling without weights. Kernels alternate 3, 1 in the second and third stage, 1, 3 in the last."""
    shapes = stem("blocks.0", width, 5)
    kernels = ([3] * depths[0], [3, 1] * depths[1], [3, 1] * depths[2], [1, 3] * depths[3])
    channels = [width, 4 * width, 8 * width, 16 * width, 32 * width]
    for index, block in enumerate((1, 3, 4, 5)):
        times = iter(kernels[index][: depths[index]])
        shapes |= stage(f"blocks.{block}", channels[index], channels[index + 1], times)
    return shapes | head("blocks.6.proj", 32 * width, classes)


def slowfast_r50(
    width: int = 64, depths: tuple[int, ...] = DEPTHS, beta: int = 8, classes: int = 400
) -> Shapes:
    """Block 5 is a pooling without weights; after the last stage nothing is fused."""
    shapes = stem("blocks.0.multipathway_blocks.0", width, 1) | stem("blocks.0.multipathway_blocks.1", width // beta, 5)
    shapes |= fusion("blocks.0", width // beta)
    slow_in, fast_in = width, width // beta
    for index, depth in enumerate(depths):
        name, leaving = f"blocks.{index + 1}", width * 4 * 2**index
        slow_times = iter([1 if index < 2 else 3] * depth)
        shapes |= stage(f"{name}.multipathway_blocks.0", slow_in + 2 * fast_in, leaving, slow_times)
        shapes |= stage(f"{name}.multipathway_blocks.1", fast_in, leaving // beta, iter([3] * depth))
        if index < 3:
            shapes |= fusion(name, leaving // beta)
        slow_in, fast_in = leaving, leaving // beta
    return shapes | head("blocks.6.proj", slow_in + fast_in, classes)


def fusion(name: str, fast: int) -> Shapes:
    name = f"{name}.multipathway_fusion"
    return {f"{name}.conv_fast_to_slow.weight": (2 * fast, fast, 7, 1, 1), **norm(f"{name}.norm", 2 * fast)}


def head(name: str, features: int, classes: int) -> Shapes:
    return {f"{name}.weight": (classes, features), f"{name}.bias": (classes,)}


def r3d_18(width: int = 64, depths: tuple[int, ...] = (2, 2, 2, 2), classes: int = 400) -> Shapes:
    """torchvision's: in each block two convolutions of 3×3×3; the first stage needs no projection."""
    shapes = {"stem.0.weight": (width, 3, 3, 7, 7), **norm("stem.1", width)}
    entering = width
    for index, depth in enumerate(depths):
        leaving = width * 2**index
        for block in range(depth):
            start, into = f"layer{index + 1}.{block}", leaving if block else entering
            for conv, channels in (("conv1", into), ("conv2", leaving)):
                shapes |= {f"{start}.{conv}.0.weight": (leaving, channels, 3, 3, 3)}
                shapes |= norm(f"{start}.{conv}.1", leaving)
            if index and not block:
                shapes |= {f"{start}.downsample.0.weight": (leaving, entering, 1, 1, 1)}
                shapes |= norm(f"{start}.downsample.1", leaving)
        entering = leaving
    return shapes | head("fc", entering, classes)


def timm_dinov3(width: int = 768, depth: int = 12) -> Shapes:
    shapes: Shapes = {
        "cls_token": (1, 1, width), "reg_token": (1, 4, width),
        "patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }
    for block in range(depth):
        shapes |= {f"blocks.{block}.{key}": shape for key, shape in _vit_block(width).items()}
        shapes |= {f"blocks.{block}.gamma_1": (width,), f"blocks.{block}.gamma_2": (width,)}
    return shapes


def meta_dinov3(width: int, depth: int, heads: int) -> Shapes:
    """The layout of Meta's own files: other names for registers and layer scales; biases of zero, and more besides."""
    shapes: Shapes = {
        "cls_token": (1, 1, width), "storage_tokens": (1, 4, width), "mask_token": (1, width),
        "rope_embed.periods": (width // heads // 4,),
        "patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }
    for block in range(depth):
        shapes |= {f"blocks.{block}.{key}": shape for key, shape in _vit_block(width).items()}
        shapes |= {f"blocks.{block}.attn.qkv.bias": (3 * width,), f"blocks.{block}.attn.qkv.bias_mask": (3 * width,)}
        shapes |= {f"blocks.{block}.ls1.gamma": (width,), f"blocks.{block}.ls2.gamma": (width,)}
    return shapes


def _vit_block(width: int) -> Shapes:
    return {
        "norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
        "attn.qkv.weight": (3 * width, width), "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
        "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
    }


def numbers(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Weights of those shapes, drawn so that features stay finite: spreads as He's, running variances over zero."""
    draw = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        values = torch.randn(shape, generator=draw)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1000)
        elif key.endswith("running_var") or (len(shape) == 1 and key.endswith(".weight")):
            state[key] = 0.8 + 0.4 * torch.rand(shape, generator=draw)
        elif key.endswith(("qkv.bias", "qkv.bias_mask")):
            state[key] = torch.zeros(shape)
        elif len(shape) > 1:
            state[key] = values * (2 / values[0].numel()) ** 0.5
        else:
            state[key] = 0.1 * values
    return state
