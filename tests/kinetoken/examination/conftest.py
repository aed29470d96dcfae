"""A motion set for the toys, drawn once."""

from pathlib import Path

import pytest

from kinetoken.core.progress import Progress
from kinetoken.examination.motion_set import MotionSet, SetRequest, open_motion_set


@pytest.fixture(scope="session")
def toy_set(tmp_path_factory: pytest.TempPathFactory) -> MotionSet:
    """80 clips of 4 frames of 16 × 16 pixels at 4 a second. Read only."""
    folder: Path = tmp_path_factory.mktemp("motion_set") / "set"
    return open_motion_set(SetRequest(16, 4, 4.0, 80), folder, Progress.silent())
