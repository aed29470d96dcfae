"""DINOv3: timm's network without its prefix tokens; timm itself is the oracle, for features and for files."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from kinetoken.backbones.dinov3 import DINOV3_WEIGHTS, VARIANT, Dinov3
from kinetoken.backbones.loading import load_backbone
from kinetoken.core.errors import UserError
from tests.support.published_keys import meta_dinov3, numbers, timm_dinov3

WIDTH, DEPTH, HEADS, SIZE = 32, 2, 2, 48
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REDUCED = {"img_size": SIZE, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}


def small() -> Dinov3:
    module = Dinov3(WIDTH, DEPTH, HEADS, SIZE)
    module.vit.load_state_dict(numbers(timm_dinov3(WIDTH, DEPTH)))
    return module.eval()


def frames(height: int = SIZE, width: int = SIZE) -> Tensor:
    return torch.rand(2, 3, 3, height, width, generator=torch.Generator().manual_seed(1))  # (B, T, 3, H, W)


def test_full_size_has_the_published_keys_shapes_and_parameters() -> None:
    with torch.device("meta"):
        module = Dinov3()
        reference = timm.create_model(VARIANT)
    shapes = {key: tuple(value.shape) for key, value in module.vit.state_dict().items()}
    assert shapes == timm_dinov3() == {k: tuple(v.shape) for k, v in reference.state_dict().items()}
    assert sum(p.numel() for p in module.parameters()) == 85_641_216
    assert {key.split(".")[0] for key in module.state_dict()} == {"vit"}


def test_full_size_shapes() -> None:
    with torch.device("meta"):
        module, few = Dinov3().eval(), torch.empty(1, 2, 3, 224, 224)
        assert module.tokens(few).shape == (1, 2, 196, 768)
        assert module.features(few.transpose(1, 2)).shape == (1, 2, 768)
        assert module.feature_map(few.transpose(1, 2)).shape == (1, 768, 2, 14, 14)
    assert (module.grid(224, 224), module.steps(16), module.feature_size) == ((14, 14), 16, 768)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (32, 64), (16, 16)])
def test_tokens_are_timm_s_of_each_frame_without_the_prefix(height: int, width: int) -> None:
    module, reference = small(), timm.create_model(VARIANT, num_classes=0, **REDUCED).eval()
    reference.load_state_dict(module.vit.state_dict())
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    clip = frames(height, width)
    with torch.no_grad():
        tokens = module.tokens(clip)
        for time in range(3):
            expected = reference.forward_features((clip[:, time] - mean) / std)[:, 5:]
            torch.testing.assert_close(tokens[:, time], expected, atol=1e-5, rtol=1e-5)
        rows, columns = module.grid(height, width)
        found = module.feature_map(clip.transpose(1, 2))
        assert torch.equal(found[:, :, 1, rows - 1, columns - 1], tokens[:, 1, -1])
        assert torch.equal(found[:, :, 2, 0, columns - 1], tokens[:, 2, columns - 1])
        torch.testing.assert_close(module.features(clip.transpose(1, 2)), tokens.mean(2))


def test_every_weight_gets_a_gradient() -> None:
    module, few = small(), frames().requires_grad_()
    module.tokens(few).square().sum().backward()
    assert few.grad is not None and few.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_parts_of_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="40×48 pixels: expected multiples of 16"):
        small().tokens(frames(40, 48))


def loaded(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    module = Dinov3(WIDTH, DEPTH, HEADS, SIZE)
    report = load_backbone(module, DINOV3_WEIGHTS, checkpoint=path)
    assert (report.tensors, report.architecture) == (len(timm_dinov3(WIDTH, DEPTH)), "timm DINOv3")
    return module.vit.state_dict(), report.left_out


@pytest.mark.parametrize("layout", ["timm.safetensors", "timm.pth", "meta.pth"])
def test_a_file_loads_as_timm_loads_it(tmp_path: Path, layout: str) -> None:
    shapes = meta_dinov3(WIDTH, DEPTH, HEADS) if layout.startswith("meta") else timm_dinov3(WIDTH, DEPTH)
    path = tmp_path / layout
    if path.suffix == ".pth":
        torch.save(numbers(shapes), path)
    else:
        save_file(numbers(shapes), str(path))
    state, left_out = loaded(path)
    reference = timm.create_model(
        VARIANT, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": str(path)}, **REDUCED
    ).state_dict()
    assert state.keys() == reference.keys() and all(torch.equal(state[key], reference[key]) for key in state)
    if layout.startswith("meta"):
        biases = [f"blocks.{block}.attn.qkv.{key}" for block in range(DEPTH) for key in ("bias", "bias_mask")]
        assert sorted(left_out) == sorted(["mask_token", "rope_embed.periods", *biases])
    else:
        assert left_out == ()


def test_biases_of_meta_s_that_are_not_zero_are_not_dropped(tmp_path: Path) -> None:
    state = numbers(meta_dinov3(WIDTH, DEPTH, HEADS))
    state["blocks.1.attn.qkv.bias"][WIDTH : 2 * WIDTH] = 1  # the keys' part is masked, so it may be anything
    torch.save(state, tmp_path / "fine.pth")
    loaded(tmp_path / "fine.pth")
    state["blocks.1.attn.qkv.bias"][-1] = 0.1
    torch.save(state, tmp_path / "biased.pth")
    with pytest.raises(UserError, match=r"biased.pth: blocks.1.attn.qkv.bias is not zero"):
        loaded(tmp_path / "biased.pth")


def test_a_classifier_s_head_is_left_out_by_name(tmp_path: Path) -> None:
    state = numbers(timm_dinov3(WIDTH, DEPTH))
    state |= {"head.weight": torch.ones(7, WIDTH), "head.bias": torch.ones(7)}
    save_file(state, str(tmp_path / "tuned.safetensors"))
    assert loaded(tmp_path / "tuned.safetensors")[1] == ("head.weight", "head.bias")


def test_published_weights_come_from_timm_s_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = numbers(timm_dinov3(WIDTH, DEPTH))
    save_file(state, str(tmp_path / "model.safetensors"))
    asked: list[str] = []

    def download(place: str, name: str) -> str:
        asked.append(f"{place} {name}")
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    module = Dinov3(WIDTH, DEPTH, HEADS, SIZE)
    report = load_backbone(module, DINOV3_WEIGHTS, pretrained=True)
    assert asked == [f"timm/{VARIANT}.lvd1689m model.safetensors"]
    assert report.source == "model.safetensors (downloaded)"
    assert all(torch.equal(state[key], value) for key, value in module.vit.state_dict().items())


def test_another_size_says_so(tmp_path: Path) -> None:
    save_file(numbers(timm_dinov3(64, DEPTH)), str(tmp_path / "wide.safetensors"))
    with pytest.raises(UserError, match="holds timm DINOv3, but not with all the keys and shapes of this one; 3"):
        loaded(tmp_path / "wide.safetensors")
