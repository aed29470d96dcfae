"""What every stage is doing, on one terminal page: run_info/*/status.json, read again each second.

The page is as high as the terminal and follows the stage that runs; with more stages than lines, the arrow keys (or j
and k) scroll, and q ends.

    python -m tools.watch [--run-info run_info] [--once | --json]     # or: make watch
"""

import argparse
import json
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.progress import clock, describe
from kinetoken.core.terminal import open_streams

if TYPE_CHECKING:
    from rich.table import Table

STALE_SECONDS = 30.0
COLOURS = {"running": "cyan", "done": "green", "failed": "red", "no heartbeat": "yellow"}
FRAME_LINES = 5  # of the page, beside its rows: title, heading, rules
KEYS = {"k": -1, "j": 1, "\x1b[A": -1, "\x1b[B": 1, "\x1b[5~": -10, "\x1b[6~": 10}


def read_statuses(run_info: Path) -> list[dict[str, Any]]:
    """All readable statuses, in the order in which the stages started."""
    statuses = []
    for path in run_info.glob("*/status.json"):
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # replaced or removed this very moment
        if isinstance(status, dict) and {"stage", "state", "heartbeat"} <= status.keys():
            statuses.append(status)
    return sorted(statuses, key=lambda status: (status.get("started", 0.0), status["stage"]))


def shown_state(status: Mapping[str, Any], now: float) -> str:
    """The state, or `no heartbeat` for a stage that says it runs and has been silent too long."""
    silent = status["state"] == "running" and now - status["heartbeat"] > STALE_SECONDS
    return "no heartbeat" if silent else str(status["state"])


def window(count: int, height: int, first: int) -> range:
    """Which of `count` rows are shown in `height` lines, the first of them `first` as far as that can be had."""
    first = max(0, min(first, count - height))
    return range(first, min(count, first + height))


def page(statuses: list[dict[str, Any]], now: float, lines: int | None = None, scrolled: int = 0) -> "Table":
    """One line a stage: state, elapsed time, what it is doing, seconds since it was last heard of.

    In `lines` lines at most (None: as many as it takes); the last stage that began is in sight, `scrolled` rows on.
    """
    from rich.table import Table
    from rich.text import Text

    height = len(statuses) if lines is None else max(lines - FRAME_LINES, 1)
    rows = window(len(statuses), height, len(statuses) - height + scrolled)
    table = Table(title=heading(statuses, rows), expand=True)
    for name in ("stage", "state", "elapsed", "doing", "heard"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "doing" else None)
    for status in (statuses[row] for row in rows):
        state = shown_state(status, now)
        heard = f"{max(now - status['heartbeat'], 0):.0f} s ago" if state in ("running", "no heartbeat") else ""
        table.add_row(status["stage"], Text(state, COLOURS.get(state, "")), clock(status.get("elapsed_s", 0)),
                      Text(describe(status)), heard)
    return table


def heading(statuses: list[dict[str, Any]], rows: range) -> str:
    """Where the run stands, and which rows are out of sight."""
    running = [status for status in statuses if status["state"] == "running" and status.get("place")]
    words = ["Kinetoken", *(str(status["place"]) for status in running[-1:])]
    if len(rows) < len(statuses):
        words.append(f"rows {rows.start + 1}–{rows.stop} of {len(statuses)}, arrow keys scroll")
    return ": ".join(words[:2]) + "".join(f" ({word})" for word in words[2:])


@contextmanager
def _keys() -> Iterator[None]:
    """Keys are read as they are pressed."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> str:
    """What was pressed within so many seconds; empty for nothing."""
    import os

    if not sys.stdin.isatty():
        time.sleep(seconds)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 16).decode(errors="ignore") if ready else ""


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-info", type=Path, default=Path("run_info"))
    parser.add_argument("--once", action="store_true", help="print the page once and end")
    parser.add_argument("--json", action="store_true", help="print every stage's status as JSON and end")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(read_statuses(options.run_info), indent=2, sort_keys=True))
        return 0
    from rich.console import Console
    from rich.live import Live

    console, scrolled = Console(), 0
    if options.once or not console.is_terminal:
        console.print(page(read_statuses(options.run_info), time.time()))
        return 0
    try:
        with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                statuses = read_statuses(options.run_info)
                live.update(page(statuses, time.time(), console.height, scrolled), refresh=True)
                key = _pressed(1.0)
                if key == "q":
                    return 0
                scrolled = min(0, max(scrolled + KEYS.get(key, 0), -len(statuses)))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
