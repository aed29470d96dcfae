"""The loader: whole or not at all, tensors only, bit for bit, and with words for what is wrong."""

import hashlib
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinetoken.backbones.i3d import I3D, I3D_WEIGHTS
from kinetoken.backbones.loading import WeightFormat, fetch_url, load_backbone, read_tensors
from kinetoken.backbones.r3d import R3D, R3D_WEIGHTS
from kinetoken.backbones.slowfast import SLOWFAST_WEIGHTS, SlowFast
from kinetoken.core.errors import UserError
from tests.support.published_keys import Shapes, i3d_r50, numbers, r3d_18, slowfast_r50, timm_dinov3

WIDTH, DEPTHS = 8, (1, 2, 1, 1)
HEAD = ("blocks.6.proj.weight", "blocks.6.proj.bias")

SHAPES = {
    "i3d": i3d_r50(WIDTH, DEPTHS), "slowfast": slowfast_r50(WIDTH, DEPTHS, 8), "r3d": r3d_18(WIDTH, DEPTHS),
}
FORMATS = {"i3d": I3D_WEIGHTS, "slowfast": SLOWFAST_WEIGHTS, "r3d": R3D_WEIGHTS}


def build(name: str, classes: int | None = 400) -> nn.Module:
    classes_of: dict[str, Callable[..., nn.Module]] = {"i3d": I3D, "slowfast": SlowFast, "r3d": R3D}
    return classes_of[name](WIDTH, DEPTHS, classes=classes)


def save(path: Path, name: str, state: dict[str, Tensor]) -> Path:
    """As the published files are: pytorchvideo's in a container, torchvision's plain."""
    torch.save(state if name == "r3d" else {"model_state": state}, path)
    return path


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", SHAPES)
def test_a_whole_file_loads_bit_for_bit_and_is_reported(tmp_path: Path, name: str) -> None:
    state = numbers(SHAPES[name])
    path, module = save(tmp_path / "weights.pyth", name, state), build(name)
    report = load_backbone(module, FORMATS[name], checkpoint=str(path))
    assert same(module.state_dict(), state)
    assert report.trained and report.source == str(path) and report.architecture == FORMATS[name].architecture
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (report.tensors, report.left_out) == (len(state), ())
    trained = [key for key in state if not key.rsplit(".", 1)[1].startswith(("running", "num_batches"))]
    assert report.parameters == sum(state[key].numel() for key in trained)
    again = save(tmp_path / "again.pyth", name, module.state_dict())
    other = build(name)
    load_backbone(other, FORMATS[name], checkpoint=again)
    assert same(other.state_dict(), state)


def test_safetensors_load_as_well(tmp_path: Path) -> None:
    state = numbers(SHAPES["i3d"])
    save_file(state, str(tmp_path / "weights.safetensors"))
    module = build("i3d")
    load_backbone(module, I3D_WEIGHTS, checkpoint=tmp_path / "weights.safetensors")
    assert same(module.state_dict(), state)


def test_half_precision_is_widened_and_double_refused(tmp_path: Path) -> None:
    state = {key: value.bfloat16() if value.ndim else value for key, value in numbers(SHAPES["i3d"]).items()}
    module = build("i3d")
    load_backbone(module, I3D_WEIGHTS, checkpoint=save(tmp_path / "half.pyth", "i3d", state))
    assert same(module.state_dict(), {key: value.float() if value.ndim else value for key, value in state.items()})
    doubled = {key: value.double() if value.ndim else value for key, value in state.items()}
    assert " of another type (blocks.0.conv.weight torch.float64 for torch.float32, " in refused(
        save(tmp_path / "double.pyth", "i3d", doubled)
    )


def test_nothing_asked_for_is_untrained() -> None:
    module = build("i3d")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    report = load_backbone(module, I3D_WEIGHTS)
    assert same(module.state_dict(), before)
    assert (report.source, report.trained, report.tensors, report.sha256) == ("untrained", False, 0, "")
    assert report.parameters == sum(p.numel() for p in module.parameters())


def refused(path: Path, name: str = "i3d", classes: int | None = 400) -> str:
    """The error's message, after a look that nothing was loaded."""
    module = build(name, classes)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_backbone(module, FORMATS[name], checkpoint=path)
    assert same(module.state_dict(), before) and str(error.value).startswith(str(path))
    return str(error.value)


def test_a_partial_file_is_refused_with_lists(tmp_path: Path) -> None:
    state = numbers(SHAPES["i3d"])
    for key in [key for key in state if key.startswith("blocks.5.")]:
        del state[key]
    state["blocks.9.extra"] = torch.ones(2)
    state["blocks.0.norm.weight"] = torch.ones(3)
    state["blocks.0.norm.bias"] = torch.ones(WIDTH, dtype=torch.int64)
    message = refused(save(tmp_path / "part.pyth", "i3d", state))
    lost = sum(key.startswith("blocks.5.") for key in SHAPES["i3d"])
    assert (
        f"not loaded: it holds pytorchvideo i3d_r50, but not with all the keys and shapes of this one; {lost} missing "
        "(blocks.5.res_blocks.0.branch1_conv.weight, blocks.5.res_blocks.0.branch1_norm.weight, "
        "blocks.5.res_blocks.0.branch1_norm.bias, …), 1 unexpected (blocks.9.extra), "
        "1 of another shape (blocks.0.norm.weight (3,) for (8,)), "
        "1 of another type (blocks.0.norm.bias torch.int64 for torch.float32)"
    ) in message


