"""The headlines in the terminal: from the tables alone, narrow, fast to start, faults in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from kinetoken.core.numbers import write_numbers_table
from kinetoken.report.__main__ import WIDEST, main

ROOT = Path(__file__).parents[3]
PARAMS = """\
build_report:
  seed: 0
  clips_per_class: 1
  descriptions: 1
  marks:
    train_classifier.accuracy: 0.97
    train_tokenizer.psnr_db: 40.0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    write_numbers_table(tmp_path / "plots/train_classifier/numbers.csv", {
        "accuracy": 0.9858, "accuracy_floor": 0.25, "accuracy_ci95_low": 0.98, "accuracy_ci95_high": 0.9904,
    })
    write_numbers_table(tmp_path / "plots/train_tokenizer/numbers.csv", {"psnr_db": 36.51, "psnr_db_floor": 26})
    return tmp_path


def run(folder: Path) -> int:
    return main(["--plots", str(folder / "plots"), "--params", str(folder / "params.yaml")])


def test_a_headline_stands_beside_its_bounds_and_its_target(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line.strip()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["headline", "value", "baseline", "upper bound", "95 % interval", "target", "met"]
    assert cells[2] == ["Reconstruction, all pixels (PSNR)", "36.5 dB", "26.0 dB", "–", "–", "≥ 40.0 dB", "no"]
    assert cells[3] == [
        "Class predicted from codes, position kept", "98.6 %", "25.0 %", "–", "98.0 … 99.0 %", "≥ 97.0 %", "yes",
    ]


def test_what_is_missing_or_damaged_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plots/train_tokenizer/numbers.csv").write_text("name,value\n")
    assert run(folder) == 1
    told = capsys.readouterr()
    assert told.out == "" and "train_tokenizer/numbers.csv: not a table of numbers" in told.err
    assert run(folder / "elsewhere") == 1
    assert "params.yaml: no such file" in capsys.readouterr().err


def test_the_committed_numbers_are_printed_narrow_with_no_heavy_library() -> None:
    program = (
        "import sys; from kinetoken.report.__main__ import main; code = main([]); "
        "print(code, *({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    *lines, last = done.stdout.splitlines()
    assert last == "0" and done.stderr == ""
    assert len(lines) > 40 and max(map(len, lines)) <= WIDEST
    assert "Equation right on held-out frames, from codes" in done.stdout
