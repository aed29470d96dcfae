"""The loader's benchmark, run on a tiny set."""

import sys
from pathlib import Path

import pytest

from benchmarks import loader
from kinetoken.actions.generation import generate
from tests.support.action_set import TINY


def test_every_way_reads_the_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(TINY, tmp_path / "set")
    words = f"loader --folder {tmp_path / 'set'} --clips 10 --rounds 1 --segments 4 --short-side 32 --crop 32"
    monkeypatch.setattr(sys, "argv", words.split())
    loader.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("10 clips, ")
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "decoder", "decoder, RGB", "loader, training", "loader, evaluation", "loader, augmented", "loader, cached",
    ]
    assert all(float(line.split()[-1].rstrip("%")) > 0 for line in lines[1:])
