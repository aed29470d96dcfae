"""The log file of a stage: what it said, no progress bars, the error that ended it."""

import sys
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.log import logged


def test_both_streams_go_to_the_file_and_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path / "deep/log.txt"):
        print("said")
        print("warned", file=sys.stderr)
        print("\r50 %", end="", file=sys.stderr)
    print("after")
    assert (tmp_path / "deep/log.txt").read_text() == "said\nwarned\n"
    shown = capsys.readouterr()
    assert shown.out == "said\nafter\n" and "warned" in shown.err and "50 %" in shown.err


def test_a_new_run_has_a_new_log(tmp_path: Path) -> None:
    for word in ("first", "second"):
        with logged(tmp_path / "log.txt"):
            print(word)
    assert (tmp_path / "log.txt").read_text() == "second\n"


def test_the_error_that_ended_it_is_there(tmp_path: Path) -> None:
    streams = sys.stdout, sys.stderr
    with pytest.raises(UserError), logged(tmp_path / "log.txt"):
        raise UserError("params.yaml: no")
    assert (tmp_path / "log.txt").read_text() == "error: params.yaml: no\n"
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "log.txt"):
        _ = 1 / 0
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log and "ZeroDivisionError" in log
    assert (sys.stdout, sys.stderr) == streams


def test_no_file_no_change() -> None:
    before = sys.stdout
    with logged(None):
        assert sys.stdout is before
