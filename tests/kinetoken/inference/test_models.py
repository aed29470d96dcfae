"""Model folders are told apart, and every fault is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.inference.models import KINDS, chosen_device, kind_of, load_model

NAMES = ("tokenizer", "classifier", "position", "video_classifier", "i3d_magvit", "predictor", "generator")


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_is_known_and_loads(applied: Path, name: str) -> None:
    folder = applied / "models" / name
    assert kind_of(folder) == name
    model = load_model(folder, name)
    assert isinstance(model, torch.nn.Module) and not model.training
    assert load_model(model, name) is model


def test_detectors_are_known_and_load(applied: Path) -> None:
    models = applied / "models"
    for name in ("transformer", "magvit"):
        assert kind_of(models / "persistence" / name) == "persistence"
    tokenizer = load_model(models / "tokenizer", "tokenizer")
    assert load_model(models / "persistence" / "magvit", "persistence", tokenizer=tokenizer).name == "magvit"
    with pytest.raises(UserError, match="reads codes of tokenizer .*, none was given"):
        load_model(models / "persistence" / "magvit", "persistence")


@pytest.mark.parametrize("asked", NAMES)
@pytest.mark.parametrize("given", [*NAMES, "persistence/magvit"])
def test_no_kind_passes_for_another(applied: Path, asked: str, given: str) -> None:
    if asked == given:
        return
    folder = applied / "models" / given
    words = KINDS[given.split("/")[0]].words
    with pytest.raises(UserError) as error:
        load_model(folder, asked)
    assert str(error.value) == f"{folder}: {words}; needed is {KINDS[asked].words}"


def test_what_is_no_model_folder_is_named(applied: Path, tmp_path: Path) -> None:
    def refused(words: str, folder: Path) -> None:
        with pytest.raises(UserError, match=words):
            load_model(folder, "classifier", "video_classifier")

    refused("none: no such folder; a model folder holds config.json and model.safetensors", tmp_path / "none")
    refused("a file, not a model folder", applied / "codes.parquet")
    refused("config.json: ", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    refused("config.json is of no kind of model that this version of Kinetoken knows", tmp_path)
    refused("a tokenizer; needed is a classifier of codes or a video classifier", applied / "models" / "tokenizer")


def changed(folder: Path, where: Path, **changes: object) -> Path:
    shutil.copytree(folder, where)
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps({**config, **changes}))
    return where


def test_folders_of_another_version_or_damaged_are_named(applied: Path, tmp_path: Path) -> None:
    classifier = applied / "models" / "classifier"
    network = json.loads((classifier / "config.json").read_text())["network"]
    newer = changed(classifier, tmp_path / "newer", network={**network, "layers": 3})
    with pytest.raises(UserError, match=r"newer: does not fit this version of Kinetoken \(.*layers.*\); use the"):
        load_model(newer, "classifier")
    wider = changed(classifier, tmp_path / "wider", network={**network, "width": 24})
    with pytest.raises(UserError, match=r"wider/model.safetensors: .* has shape"):
        load_model(wider, "classifier")
    empty = changed(classifier, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    with pytest.raises(UserError, match="empty/model.safetensors"):
        load_model(empty, "classifier")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda: PyTorch finds no GPU"):
        chosen_device("cuda")
    with pytest.raises(UserError, match="--device tpu: choose auto, cpu or cuda"):
        chosen_device("tpu")  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto") == torch.device("cuda")
