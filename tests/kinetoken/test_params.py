"""params.yaml sections: strict reading, profiles laid over."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from kinetoken import params as module
from kinetoken.errors import UserError
from kinetoken.params import Fraction, Positive, PositiveFloat, Range, load_params, overlay


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: PositiveFloat
    levels: tuple[Positive, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    count: Positive
    kind: Literal["one", "two"]
    name: str | None
    on: bool
    share: Fraction
    band: tuple[float, float]
    temperature: Annotated[float, Range(gt=0, lt=1)] | None
    weights: dict[str, PositiveFloat]
    inner: Inner

    def __post_init__(self) -> None:
        if self.band[0] > self.band[1]:
            raise ValueError("band must rise")


GOOD: dict[str, Any] = {
    "count": 3, "kind": "one", "name": None, "on": True, "share": 0.5, "band": [1, 2.5], "temperature": 0.5,
    "weights": {"a": 1}, "inner": {"rate": 0.001, "levels": [8, 5]},
}


def load(tmp_path: Path, content: Any, section: str = "part") -> Section:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"part": content}), encoding="utf-8")
    return load_params(path, section, Section)


def changed(**values: Any) -> dict[str, Any]:
    return {**GOOD, **values}


def test_good_section_becomes_its_dataclass(tmp_path: Path) -> None:
    section = load(tmp_path, GOOD)
    assert section == Section(3, "one", None, True, 0.5, (1.0, 2.5), 0.5, {"a": 1.0}, Inner(0.001, (8, 5)))
    assert isinstance(section.band[0], float) and isinstance(section.weights["a"], float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        section.count = 4  # type: ignore[misc]


@pytest.mark.parametrize("content, message", [
    (changed(extra=1), "part.extra: unknown key; known are band, count, inner"),
    ({k: v for k, v in GOOD.items() if k != "kind"}, "part.kind: missing"),
    (changed(count=0), "part.count: must be >= 1, is 0"),
    (changed(count=2.5), "part.count: expected a whole number, found 2.5"),
    (changed(count=True), "part.count: expected a whole number, found True"),
    (changed(count=None), "part.count: expected a whole number, found None"),
    (changed(kind="three"), "part.kind: must be one of one, two, is 'three'"),
    (changed(name=5), "part.name: expected text, found 5"),
    (changed(on="yes"), "part.on: expected true or false, found 'yes'"),
    (changed(share=1.5), "part.share: must be >= 0 and <= 1, is 1.5"),
    (changed(share=float("nan")), "part.share: must be finite, is nan"),
    (changed(temperature=1.0), "part.temperature: must be > 0 and < 1, is 1.0"),
    (changed(band=[1, 2, 3]), "part.band: expected 2 values, found 3"),
    (changed(band=5), "part.band: expected a list, found 5"),
    (changed(band=[3, 2]), "part: band must rise"),
    (changed(weights={"a": -1}), "part.weights.a: must be > 0, is -1"),
    (changed(weights=[1]), r"part.weights: expected keys and values, found \[1\]"),
    (changed(inner={"rate": "1e-3", "levels": []}), r"part.inner.rate: expected a number \(write 0.001, not 1e-3\)"),
    (changed(inner={"rate": 1, "levels": [8, 0]}), r"part.inner.levels\[1\]: must be >= 1, is 0"),
    (changed(inner=None), "part.inner: expected keys and values, found None"),
    (None, "part: expected keys and values, found None"),
])
def test_each_fault_is_one_message_with_file_and_key(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'params.yaml'}: ")
    assert "\n" not in str(error.value)


def test_exponent_without_a_point_is_text_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"part": GOOD}).replace("rate: 0.001", "rate: 1e-3"), encoding="utf-8")
    with pytest.raises(UserError, match="write 0.001, not 1e-3"):
        load_params(path, "part", Section)


def test_missing_sections_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no section 'other'"):
        load(tmp_path, GOOD, "other")
    with pytest.raises(UserError, match="no section 'part.deeper'"):
        load(tmp_path, GOOD, "part.deeper.still")


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"a: [1\nb: 2", b"\xff\xfe\x00"])
def test_files_that_are_no_params(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_params(path, "part", Section)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        load_params(tmp_path / name, "part", Section)


PARAMS = "# head\ntrain:\n  epochs: 50  # many\n  rates:\n    - 0.1\nother:\n  keep: 1\n"


def test_overlay_changes_leaves_and_keeps_comments(tmp_path: Path) -> None:
    params, profile = tmp_path / "params.yaml", tmp_path / "gpu.yaml"
    params.write_text(PARAMS)
    profile.write_text("train:\n  epochs: 2\n  rates: [0.2, 0.3]\n")
    assert overlay(profile, params) == 2
    assert yaml.safe_load(params.read_text()) == {"train": {"epochs": 2, "rates": [0.2, 0.3]}, "other": {"keep": 1}}
    assert "# head" in params.read_text() and "# many" in params.read_text()
    once = params.read_bytes()
    assert overlay(profile, params) == 0
    assert params.read_bytes() == once


@pytest.mark.parametrize("text, fault", [
    ("train:\n  epoch: 2\n", "'train.epoch' is not in params.yaml"),
    ("none:\n  a: 1\n", "'none' is not in params.yaml"),
    ("train: 5\n", "'train' is a section in one file and a value in the other"),
    ("train:\n  epochs:\n    a: 1\n", "'train.epochs' is a section in one file and a value in the other"),
])
def test_overlay_refuses_what_params_do_not_have_and_changes_nothing(tmp_path: Path, text: str, fault: str) -> None:
    params, profile = tmp_path / "params.yaml", tmp_path / "gpu.yaml"
    params.write_text(PARAMS)
    profile.write_text("other:\n  keep: 2\n" + text)
    with pytest.raises(UserError, match=fault):
        overlay(profile, params)
    assert params.read_text() == PARAMS


def test_overlay_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("gpu.yaml").write_text("train:\n  epochs: 2\n")
    monkeypatch.setattr("sys.argv", ["params", "overlay", "gpu.yaml"])
    assert module.main() == 0
    assert "1 values set" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["params", "overlay", "none.yaml"])
    assert module.main() == 1
    assert capsys.readouterr().err == "error: none.yaml: no such file\n"