@pytest.mark.parametrize(("name", "shapes", "found"), [
    ("i3d", SHAPES["r3d"], "torchvision r3d_18, not pytorchvideo i3d_r50"),
    ("i3d", SHAPES["slowfast"], "pytorchvideo slowfast_r50, not pytorchvideo i3d_r50"),
    ("slowfast", SHAPES["i3d"], "pytorchvideo i3d_r50, not pytorchvideo slowfast_r50"),
    ("r3d", SHAPES["i3d"], "pytorchvideo i3d_r50, not torchvision r3d_18"),
    ("r3d", timm_dinov3(8, 1), "timm DINOv3, not torchvision r3d_18"),
])
def test_another_architecture_is_named(tmp_path: Path, name: str, shapes: Shapes, found: str) -> None:
    message = refused(save(tmp_path / "other.pth", name, numbers(shapes)), name)
    assert f"not loaded: it holds {found}; " in message and " missing (" in message and " unexpected (" in message


def test_an_unknown_architecture_is_said_to_be_none_of_ours(tmp_path: Path) -> None:
    message = refused(save(tmp_path / "other.pth", "i3d", {"layers.0.weight": torch.ones(2, 2)}))
    assert "its keys are not those of pytorchvideo i3d_r50; " in message and "1 unexpected (layers.0.weight)" in message


@pytest.mark.parametrize("name", SHAPES)
def test_a_head_is_left_out_only_when_asked_and_by_name(tmp_path: Path, name: str) -> None:
    head = FORMATS[name].head
    state = numbers(SHAPES[name])
    state |= {key: state[key][:174] for key in head}  # of another number of classes
    path = save(tmp_path / "tuned.pth", name, state)
    message = refused(path, name)
    assert "2 of another shape" in message
    assert message.endswith("; set head to false to leave the classification head out")
    module = build(name, classes=None)
    report = load_backbone(module, FORMATS[name], checkpoint=path)
    assert report.left_out == head and report.tensors == len(state) - 2
    assert same(module.state_dict(), {key: value for key, value in state.items() if key not in head})


def test_without_a_head_other_keys_are_still_refused(tmp_path: Path) -> None:
    state = numbers(SHAPES["i3d"]) | {"blocks.6.proj.scale": torch.ones(1)}
    assert "1 unexpected (blocks.6.proj.scale)" in refused(save(tmp_path / "a.pth", "i3d", state), classes=None)


class Runs:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_not_read(tmp_path: Path) -> None:
    state = numbers(SHAPES["i3d"])
    torch.save({"model_state": state, "epoch": Runs(tmp_path / "trace")}, tmp_path / "evil.pyth")
    message = refused(tmp_path / "evil.pyth")
    assert "could run code; only weights are read" in message and "asks for " in message
    assert not (tmp_path / "trace").exists()
    torch.load(tmp_path / "evil.pyth", weights_only=False)
    assert (tmp_path / "trace").exists()  # the file would have done it


@pytest.mark.parametrize(("content", "name"), [
    (b"", "a.pth"), (b"no weights", "a.pth"), (b"PK\x03\x04 broken", "a.pth"), (b"no weights", "a.safetensors"),
])
def test_damaged_files(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert "damaged or not" in refused(tmp_path / name)


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = save(tmp_path / "whole.pyth", "i3d", numbers(SHAPES["i3d"]))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "damaged or not" in refused(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, torch.ones(2), {"model_state": {"a": [1.0]}}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match="a.pth: holds no state dict"):
        read_tensors(tmp_path / "a.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.pth").endswith("none.pth: no such file")


def test_published_weights_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(url: str, path: str, hash_prefix: str | None, progress: bool) -> None:
        asked.append(f"{url} {hash_prefix}")
        save(Path(path), "i3d", numbers(SHAPES["i3d"]))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for _ in range(2):
        module = build("i3d")
        report = load_backbone(module, I3D_WEIGHTS, pretrained=True)
        assert same(module.state_dict(), numbers(SHAPES["i3d"])) and report.source == "I3D_8x8_R50.pyth (downloaded)"
    fetch_url("https://example.org/net-0123abcd.pth")()
    assert [line.rsplit("/", 1)[1] for line in asked] == ["I3D_8x8_R50.pyth None", "net-0123abcd.pth 0123abcd"]


def test_a_failed_download_says_what_to_do() -> None:
    def fetch() -> Path:
        raise urllib.error.URLError("no route")

    weights = WeightFormat("pytorchvideo i3d_r50", fetch, HEAD)
    with pytest.raises(UserError, match=r"could not be downloaded \(.*no route.*checkpoint: path"):
        load_backbone(build("i3d"), weights, pretrained=True)
