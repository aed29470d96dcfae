"""The code that a card shows runs, on models of every kind, and is what the library's own documentation shows."""

import os
from pathlib import Path

import pytest

import kinetoken
from kinetoken.cards.folders import read_model
from kinetoken.cards.model_card import _loads
from kinetoken.cards.models import MODELS, Model
from tests.support.models import working_folder


@pytest.fixture(scope="module")
def folder(tiny_data: Path, coded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = working_folder(tiny_data, coded, tmp_path_factory.mktemp("loading"))
    (folder / "codes.parquet").symlink_to(coded / "codes.parquet")
    return folder


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_code_of_a_card_runs(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    parts = read_model(folder / "models" / model.name)
    assert not isinstance(parts, str) and all(part.values > 1000 for part in parts)
    for text in _loads(model, parts, None):
        exec(compile(text, model.name, "exec"), {})
    assert os.getcwd() == str(folder)


@pytest.mark.parametrize("model", [model for model in MODELS if model.loads], ids=lambda model: model.name)
def test_the_line_that_loads_is_that_of_the_documentation(model: Model) -> None:
    line = next(line for line in model.loads.splitlines() if "kinetoken.load_" in line).partition("  #")[0]
    name = line.partition("kinetoken.")[2].partition("(")[0]
    assert f">>> {line}\n" in (getattr(kinetoken, name).__doc__ or "")
