"""Params, the ledger and models' folders: any bytes and any values end in a result or a sentence."""

import dataclasses
import json
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kinetoken.core.params import LARGEST_FILE, load_params, read_yaml
from kinetoken.core.stage import Hardware
from kinetoken.generation.generator import GeneratorParams
from kinetoken.heads.classifier import ClassifierParams, build_classifier, load_classifier, save_classifier
from kinetoken.heads.position import PositionParams, build_position_head, load_position_head, save_position_head
from kinetoken.heads.video_classifier import (
    BaselinesParams,
    VideoClassifier,
    load_video_classifier,
    save_video_classifier,
)
from kinetoken.llm.ledger import Ledger
from kinetoken.llm.outcomes import Outcome
from kinetoken.physics.world import World
from kinetoken.scenes.camera import Camera
from kinetoken.scenes.motion import Trajectories
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from kinetoken.tokenizer.quantizers import QuantizerParams
from tests.fuzz.mutations import changed, damaged, quick, reads

P = TypeVar("P")
ROOT = Path(__file__).parents[2]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
SECTIONS: dict[str, Any] = {
    "generate_trajectories.motion": Trajectories, "train_generator": GeneratorParams, "hardware": Hardware,
}


def nested(levels: int, of: str, begin: str = "") -> str:
    """Anchors, each a list of ten of the one before."""
    lines = [f"a0: &a0 {begin or '[1, 1]'}"]
    return "\n".join(lines + [f"a{i}: &a{i} {of.format(', '.join([f'*a{i - 1}'] * 10))}" for i in range(1, levels)])


HOSTILE = {
    "a billion of laughs": nested(10, "[{}]"), "a billion of merged keys": nested(10, "{{<<: [{}]}}", "{x: 1}"),
    "a list within itself": "a: &a [*a]", "a mapping within itself": "a: &a {b: *a}", "lists in lists": "[" * 5000,
    "mappings in mappings": "{a: " * 2000, "lists in lines": "- " * 20_000, "no date": "a: 2020-99-99",
    "many digits": "a: " + "9" * 5000, "no float": "a: !!float abc", "no time": "a: !!timestamp abc",
    "no bool": "a: !!bool abc", "no int": "a: !!int ''", "a call": "a: !!python/object/apply:os.getcwd []",
    "a name": "a: !!python/name:os.getcwd", "bytes": "\x00\x01", "a key that is a list": "? [1]\n: 2",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(HOSTILE[name])
    assert "not valid YAML" in str(reads(lambda: read_yaml(tmp_path / "params.yaml")))


def test_anchors_as_people_use_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, z: 3}\nc: *a\n")
    assert read_yaml(tmp_path / "params.yaml")["b"] == {"x": 1, "y": [1, 2], "z": 3}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large"])
def test_yaml_is_read_from_files_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as sink:
            sink.truncate(LARGEST_FILE + 1)
    assert reads(lambda: read_yaml(path)) is not None


