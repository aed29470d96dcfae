"""Progress that can be watched from elsewhere.

A stage reports into ``run_info/<stage>/status.json`` (for programs) and ``PROGRESS.txt`` (for people),
each replaced whole, at least every `HEARTBEAT_SECONDS` even when the work itself is silent. On a
terminal there is a bar with the time remaining; elsewhere plain lines. `make watch` shows all stages.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kinetoken.core.errors import UserError, printable
from kinetoken.core.schedule import Place
from kinetoken.core.terminal import tell

HEARTBEAT_SECONDS = 5.0
PLAIN_LINE_SECONDS = 10.0
NOTES = ("status.json", "PROGRESS.txt")


class Progress:
    """The state of one stage's run; a context manager whose exit writes the final state.

    Any number of phases follow one another; `advance` counts units done in the current one.
    """

    def __init__(
        self, stage: str, folder: Path | None = None, *, quiet: bool = False, place: Place | None = None
    ) -> None:
        self.stage = stage
        self._folder = folder
        self._quiet = quiet
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Any = None
        self._unwritten = False  # the last status, for a full disk or the like
        self._last_line = 0.0
        self._started = time.time()
        self._phase_started = self._started
        self._phase_base = 0.0
        self._state: dict[str, Any] = {
            "stage": stage, "state": "running", "phase": "starting", "epoch": None, "done": 0, "total": None,
            "unit": "", "metrics": {}, "device": "cpu", "pid": os.getpid(), "reason": None,
            "place": None, "run_left_s": None, "last_s": None if folder is None else last_seconds(folder),
        }
        if place is not None:
            self._state.update(place=str(place), run_left_s=place.left_s)
            self.say(str(place))

    @classmethod
    def silent(cls) -> "Progress":
        """Progress that is written nowhere, for calling a stage's `run` from tests and notebooks."""
        return cls("silent", None, quiet=True)

    def __enter__(self) -> Self:
        if self._folder is not None:
            _drop_partial(self._folder)
        self._write()
        if self._folder is not None:
            self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bar()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._state["state"] = "done" if error is None else "failed"
            self._state["reason"] = None if error is None else _reason(error)
            if error is None:
                self._state["last_s"] = round(time.time() - self._started, 1)
        self._write()

    def phase(self, name: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
        """Begin a phase of `total` units, `done` of them there already (a resumed run); its metrics are its own."""
        self._close_bar()
        with self._lock:
            self._state.update(phase=name, total=total, unit=unit, done=done, epoch=None, metrics={})
            self._phase_started, self._phase_base = time.time(), done
        if not self._quiet:
            if total is not None and sys.stderr.isatty():
                from tqdm import tqdm

                self._bar = tqdm(total=total, initial=done, desc=f"{self.stage}: {name}", unit=unit or "it")
            else:
                self._say(f"{name}" + (f" ({total} {unit})" if total is not None else ""))
        self._write()

    def advance(self, count: int = 1) -> None:
        """Count units of the current phase as done."""
        with self._lock:
            self._state["done"] += count
        if self._bar is not None:
            self._bar.update(count)
        elif not self._quiet and time.time() - self._last_line > PLAIN_LINE_SECONDS:
            self._say(self._line())

    def update(
        self, *, epoch: int | None = None, metrics: Mapping[str, float] | None = None, device: str | None = None
    ) -> None:
        """Record the epoch, the latest metrics (merged into those of the phase so far) or the device."""
        with self._lock:
            if epoch is not None:
                self._state["epoch"] = epoch
            if metrics:
                self._state["metrics"].update({k: _rounded(v) for k, v in metrics.items()})
            if device is not None:
                self._state["device"] = device
        if self._bar is not None and metrics:
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in list(metrics.items())[:4]})
        self._write()

    def say(self, text: str) -> None:
        """One line for the reader of the terminal or the log."""
        text = printable(text)
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(f"{self.stage}: {text}", file=sys.stderr)
        else:
            self._say(text)

    def status(self) -> dict[str, Any]:
        """What status.json holds: times in seconds, `heartbeat` and `started` as Unix times."""
        with self._lock:
            state = {**self._state, "metrics": dict(self._state["metrics"])}
        now = time.time()
        fresh, elapsed = state["done"] - self._phase_base, now - self._phase_started
        rate = fresh / elapsed if elapsed > 0 and fresh else None
        left = None if rate is None or state["total"] is None else (state["total"] - state["done"]) / rate
        state.update(
            started=self._started, heartbeat=now, elapsed_s=round(now - self._started, 1),
            rate=None if rate is None else float(f"{rate:.4g}"),
            remaining_s=None if left is None or state["state"] != "running" else round(max(left, 0.0), 1),
        )
        return state

    def _say(self, text: str) -> None:
        self._last_line = time.time()
        tell(f"{self.stage}: {printable(text)}")

    def _line(self) -> str:
        return describe(self.status())

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        if self._folder is None:
            return
        status = self.status()
        texts = (
            json.dumps(status, indent=2, sort_keys=True) + "\n",
            f"{self.stage}: {status['state']}\n{describe(status)}\n",
        )
        try:
            for name, text in zip(NOTES, texts, strict=True):
                replace_text(self._folder / name, text)
            self._unwritten = False
        except OSError as error:  # the work goes on without its notes
            if not self._unwritten:
                self._unwritten = True
                self.say(f"no status is written: {self._folder}: {error.strerror}")


def _drop_partial(folder: Path) -> None:
    """What a killed run had written of its status."""
    for name in NOTES:
        for path in folder.glob(f".{name}.*"):
            with suppress(OSError):
                path.unlink()


def last_seconds(folder: Path) -> float | None:
    """How long the last run that succeeded took, from the status that it left in `folder`."""
    try:
        seconds = json.loads((folder / "status.json").read_text(encoding="utf-8"))["last_s"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if seconds is None else float(seconds)


def describe(status: Mapping[str, Any]) -> str:
    """One line for people from a status: phase, done of total, rate, time remaining, metrics."""
    words = [str(status["phase"])]
    if status["epoch"] is not None:
        words.append(f"epoch {status['epoch']}")
    if status["total"]:
        words.append(f"{status['done']}/{status['total']} {status['unit']} ({status['done'] / status['total']:.0%})")
    if status["rate"] is not None and status["state"] == "running":
        words.append(f"{status['rate']:.3g} {status['unit']}/s")
    if status["remaining_s"] is not None:
        words.append(f"{clock(status['remaining_s'])} left")
    for name, value in status["metrics"].items():
        words.append(f"{name} not finite" if value is None else f"{name} {value:.4g}")
    if status["reason"]:
        words.append(str(status["reason"]))
    return ", ".join(words)


def _rounded(value: float) -> float | None:
    """Five significant digits; None for what JSON cannot hold."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _reason(error: BaseException) -> str:
    text = printable(" ".join(str(error).split()))
    return (text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".removesuffix(": "))[:500]


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def replace_text(path: Path, text: str) -> None:
    """Write the whole file at once: a reader sees the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
