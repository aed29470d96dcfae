"""Progress files: whole at any instant, alive while the work is silent, final at the end."""

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kinetoken.core import progress as module
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress, clock, describe, last_seconds, replace_text
from kinetoken.core.schedule import Place


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text(encoding="utf-8"))


def test_status_tells_what_a_watcher_needs(tmp_path: Path) -> None:
    with Progress("train_classifier", tmp_path, quiet=True) as progress:
        assert status(tmp_path)["state"] == "running"
        progress.phase("train", 200, "steps", done=100)
        time.sleep(0.05)
        progress.advance(25)
        progress.update(epoch=3, metrics={"loss": 0.123456789}, device="cuda:0")
        now = status(tmp_path)
        assert (now["stage"], now["phase"], now["epoch"]) == ("train_classifier", "train", 3)
        assert (now["done"], now["total"], now["device"]) == (125, 200, "cuda:0")
        assert now["metrics"] == {"loss": 0.12346} and now["pid"] > 0
        assert abs(now["heartbeat"] - time.time()) < 5
        assert 0 < now["rate"] <= 25 / 0.05  # only what this run did counts
        assert now["remaining_s"] == pytest.approx(75 / now["rate"], abs=0.2)
    assert (status(tmp_path)["state"], status(tmp_path)["remaining_s"]) == ("done", None)
    assert (tmp_path / "PROGRESS.txt").read_text().startswith("train_classifier: done\ntrain, epoch 3, 125/200 steps")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["PROGRESS.txt", "status.json"]


@pytest.mark.parametrize("error, reason", [
    (UserError("params.yaml: no"), "params.yaml: no"),
    (RuntimeError("lost\n  two lines"), "RuntimeError: lost two lines"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
])
def test_failure_leaves_its_reason(tmp_path: Path, error: BaseException, reason: str) -> None:
    with pytest.raises(type(error)), Progress("stage", tmp_path, quiet=True) as progress:
        progress.phase("half", 2)
        raise error
    assert (status(tmp_path)["state"], status(tmp_path)["reason"]) == ("failed", reason)
    assert reason in (tmp_path / "PROGRESS.txt").read_text()


def test_heartbeat_goes_on_while_the_work_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.HEARTBEAT_SECONDS <= 30
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    with Progress("stage", tmp_path, quiet=True):
        first = status(tmp_path)["heartbeat"]
        time.sleep(0.3)
        assert status(tmp_path)["heartbeat"] > first
    last = status(tmp_path)["heartbeat"]
    time.sleep(0.1)
    assert status(tmp_path)["heartbeat"] == last, "the heart stops with the stage"


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    texts = [json.dumps({"n": n, "pad": str(n) * 20000}) for n in range(2)]
    replace_text(path, texts[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for text in texts:
                replace_text(path, text)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        seen = {json.loads(path.read_text())["n"] for _ in range(300)}
        while len(seen) < 2:  # on a busy machine the writers may not have had their turn
            seen.add(json.loads(path.read_text())["n"])
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert seen == {0, 1}
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_numbers_that_json_cannot_hold(tmp_path: Path) -> None:
    with Progress("stage", tmp_path, quiet=True) as progress:
        progress.update(metrics={"loss": math.nan, "other": math.inf, "fine": 1.0})
        assert status(tmp_path)["metrics"] == {"loss": None, "other": None, "fine": 1.0}
        assert "loss not finite" in (tmp_path / "PROGRESS.txt").read_text()


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("stage") as progress:
        progress.phase("train", 10, "steps")
        progress.advance(5)
        progress.say("half way")
    assert capsys.readouterr().err.splitlines() == ["stage: train (10 steps)", "stage: half way"]


def test_plain_lines_repeat_while_time_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLAIN_LINE_SECONDS", 0.0)
    with Progress("stage") as progress:
        progress.phase("train", 10, "steps")
        progress.advance(5)
    assert "stage: train, 5/10 steps (50%)" in capsys.readouterr().err


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("stage") as progress:
        progress.phase("train", 10, "steps", done=2)
        progress.advance(3)
        progress.update(metrics={"loss": 0.25})
        progress.say("half way")
    shown = capsys.readouterr().err
    assert "stage: train" in shown and "5/10" in shown and "stage: half way" in shown


def test_silent_progress_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Progress.silent() as progress:
        progress.phase("train", 10)
        progress.advance()
        progress.say("hush")
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr() == ("", "")


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    for name in (".status.json.12.34", ".PROGRESS.txt.12.34", ".status.jsonl"):
        (tmp_path / name).write_text("{")
    with Progress("stage", tmp_path, quiet=True):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".status.jsonl", "PROGRESS.txt", "status.json"]


def test_describe_and_clock() -> None:
    assert clock(59.6) == "1:00" and clock(3725) == "1:02:05" and clock(7) == "0:07"
    base = {"phase": "train", "epoch": None, "total": None, "done": 0, "unit": "", "rate": None, "state": "running",
            "remaining_s": None, "metrics": {}, "reason": None}
    assert describe(base) == "train"
    full = {**base, "epoch": 2, "total": 4, "done": 1, "unit": "steps", "rate": 0.5, "remaining_s": 6.0}
    assert describe(full) == "train, epoch 2, 1/4 steps (25%), 0.5 steps/s, 0:06 left"


def test_metrics_belong_to_their_phase(tmp_path: Path) -> None:
    with Progress("stage", tmp_path, quiet=True) as progress:
        progress.phase("train", 2)
        progress.update(metrics={"accuracy": 0.9})
        progress.update(metrics={"loss": 0.1})
        assert status(tmp_path)["metrics"] == {"accuracy": 0.9, "loss": 0.1}
        progress.phase("control", 2)
        assert status(tmp_path)["metrics"] == {}
        progress.update(metrics={"loss": 0.5})
    assert status(tmp_path)["metrics"] == {"loss": 0.5}


def test_how_long_the_last_run_took_survives_a_failure(tmp_path: Path) -> None:
    assert last_seconds(tmp_path) is None
    with Progress("stage", tmp_path, quiet=True):
        time.sleep(0.2)
    took = last_seconds(tmp_path)
    assert took is not None and 0.2 <= took < 5
    with pytest.raises(RuntimeError), Progress("stage", tmp_path, quiet=True):
        raise RuntimeError
    assert last_seconds(tmp_path) == took


def test_the_place_in_the_run_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("stage", tmp_path, place=Place(5, 19, 1230.0)):
        assert status(tmp_path)["place"] == "stage 5 of 19, about 20 min left"
        assert status(tmp_path)["run_left_s"] == 1230.0
    assert capsys.readouterr().err.splitlines() == ["stage: stage 5 of 19, about 20 min left"]
