"""R3D-18: torchvision's network with time kept; torchvision itself is the oracle."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.video import R3D_18_Weights, r3d_18
from torchvision.models.video.resnet import VideoResNet

from kinetoken.backbones.loading import load_backbone
from kinetoken.backbones.r3d import R3D, R3D_WEIGHTS
from tests.support.published_keys import numbers
from tests.support.published_keys import r3d_18 as published_r3d_18

SMALL, DEPTHS = 4, (1, 2, 1, 2)
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def small(classes: int | None = 5) -> R3D:
    module = R3D(SMALL, DEPTHS, classes)
    state = numbers(published_r3d_18(SMALL, DEPTHS, classes or 1))
    module.load_state_dict({key: state[key] for key in module.state_dict()})
    return module.eval()


def clips(frames: int = 8, side: int = 32) -> Tensor:
    return torch.rand(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def normalised(clip: Tensor) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (MEAN, STD))
    return (clip - mean) / std


def test_full_size_has_the_published_keys_shapes_and_parameters() -> None:
    with torch.device("meta"):
        module, reference = R3D(), r3d_18()
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert shapes == published_r3d_18() == {k: tuple(v.shape) for k, v in reference.state_dict().items()}
    count = R3D_18_Weights.KINETICS400_V1.meta["num_params"]
    assert sum(p.numel() for p in module.parameters()) == count == 33_371_472


def test_sixteen_frames_give_eight_steps_where_the_library_gives_two() -> None:
    with torch.device("meta"):
        module, clip = R3D(classes=None).eval(), torch.empty(1, 3, 16, 112, 112)
        assert module.feature_map(clip).shape == (1, 512, 8, 7, 7)
        assert module.features(clip).shape == (1, 8, 512)
        reference = r3d_18()
        x = clip
        for layer in (reference.stem, reference.layer1, reference.layer2, reference.layer3, reference.layer4):
            x = layer(x)
        assert x.shape == (1, 512, 2, 7, 7)
    assert (module.steps(16), module.feature_size) == (8, 512)


def test_the_same_weights_give_the_library_s_outputs() -> None:
    """Up to the second stage as it is; beyond with the library's strides over time undone, the logits too."""
    state = numbers(published_r3d_18())
    reference, module = r3d_18().eval(), R3D().eval()
    reference.load_state_dict(state)
    module.load_state_dict(state)
    assert isinstance(module, VideoResNet)
    with torch.no_grad():
        x, y = normalised(clips()[:1]), module.pixels(clips()[:1])
        for name in ("stem", "layer1", "layer2"):
            x, y = getattr(reference, name)(x), getattr(module, name)(y)
            torch.testing.assert_close(y, x, atol=1e-5, rtol=1e-5)
        for layer in (reference.layer3, reference.layer4):
            layer[0].conv1[0].stride = layer[0].downsample[0].stride = (1, 2, 2)
        torch.testing.assert_close(module(clips()[:1]), reference(normalised(clips()[:1])), atol=1e-5, rtol=1e-5)


def test_a_file_that_the_library_saved_loads_bit_for_bit(tmp_path: Path) -> None:
    reference, module = r3d_18(), R3D(classes=None)
    torch.save(reference.state_dict(), tmp_path / "saved.pth")
    report = load_backbone(module, R3D_WEIGHTS, checkpoint=tmp_path / "saved.pth")
    theirs = reference.state_dict()
    assert (report.tensors, report.left_out) == (len(theirs) - 2, ("fc.weight", "fc.bias"))
    assert all(torch.equal(theirs[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize(("frames", "side"), [(1, 32), (7, 32), (8, 64), (4, 40)])
def test_small_clips(frames: int, side: int) -> None:
    module, cells = small(), -(-side // 16)
    features = module.features(clips(frames, side))
    assert features.shape == (2, (frames + 1) // 2, 8 * SMALL) == (2, module.steps(frames), module.feature_size)
    assert module.feature_map(clips(frames, side)).shape[3:] == (cells, cells)
    assert module(clips(frames, side)).shape == (2, 5)
    assert torch.isfinite(features).all() and features.std() > 0


def test_every_weight_gets_a_gradient() -> None:
    module, clip = small(), clips().requires_grad_()
    module(clip).square().sum().backward()
    assert clip.grad is not None and clip.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_without_a_head() -> None:
    module = small(classes=None)
    assert not any(key.startswith("fc") for key in module.state_dict())
    with pytest.raises(ValueError, match="without its classification head"):
        module(clips())
