"""The page that shows all stages."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from kinetoken.core.progress import Progress
from tools.watch import STALE_SECONDS, main, page, read_statuses, shown_state, window


def shown(run_info: Path, now: float) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(page(read_statuses(run_info), now))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_page_shows_running_done_and_silent_stages(tmp_path: Path) -> None:
    with Progress("first", tmp_path / "first", quiet=True) as first:
        first.phase("drawing", 10, "tracks")
    second = Progress("second", tmp_path / "second", quiet=True)
    second.phase("train", 100, "steps", done=0)
    second.advance(25)
    second.update(epoch=3, metrics={"loss": 0.5})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/status.json").write_text("{")
    text = shown(tmp_path, time.time())
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("│")}
    assert "done" in lines["first"] and "broken" not in text
    assert all(word in lines["second"] for word in ("running", "epoch 3", "25/100 steps (25%)", "loss 0.5", "s ago"))
    assert "no heartbeat" in shown(tmp_path, time.time() + STALE_SECONDS + 1)


def test_statuses_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("first", tmp_path / "first", quiet=True) as first:
        first.phase("drawing", 10, "tracks")
    monkeypatch.setattr("sys.argv", ["watch", "--json", "--run-info", str(tmp_path)])
    assert main() == 0
    assert [(one["stage"], one["state"]) for one in json.loads(capsys.readouterr().out)] == [("first", "done")]


def test_a_finished_stage_is_never_stale() -> None:
    assert shown_state({"state": "failed", "heartbeat": 0.0}, 1e9) == "failed"
    assert shown_state({"state": "running", "heartbeat": 100.0}, 100.0 + STALE_SECONDS - 1) == "running"
    assert shown_state({"state": "running", "heartbeat": 100.0}, 100.0 + STALE_SECONDS + 1) == "no heartbeat"


def test_the_page_fits_the_terminal_and_scrolls(tmp_path: Path) -> None:
    statuses = [
        {"stage": f"stage_{n:02d}", "state": "running" if n == 29 else "done", "heartbeat": 0.0, "phase": "train " * 40,
         "epoch": None, "total": None, "done": 0, "unit": "", "rate": None, "remaining_s": None, "metrics": {},
         "reason": None, "place": "stage 30 of 31, about 2 min left"}
        for n in range(30)
    ]
    for lines, scrolled, first, last in ((24, 0, 11, 29), (24, -5, 6, 24), (24, -100, 0, 18), (80, 0, 0, 29)):
        console = Console(width=100, height=lines, file=io.StringIO())
        console.print(page(statuses, 1.0, lines, scrolled))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert len(text.splitlines()) <= lines
        assert [f"stage_{n:02d}" in text for n in range(30)] == [first <= n <= last for n in range(30)]
        assert "stage 30 of 31, about 2 min left" in text


def test_window_never_leaves_the_rows() -> None:
    for count in range(8):
        for height in range(1, 8):
            for first in range(-9, 9):
                rows = window(count, height, first)
                assert len(rows) == min(count, height) and all(0 <= row < count for row in rows)
