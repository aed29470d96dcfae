"""Outputs that say why they are empty: written in each form, read back, and told from all others."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kinetoken.core.absence import why_absent, write_absent
from kinetoken.core.artifacts import read_config, write_csv, write_json
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers

REASON = 'all clips have one class ("a, b"), and a classifier needs two'


@pytest.mark.parametrize("name", [
    "models/classifier", "curves.csv", "metrics.json", "metrics/.partial-curves.csv", "tracks.parquet",
])
def test_the_reason_is_read_back(tmp_path: Path, name: str) -> None:
    write_absent(tmp_path / name, REASON)
    assert why_absent(tmp_path / name) == REASON


@pytest.mark.parametrize("name", ["metrics.json", "metrics"])
def test_metrics_hold_no_sentence_and_are_still_known_to_be_absent(tmp_path: Path, name: str) -> None:
    write_absent(tmp_path / name, REASON, metrics=True)
    [file] = (path for path in tmp_path.rglob("*.json"))
    assert json.loads(file.read_text()) == {"not_measured": 1}
    assert why_absent(tmp_path / name) == "these data allow no such result"


def test_pages_pictures_and_lines_can_be_opened(tmp_path: Path) -> None:
    for name in ("page.md", "picture.png", "rows.jsonl"):
        write_absent(tmp_path / name, REASON)
        assert why_absent(tmp_path / name) is None, "nothing reads these for a reason"
    assert REASON in (tmp_path / "page.md").read_text() and (tmp_path / "rows.jsonl").read_text() == ""
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 7 * len(REASON) and len(picture.convert("L").getcolors() or ()) > 1, "it holds writing"


def test_a_form_that_cannot_hold_a_reason_is_a_fault_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no form of a .webm file"):
        write_absent(tmp_path / "clip.webm", REASON)


def test_ordinary_outputs_are_not_taken_for_absent_ones(tmp_path: Path) -> None:
    write_csv(tmp_path / "curves.csv", pd.DataFrame({"epoch": [1], "not_measured": [2.0]}))
    write_json(tmp_path / "metrics.json", {"accuracy": 1.0})
    (tmp_path / "cut.json").write_text("{")
    (tmp_path / "list.json").write_text(json.dumps(["not_measured"]))
    (tmp_path / "model").mkdir()
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    for path in (*tmp_path.iterdir(), tmp_path / "nothing.csv", tmp_path / "nothing"):
        assert why_absent(path) is None, path


def test_readers_of_numbers_and_models_know_of_it(tmp_path: Path) -> None:
    write_absent(tmp_path / "numbers.csv", REASON)
    assert read_numbers(tmp_path / "numbers.csv") == {}
    write_absent(tmp_path / "model", REASON)
    with pytest.raises(UserError, match="model: no model was trained: all clips have one class"):
        read_config(tmp_path / "model")
