"""Networks told from their keys: those of the table, and others that somebody might bring."""

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from kinetoken.backbones.architectures import recognise
from tests.support import published_keys as published


def shaped(**kernels: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {f"{key.replace('__', '.')}.weight": torch.empty(shape, device="meta") for key, shape in kernels.items()}


@pytest.mark.parametrize(("shapes", "name"), [
    (published.i3d_r50(), "pytorchvideo i3d_r50"),
    (published.i3d_r50(4, (1, 1, 1, 1), 7), "pytorchvideo i3d_r50"),
    (published.slowfast_r50(), "pytorchvideo slowfast_r50"),
    (published.r3d_18(), "torchvision r3d_18"),
    (published.timm_dinov3(), "timm DINOv3"),
])
def test_published_networks(shapes: published.Shapes, name: str) -> None:
    assert recognise({key: torch.empty(shape, device="meta") for key, shape in shapes.items()}) == name


def test_torchvision_s_others() -> None:
    with torch.device("meta"):
        made = [network().state_dict() for network in (r3d_18, mc3_18, r2plus1d_18, resnet18)]
    names = ["torchvision r3d_18", "torchvision mc3_18", "torchvision r2plus1d_18", "an image ResNet"]
    assert [recognise(state) for state in made] == names


def test_pytorchvideo_s_others() -> None:
    """Extents in time as models/hub has them; `test_oracle.py` asks the networks themselves."""
    block = "res_blocks__0__branch2__conv_a"
    slow = shaped(blocks__0__conv=(64, 3, 1, 7, 7), **{f"blocks__3__{block}": (256, 512, 3, 1, 1)})
    c2d = shaped(blocks__0__conv=(64, 3, 1, 7, 7), **{f"blocks__5__{block}": (512, 1024, 1, 1, 1)})
    assert (recognise(slow), recognise(c2d)) == ("pytorchvideo slow_r50", "pytorchvideo c2d_r50")


def test_what_is_nobody_s() -> None:
    assert recognise({}) is None and recognise({"weight": torch.ones(1)}) is None
