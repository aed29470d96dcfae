"""Predictions are given to their clips: by the track, or by order where a table does not name tracks."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.report.collecting import aligned
from kinetoken.report.results import Results

TEST = CodesTable(
    np.array([7, 3, 9], np.int32), np.array(["a", "b", "a"]), np.array(["test"] * 3), np.zeros((3, 1, 1, 1), np.int32),
    CodesMeta((1, 1, 1), 10, "fsq", (), ""),
)


@pytest.mark.parametrize(("table", "found"), [
    ("actual,predicted\na,a\nb,a\na,b\n", ["a", "a", "b"]),
    ("actual,predicted,track_id\na,b,9\na,a,7\nb,a,3\n", ["a", "a", "b"]),  # in another order
    ("actual,predicted\na,a\na,a\nb,b\n", None),  # of other clips
    ("actual,predicted,track_id\na,b,9\na,a,7\n", None),  # lacks one
    ("actual,predicted,track_id\nb,b,9\na,a,7\nb,a,3\n", None),  # says another class of a track
])
def test_predictions_of_each_clip(tmp_path: Path, table: str, found: list[str] | None) -> None:
    (tmp_path / "confusion.csv").write_text(table)
    assert aligned(Results({}, tmp_path), "confusion.csv", TEST) == found
