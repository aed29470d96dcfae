"""The stage that faults are tried on."""

from pathlib import Path

import pytest

from tests.support.fault_stage import SCRIPT, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "letters.py").write_text(SCRIPT)
    (tmp_path / "params.yaml").write_text("letters:\n  size: 2\n")
    (tmp_path / "in.txt").write_text("old ")
    return Stage(tmp_path)
