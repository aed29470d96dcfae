"""params.yaml sections: strict reading, profiles laid over."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from kinetoken.core import params as module
from kinetoken.core.errors import UserError
from kinetoken.core.params import Fraction, NoParams, Positive, PositiveFloat, Range, load_params, overlay


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


@dataclasses.dataclass(frozen=True)
class Cube:
    name: Literal["cube", "box"]
    side: Positive


@dataclasses.dataclass(frozen=True)
class Ball:
    name: Literal["ball"]
    radius: PositiveFloat

    def __post_init__(self) -> None:
        if self.radius > 9:
            raise ValueError("radius leaves the room")


@dataclasses.dataclass(frozen=True)
class Room:
    thing: Cube | Ball
    spare: Cube | Ball | None


def room(tmp_path: Path, thing: Any, spare: Any = None) -> Room:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"room": {"thing": thing, "spare": spare}}), encoding="utf-8")
    return load_params(path, "room", Room)


def test_of_several_dataclasses_the_name_chooses_one(tmp_path: Path) -> None:
    """Each name of a Literal leads to its class; the other fields, bounds and checks are that class's own."""
    cube, ball = {"name": "cube", "side": 2}, {"name": "ball", "radius": 1}
    assert room(tmp_path, cube) == Room(Cube("cube", 2), None)
    assert room(tmp_path, {**cube, "name": "box"}, ball) == Room(Cube("box", 2), Ball("ball", 1.0))
    assert isinstance(room(tmp_path, ball, cube).thing, Ball)


@pytest.mark.parametrize("thing, message", [
    ({"name": "cone", "side": 2}, r"room\.thing\.name: must be one of cube, box, ball, is 'cone'"),
    ({"side": 2}, r"room\.thing\.name: must be one of cube, box, ball, is None"),
    ({"name": None, "side": 2}, r"room\.thing\.name: must be one of cube, box, ball, is None"),
    ("cube", r"room\.thing\.name: must be one of cube, box, ball"),
    (None, r"room\.thing\.name: must be one of cube, box, ball"),
    ({"name": "ball", "side": 2}, r"room\.thing\.side: unknown key; known are name, radius"),
    ({"name": "ball"}, r"room\.thing\.radius: missing"),
    ({"name": "cube", "side": 0}, r"room\.thing\.side: must be >= 1, is 0"),
    ({"name": "ball", "radius": 10}, r"room\.thing: radius leaves the room"),
])
def test_faults_of_a_chosen_dataclass_are_named(tmp_path: Path, thing: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        room(tmp_path, thing)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [["cube"], {"cube": 1}])
def test_a_name_that_is_no_text_is_named_too(tmp_path: Path, name: Any) -> None:
    with pytest.raises(UserError, match=r"room\.thing\.name: must be one of cube, box, ball"):
        room(tmp_path, {"name": name, "side": 2})


def test_the_optional_of_several_may_be_left_out_and_is_checked_if_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"room\.spare\.name: must be one of cube, box, ball, is 'egg'"):
        room(tmp_path, {"name": "cube", "side": 2}, {"name": "egg"})


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
    ("train:\n  deep:\n    a: 2\n", "'train.deep' is not in params.yaml"),
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


def test_overlay_adds_what_a_section_leaves_to_its_default(tmp_path: Path) -> None:
    params, profile = tmp_path / "params.yaml", tmp_path / "gpu.yaml"
    params.write_text(PARAMS)
    profile.write_text("train:\n  patience: 3\n")
    assert overlay(profile, params) == 1
    assert yaml.safe_load(params.read_text())["train"]["patience"] == 3
    assert overlay(profile, params) == 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frugal:
    epochs: Positive
    patience: Positive = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lavish(Frugal):
    width: Positive
    depth: Positive = 2


def test_a_default_stands_for_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "train: {epochs: 2}\nchecked: {epochs: 2, patience: 3}\n"
        "bad: {epochs: 2, patience: 0}\ntypo: {epochs: 2, patient: 1}\n"
    )
    assert load_params(path, "train", Frugal) == Frugal(epochs=2, patience=5)
    assert load_params(path, "checked", Frugal) == Frugal(epochs=2, patience=3)
    with pytest.raises(UserError, match=r"bad\.patience: must be >= 1"):
        load_params(path, "bad", Frugal)
    with pytest.raises(UserError, match=r"typo\.patient: unknown key"):
        load_params(path, "typo", Frugal)


def test_what_is_left_out_does_not_choose_among_dataclasses(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("few: {epochs: 2}\nmany: {epochs: 2, width: 4}\n")
    assert load_params(path, "few", Frugal | Lavish) == Frugal(epochs=2)  # type: ignore[arg-type]
    assert load_params(path, "many", Frugal | Lavish) == Lavish(epochs=2, width=4)  # type: ignore[arg-type]


def test_a_stage_without_params_needs_no_file(tmp_path: Path) -> None:
    assert load_params(tmp_path / "none.yaml", "any", NoParams) == NoParams()


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
