"""I3D and SlowFast beside pytorchvideo's own modules: the same keys, shapes and outputs from the same weights.

Skipped unless pytorchvideo is there, which Kinetoken does not need. It goes into a folder of its own, since its
requirements are old, and is found by PYTHONPATH:

    .venv/bin/uv pip install --target REFERENCE --no-deps \\
        pytorchvideo==0.1.5 fvcore iopath portalocker yacs termcolor parameterized
    PYTHONPATH=REFERENCE .venv/bin/python -m pytest tests/kinetoken/backbones/test_oracle.py

R3D-18 and DINOv3 are compared with torchvision and timm in their own tests.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinetoken.backbones.architectures import recognise
from kinetoken.backbones.i3d import I3D, I3D_WEIGHTS
from kinetoken.backbones.loading import load_backbone
from kinetoken.backbones.slowfast import SLOWFAST_WEIGHTS, SlowFast, two_pathways
from tests.support.published_keys import Shapes, i3d_r50, numbers, slowfast_r50

WHY = "pytorchvideo is not installed: this module's docstring says how"
resnets = pytest.importorskip("pytorchvideo.models.hub.resnet", reason=WHY, exc_type=ImportError)
slowfasts = pytest.importorskip("pytorchvideo.models.hub.slowfast", reason=WHY, exc_type=ImportError)

TOLERANCE = 1e-5  # of the largest output


def shapes_of(module: torch.nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def clips(frames: int, side: int) -> Tensor:
    return torch.rand(1, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def normalised(clip: Tensor) -> Tensor:
    return (clip - 0.45) / 0.225


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    difference = float((found - expected).abs().max() / expected.abs().max())
    print(f"largest difference over largest output: {difference:.2g}, of {tuple(expected.shape)}")
    assert difference <= TOLERANCE and expected.std() > 0


def test_keys_and_shapes() -> None:
    with torch.device("meta"):
        assert shapes_of(resnets.i3d_r50()) == shapes_of(I3D()) == i3d_r50()
        assert shapes_of(slowfasts.slowfast_r50()) == shapes_of(SlowFast()) == slowfast_r50()
        assert list(resnets.i3d_r50().state_dict()) == list(I3D().state_dict())  # in the same order too
        assert list(slowfasts.slowfast_r50().state_dict()) == list(SlowFast().state_dict())


def reference_map(reference: Any, inputs: Any, blocks: int) -> Any:
    x = inputs
    for block in reference.blocks[:blocks]:
        x = block(x)
    return x


@pytest.mark.parametrize(("frames", "side"), [(8, 64), (16, 48), (5, 32)])
def test_i3d_features(frames: int, side: int) -> None:
    reference, module = resnets.i3d_r50().eval(), I3D().eval()
    for network in (reference, module):
        network.load_state_dict(numbers(i3d_r50()))
    with torch.no_grad():
        expected = reference_map(reference, normalised(clips(frames, side)), 6)
        assert_same(module.feature_map(clips(frames, side)), expected)


@pytest.mark.parametrize(("frames", "side"), [(8, 224), (16, 224)])
def test_i3d_logits(frames: int, side: int) -> None:
    """The second clip has five windows of time in the head, of which the reference takes the mean."""
    reference, module = resnets.i3d_r50().eval(), I3D().eval()
    for network in (reference, module):
        network.load_state_dict(numbers(i3d_r50()))
    with torch.no_grad():
        assert_same(module(clips(frames, side)), reference(normalised(clips(frames, side))))


@pytest.mark.parametrize(("frames", "side"), [(32, 64), (16, 32)])
def test_slowfast_features(frames: int, side: int) -> None:
    reference, module = slowfasts.slowfast_r50().eval(), SlowFast().eval()
    for network in (reference, module):
        network.load_state_dict(numbers(slowfast_r50()))
    with torch.no_grad():
        expected = reference_map(reference, [normalised(x) for x in two_pathways(clips(frames, side))], 5)
        for found, of_reference in zip(module.pathway_maps(clips(frames, side)), expected, strict=True):
            assert_same(found, of_reference)


def test_slowfast_logits() -> None:
    reference, module = slowfasts.slowfast_r50().eval(), SlowFast().eval()
    for network in (reference, module):
        network.load_state_dict(numbers(slowfast_r50()))
    with torch.no_grad():
        assert_same(module(clips(32, 224)), reference([normalised(x) for x in two_pathways(clips(32, 224))]))


def test_training_moves_the_same_averages_and_gives_the_same_gradients() -> None:
    reference, module = resnets.i3d_r50(head=None), I3D(classes=None)
    state = numbers(i3d_r50())
    for network in (reference, module):
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    clip = clips(4, 64)
    reference_map(reference, normalised(clip), 6).square().mean().backward()
    module.feature_map(clip).square().mean().backward()
    for (key, theirs), ours in zip(reference.state_dict().items(), module.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=key)
    for theirs, ours in zip(reference.parameters(), module.parameters(), strict=True):
        assert float((ours.grad - theirs.grad).abs().max() / theirs.grad.abs().max()) <= TOLERANCE


def test_untrained_weights_are_drawn_alike() -> None:
    """The same spreads, and the same norms that begin at zero."""
    torch.manual_seed(0)
    for reference, module in ((resnets.i3d_r50(), I3D()), (slowfasts.slowfast_r50(), SlowFast())):
        theirs, ours = reference.state_dict(), module.state_dict()
        for key, tensor in theirs.items():
            if tensor.numel() < 1000:
                continue
            assert float(ours[key].std()) == pytest.approx(float(tensor.std()), rel=0.15), key
        zeros = [key for key, tensor in theirs.items() if not tensor.any()]
        assert zeros == [key for key, tensor in ours.items() if not tensor.any()]


@pytest.mark.parametrize("name", ["i3d", "slowfast"])
def test_a_file_that_it_saved_loads_bit_for_bit(tmp_path: Path, name: str) -> None:
    reference = resnets.i3d_r50() if name == "i3d" else slowfasts.slowfast_r50()
    module, weights = (I3D(), I3D_WEIGHTS) if name == "i3d" else (SlowFast(), SLOWFAST_WEIGHTS)
    torch.save({"model_state": reference.state_dict()}, tmp_path / "saved.pyth")
    report = load_backbone(module, weights, checkpoint=tmp_path / "saved.pyth")
    theirs = reference.state_dict()
    assert report.tensors == len(theirs) and report.parameters == sum(p.numel() for p in reference.parameters())
    assert all(torch.equal(theirs[key], value) for key, value in module.state_dict().items())


def test_others_of_its_networks_are_recognised() -> None:
    with torch.device("meta"):
        made = {name: getattr(resnets, name)().state_dict() for name in ("i3d_r50", "slow_r50", "c2d_r50")}
        made["slowfast_r101"] = slowfasts.slowfast_r101().state_dict()
    assert {name: recognise(state) for name, state in made.items()} == {n: f"pytorchvideo {n}" for n in made}
