"""From a section of params.yaml to a network and a report of its weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kinetoken.backbones.backbone import averaged_down
from kinetoken.backbones.build import BACKBONES, build_backbone
from kinetoken.backbones.i3d import I3D
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from tests.support.published_keys import i3d_r50, numbers

COMMON = {"image_size": 32, "frames": 8, "pretrained": False, "checkpoint": None}
RESNET = {**COMMON, "width": 8, "depths": [1, 1, 1, 1], "head": False}
SECTIONS: dict[str, dict[str, Any]] = {
    "i3d": RESNET, "i3d_causal": RESNET, "slowfast": {**RESNET, "alpha": 4, "beta": 8},
    "slowfast_causal": {**RESNET, "alpha": 4, "beta": 8}, "r3d": RESNET,
    "dinov3": {**COMMON, "width": 16, "depth": 1, "heads": 2}, "frame_cnn": {**COMMON, "width": 4, "layers": 3},
}


def params(tmp_path: Path, name: str, /, **changes: object) -> Any:
    section = {**SECTIONS[name], "name": name, **changes}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"stage": {"backbone": section}}))
    return load_params(path, "stage.backbone", BACKBONES[name].params)


def test_every_entry_has_a_section_here() -> None:
    assert SECTIONS.keys() == BACKBONES.keys()


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_builds_a_network_with_the_common_interface(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module, report = build_backbone(params(tmp_path, name))
    clips = torch.rand(2, 3, 8, 32, 32)
    with torch.no_grad():
        features, found = module.features(clips), module.feature_map(clips)
    assert features.shape == (2, module.steps(8), module.feature_size)
    assert found.shape[:3] == (2, module.feature_size, module.steps(8))
    assert not module.training and report.source == "untrained" and not report.left_out
    assert not any("pixels" in key for key in module.state_dict())
    torch.manual_seed(0)
    again, _ = build_backbone(params(tmp_path, name))
    with torch.no_grad():
        assert torch.equal(again.features(clips), features)


def test_causal_is_by_name(tmp_path: Path) -> None:
    for name in ("i3d", "slowfast"):
        assert not params(tmp_path, name).causal and params(tmp_path, f"{name}_causal").causal
    module, _ = build_backbone(params(tmp_path, "slowfast_causal"))
    assert getattr(module, "causal", None) is True


def test_a_checkpoint_is_loaded_and_its_head_named(tmp_path: Path) -> None:
    state = numbers(i3d_r50(8, (1, 1, 1, 1)))
    torch.save({"model_state": state}, tmp_path / "i3d.pyth")
    module, report = build_backbone(params(tmp_path, "i3d", checkpoint=str(tmp_path / "i3d.pyth")))
    assert isinstance(module, I3D) and all(torch.equal(state[k], v) for k, v in module.state_dict().items())
    assert report.left_out == ("blocks.6.proj.weight", "blocks.6.proj.bias")
    module, report = build_backbone(params(tmp_path, "i3d", head=True, checkpoint=str(tmp_path / "i3d.pyth")))
    assert report.left_out == () and module(torch.rand(1, 3, 8, 32, 32)).shape == (1, 400)


def test_reduced_networks_say_so(tmp_path: Path) -> None:
    assert params(tmp_path, "i3d_causal").title == "i3d_causal reduced to width 8, depths (1, 1, 1, 1)"
    full = params(tmp_path, "i3d_causal", width=64, depths=[3, 4, 6, 3], pretrained=True)
    assert full.title == "i3d_causal" and not full.reduced
    assert not params(tmp_path, "dinov3", width=768, depth=12, heads=12).reduced
    assert params(tmp_path, "dinov3", width=768, depth=6, heads=12).title == (
        "dinov3 reduced to width 768, depth 6, heads 12"
    )
    assert params(tmp_path, "slowfast", width=64, depths=[3, 4, 6, 3], alpha=8).reduced
    assert not params(tmp_path, "r3d", width=64, depths=[2, 2, 2, 2]).reduced


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("i3d", {"pretrained": True, "checkpoint": "a"}, "set one of the two"),
    ("i3d", {"pretrained": True}, r"published weights for width 64, depths \(3, 4, 6, 3\) only"),
    ("i3d", {"name": "slowfast"}, "name: must be one of i3d, i3d_causal"),
    ("i3d", {"frames": 1}, "frames must be 2 or more"),
    ("i3d", {"depths": [1, 1, 1]}, "depths: expected 4 values"),
    ("slowfast", {"frames": 10}, "frames must be a multiple of alpha, 4, are 10"),
    ("slowfast", {"width": 12}, "width must be a multiple of beta, 8, is 12"),
    ("dinov3", {"image_size": 40}, "image_size must be a multiple of 16, is 40"),
    ("frame_cnn", {"pretrained": True}, "there are no weights for it"),
    ("frame_cnn", {"layers": 6}, r"image_size must be a multiple of 2\^layers, 64"),
    ("dinov3", {"width": 20}, "width must be a multiple of 4 × heads, 8, is 20"),
])
def test_wrong_sections_are_named(tmp_path: Path, name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=rf"stage\.backbone.*{message}"):
        params(tmp_path, name, **changes)


def test_pixels_are_averaged_down_to_the_side_that_is_asked_for() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(averaged_down(pixels, 8), pixels.permute(0, 4, 1, 2, 3) / 255)
    small = averaged_down(pixels, 2)
    assert small.shape == (2, 3, 3, 2, 2)
    torch.testing.assert_close(small[1, 2, 0, 1, 0], pixels[1, 0, 4:, :4, 2].float().mean() / 255)
