"""The headlines of a run as a table in the terminal.

    python -m kinetoken.report [--plots plots] [--params params.yaml]     # or: make metrics
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.terminal import open_streams
from kinetoken.report.headline import BuildReport, Row, headline_rows
from kinetoken.report.results import read_results

if TYPE_CHECKING:
    from rich.table import Table

WIDEST = 160  # columns
MET = {True: ("yes", "green"), False: ("no", "red"), None: ("", "")}  # word and style


def table(rows: Sequence[Row]) -> "Table":
    """A row a headline, the stages apart, with its target and whether that is met."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("headline")
    for name in ("value", "baseline", "upper bound", "95 % interval", "target", "met"):
        drawn.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        stage = row.name.partition(".")[0]
        if before not in ("", stage):
            drawn.add_section()
        before = stage
        drawn.add_row(
            row.title, Text(row.value, "bold"), row.floor, row.ceiling, row.interval, row.mark, Text(*MET[row.met])
        )
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder of numbers (default: plots)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="where the targets are")
    options = parser.parse_args(argv)
    from rich.console import Console

    try:
        marks = load_params(options.params, "build_report", BuildReport).marks
        rows = headline_rows(read_results(options.plots), marks)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console = Console()
    console.width = min(console.width, WIDEST) if console.is_terminal else WIDEST
    console.print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