@pytest.mark.parametrize("section", SECTIONS)
@quick
@given(data=st.data())
def test_any_params(section: str, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "params.yaml"
    node: Any = yaml.safe_load(PARAMS)
    for key in section.split("."):
        node = node[key]
    wanted: Any = data.draw(changed(node))
    for key in reversed(section.split(".")):
        wanted = {key: wanted}
    path.write_text(json.dumps(wanted) if data.draw(st.booleans()) else yaml.safe_dump(wanted), encoding="utf-8")
    reads(lambda: load_params(path, section, SECTIONS[section]))


@quick
@given(data=st.data())
def test_any_bytes_of_params(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "params.yaml"
    marks = st.text("&*a1[]{},:!-? \n<", max_size=60).map(str.encode)
    path.write_bytes(data.draw(damaged(PARAMS[:1500].encode()) | marks))
    reads(lambda: load_params(path, "generate_trajectories.motion", Trajectories))


# ---- the ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ledger") / "answers.sqlite"
    with Ledger(path) as book:
        for key in ("a" * 64, "b" * 64):
            attempt = book.begin(key, '{"messages": []}', "http://host/v1", 0.5)
            book.store(attempt, 200, b'{"choices": [{"message": {"content": "{}"}}]}' * 20, 0.1)
            book.settle(attempt, Outcome.ANSWERED, model="m", tokens=(5, 6), cost=0.1, state="answered")
    with sqlite3.connect(path) as rows:
        rows.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


def use(path: Path, read_only: bool) -> None:
    with Ledger(path, read_only=read_only) as book:
        for key in ("a" * 64, "b" * 64, "c" * 64):
            book.find(key)
        book.attempts(["a" * 64, "b" * 64])


@pytest.mark.parametrize("read_only", [True, False])
@quick
@given(data=st.data())
def test_any_ledger(read_only: bool, ledger: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(data.draw(damaged(ledger)))
    reads(lambda: use(path, read_only))


WRONG = st.none() | st.integers(-9, 2**62) | st.floats() | st.text(max_size=9) | st.binary(max_size=9)


@quick
@given(data=st.data())
def test_any_values_in_a_ledger(ledger: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(ledger)
    table, column = data.draw(st.sampled_from((
        ("requests", "outcome"), ("requests", "request"), ("attempts", "raw"), ("attempts", "raw_crc"),
        ("attempts", "status"), ("attempts", "outcome"), ("attempts", "model"), ("attempts", "seconds"),
        ("attempts", "prompt_tokens"), ("attempts", "cost"), ("attempts", "cost_known"), ("attempts", "key"),
    )))
    with sqlite3.connect(path) as rows:
        try:
            rows.execute(f"UPDATE {table} SET {column} = ?", (data.draw(WRONG),))
        except sqlite3.Error:
            return  # the schema refuses it
    reads(lambda: use(path, True))


# ---- models


Loader = Callable[[Path], torch.nn.Module]
MODELS: dict[str, Loader] = {
    "tokenizer": load_tokenizer, "classifier": load_classifier, "position": load_position_head,
    "video_classifier": load_video_classifier,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each kind, never trained."""
    folder, grid, vectors = tmp_path_factory.mktemp("models"), (2, 2, 2), torch.randn(9, 2)
    shape = NetworkParams(
        stem="patch", causal=True, fine_channels=4, fine_blocks=1, coarse_channels=4, coarse_blocks=1
    )
    quantizer = QuantizerParams(kind="fsq", levels=(3, 3), codebook_size=9)
    save_tokenizer(folder / "tokenizer", Tokenizer(shape, quantizer, 16))
    small = dataclasses.replace(section("train_classifier", ClassifierParams), channels=4, blocks=1, maps=2, width=4)
    head = build_classifier(small, "soft_argmax", ("a", "b"), vectors, grid)
    save_classifier(folder / "classifier", head, small, "ab" * 32)
    narrow = dataclasses.replace(section("train_position", PositionParams), channels=4, blocks=1, width=4)
    world = World(floor_y=-1.0, ball_radius=0.2, fps=16.0, num_frames=8)
    places = build_position_head(narrow, vectors, grid, Camera.of(world, 16), np.full((3, 8, 3), 3.0))
    save_position_head(folder / "position", places, "ab" * 32, {"px": [0.2] * 8, "depth_fraction": [0.1] * 8})
    pixels = dataclasses.replace(section("train_baselines", BaselinesParams), channels=2, maps=2, width=4)
    judge = VideoClassifier(("a", "b"), (8, 16, 16), channels=2, maps=2, width=4, still=pixels.still)
    save_video_classifier(folder / "video_classifier", judge, pixels)
    return folder


def section(name: str, kind: type[P]) -> P:
    return load_params(ROOT / "params.yaml", name, kind)


@pytest.fixture
def model(models: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return Path(shutil.copytree(models / request.param, tmp_path / request.param))


each_model = pytest.mark.parametrize("model", MODELS, indirect=True)


@each_model
def test_sound_models_are_loaded(model: Path) -> None:
    assert reads(lambda: MODELS[model.name](model)) is None


@each_model
@quick
@given(data=st.data())
def test_any_config(model: Path, models: Path, data: st.DataObject) -> None:
    config = json.loads((models / model.name / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(data.draw(changed(config))))
    reads(lambda: MODELS[model.name](model))


@each_model
@quick
@given(data=st.data())
def test_any_bytes_of_a_model(model: Path, models: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(("config.json", "model.safetensors")))
    for each in ("config.json", "model.safetensors"):
        content = (models / model.name / each).read_bytes()
        (model / each).write_bytes(data.draw(damaged(content)) if each == name else content)
    reads(lambda: MODELS[model.name](model))


@each_model
def test_one_weight_that_is_not_finite_is_named(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    for place, (name, tensor) in enumerate(tensors.items()):
        if tensor.is_floating_point() and tensor.numel():
            kept = tensor.clone()
            tensor.view(-1)[-1] = float("nan") if place % 2 else float("-inf")
            save_file(tensors, model / "model.safetensors")
            told = reads(lambda: MODELS[model.name](model))
            assert f"{name} holds NaN or infinite values" in str(told)
            tensors[name] = kept


WIDE = {
    "tokenizer": ("network", "coarse_channels"), "classifier": ("network", "channels"),
    "position": ("network", "width"), "video_classifier": ("network", "channels"),
}


@each_model
@pytest.mark.parametrize("width", [10**7, 10**12, 2**62])
def test_a_network_of_ten_million_channels_takes_no_memory(model: Path, width: int) -> None:
    config = json.loads((model / "config.json").read_text())
    part, key = WIDE[model.name]
    config[part][key] = width
    (model / "config.json").write_text(json.dumps(config))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reads(lambda: MODELS[model.name](model)) is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB


@each_model
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "absent"])
def test_a_model_is_read_from_files_alone(model: Path, file: str, kind: str) -> None:
    path = model / file
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    assert reads(lambda: MODELS[model.name](model)) is not None


def test_models_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("no folder")
    for load in MODELS.values():
        assert reads(lambda load=load: load(tmp_path / "models")) is not None
        assert reads(lambda load=load: load(tmp_path / "models" / "tokenizer")) is not None
