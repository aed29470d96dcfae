"""What every stage is doing, on one terminal page: run_info/*/status.json, read again each second.

    python -m tools.watch [--run-info run_info] [--once]     # or: make watch
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.progress import clock, describe

if TYPE_CHECKING:
    from rich.table import Table

STALE_SECONDS = 30.0
COLOURS = {"running": "cyan", "done": "green", "failed": "red", "no heartbeat": "yellow"}


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


def page(statuses: list[dict[str, Any]], now: float) -> "Table":
    """One row a stage: state, elapsed time, what it is doing, seconds since it was last heard of."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Kinetoken", expand=True)
    for name in ("stage", "state", "elapsed", "doing", "heard"):
        table.add_column(name, no_wrap=name != "doing", overflow="fold")
    for status in statuses:
        state = shown_state(status, now)
        heard = f"{max(now - status['heartbeat'], 0):.0f} s ago" if state in ("running", "no heartbeat") else ""
        table.add_row(status["stage"], Text(state, COLOURS.get(state, "")), clock(status.get("elapsed_s", 0)),
                      Text(describe(status)), heard)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-info", type=Path, default=Path("run_info"))
    parser.add_argument("--once", action="store_true", help="print the page once and end")
    options = parser.parse_args()
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if options.once or not console.is_terminal:
        console.print(page(read_statuses(options.run_info), time.time()))
        return 0
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(page(read_statuses(options.run_info), time.time()), refresh=True)
                time.sleep(1.0)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
