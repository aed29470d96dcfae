"""The small network of single frames: sizes, that it knows no motion, and that no weights go into it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinetoken.backbones.build import build_backbone
from kinetoken.backbones.frame_cnn import FRAME_CNN_WEIGHTS, FrameCnn
from kinetoken.backbones.loading import load_backbone
from kinetoken.backbones.params import FrameCnnParams
from kinetoken.core.errors import UserError

PARAMS = {"name": "frame_cnn", "image_size": 32, "frames": 8, "pretrained": False, "checkpoint": None}


def small() -> FrameCnn:
    torch.manual_seed(0)
    return FrameCnn(4, 3)


def clips(frames: int = 5, side: int = 32) -> Tensor:
    return torch.rand(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("frames", "side"), [(1, 8), (5, 32), (16, 64)])
def test_a_step_a_frame(frames: int, side: int) -> None:
    module = small().eval()
    with torch.no_grad():
        found, features = module.feature_map(clips(frames, side)), module.features(clips(frames, side))
    assert found.shape == (2, 16, frames, side // 8, side // 8)
    assert features.shape == (2, frames, 16) == (2, module.steps(frames), module.feature_size)
    torch.testing.assert_close(features, found.mean((3, 4)).transpose(1, 2))
    assert torch.isfinite(features).all() and features.std() > 0


def test_full_size_is_small() -> None:
    with torch.device("meta"):
        module = FrameCnn()
        assert module.features(torch.empty(2, 3, 16, 32, 32)).shape == (2, 16, 256)
    assert sum(p.numel() for p in module.parameters()) < 500_000
    assert not any("pixels" in key for key in module.state_dict())


def test_it_knows_no_motion() -> None:
    """Frames in another order give the same features in that order, and no frame changes another's."""
    module, clip, order = small().eval(), clips(), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(module.features(clip[:, :, order]), module.features(clip)[:, order])
        changed = clip.clone()
        changed[:, :, 2] = 1 - changed[:, :, 2]
        same = (module.features(changed) == module.features(clip)).all(-1)
    assert same[:, [0, 1, 3, 4]].all() and not same[:, 2].any()


def test_every_weight_gets_a_gradient() -> None:
    module, clip = small(), clips().requires_grad_()
    module.features(clip).square().sum().backward()
    assert clip.grad is not None and clip.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_no_weights_go_into_it(tmp_path: Path) -> None:
    params = FrameCnnParams(**PARAMS, width=4, layers=3)  # type: ignore[arg-type]
    module, report = build_backbone(params)
    assert isinstance(module, FrameCnn) and not report.trained and not report.left_out and not params.reduced
    assert params.title == "frame_cnn of width 4, 3 layers"
    for change in ({"pretrained": True}, {"checkpoint": "a.pth"}):
        with pytest.raises(ValueError, match="there are no weights for it"):
            FrameCnnParams(**{**PARAMS, **change}, width=4, layers=3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no published weights of frame_cnn"):
        load_backbone(module, FRAME_CNN_WEIGHTS, pretrained=True)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"image_size must be a multiple of 2\^layers, 64"):
        FrameCnnParams(**PARAMS, width=4, layers=6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frames of 36×36 pixels: expected multiples of 8"):
        small().features(clips(side=36))
    with pytest.raises(ValueError, match="divide bytes by 255"):
        small().features((255 * clips()).byte())
