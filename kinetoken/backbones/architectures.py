"""Which network a state dict is of, told from a few of its keys and shapes: for errors that name what was found."""

from collections.abc import Callable, Mapping

from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
Signature = Callable[[Shapes], bool]


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """The architecture as its source calls it, of whatever width and depth, or None."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return next((name for name, matches in SIGNATURES.items() if matches(shapes)), None)


def _has(*keys: str) -> Signature:
    return lambda shapes: all(key in shapes for key in keys)


def _over_time(**kernels: int) -> Signature:
    """Convolutions in three dimensions, `__` for the dots of a key without its `.weight`, and their extents in time."""
    expected = {f"{key.replace('__', '.')}.weight": kernel for key, kernel in kernels.items()}
    return lambda shapes: all(
        len(shapes.get(key, ())) == 5 and shapes[key][2] == kernel for key, kernel in expected.items()
    )


SIGNATURES: dict[str, Signature] = {
    "pytorchvideo slowfast_r50": _over_time(blocks__0__multipathway_fusion__conv_fast_to_slow=7),
    "pytorchvideo slowfast_r101": _over_time(blocks__0__multipathway_fusion__conv_fast_to_slow=5),
    "a detector of pytorchvideo": lambda shapes: any(key.startswith("model.blocks.") for key in shapes),
    "pytorchvideo i3d_r50": _over_time(blocks__0__conv=5, blocks__1__res_blocks__0__branch2__conv_a=3),
    "pytorchvideo c2d_r50": _over_time(blocks__0__conv=1, blocks__5__res_blocks__0__branch2__conv_a=1),
    "pytorchvideo slow_r50": _over_time(blocks__0__conv=1, blocks__3__res_blocks__0__branch2__conv_a=3),
    "pytorchvideo x3d": _has("blocks.0.conv.conv_t.weight"),
    "torchvision r3d_18": _over_time(stem__0=3, layer2__0__conv1__0=3),
    "torchvision mc3_18": _over_time(stem__0=3, layer2__0__conv1__0=1),
    "torchvision r2plus1d_18": _over_time(stem__0=1, layer1__0__conv1__0__0=1),
    "an image ResNet": _has("conv1.weight", "layer1.0.conv1.weight"),
    "timm DINOv3": _has("reg_token", "blocks.0.gamma_1", "blocks.0.mlp.fc1.weight", "norm.weight"),
    "transformers DINOv3": _has("embeddings.register_tokens", "layer.0.layer_scale1.lambda1"),
    "DINOv2": _has("pos_embed", "blocks.0.ls1.gamma"),
    "another vision transformer": _has("patch_embed.proj.weight", "blocks.0.norm1.weight"),
}
