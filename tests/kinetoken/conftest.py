"""A tiny action set, and a tiny model of every kind."""

import shutil
from pathlib import Path

import pytest

from kinetoken.actions.generation import generate
from tests.support.action_set import TINY


@pytest.fixture(scope="session")
def action_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 train, 14 validation and 14 test clips of 10 to 14 frames, 32×32. Read only."""
    folder = tmp_path_factory.mktemp("actions") / "set"
    generate(TINY, folder)
    return folder


@pytest.fixture
def own_folder(action_folder: Path, tmp_path: Path) -> Path:
    """A copy of the set to be changed."""
    return Path(shutil.copytree(action_folder, tmp_path / "set"))


@pytest.fixture(scope="session")
def applied(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with codes.parquet of `tiny_data`, and in models/ one that never trained of every kind. Read only."""
    from tests.support.applied import save_models

    return save_models(tmp_path_factory.mktemp("applied"), tiny_data)
