"""A tiny action set."""

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
