"""What a run left behind, read for the report: numbers, plot tables and the verdict; gaps are noted, not fatal."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.absence import why_absent
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.diagnosis.statement import Statement, read_statement

if TYPE_CHECKING:
    import pandas as pd

Numbers = dict[str, float]

# in the order of the pipeline: stage, with its dataset where it has several → its table in the plots folder
STAGES = {
    "train_tokenizer": "train_tokenizer/numbers.csv",
    "extract_codes_motion": "extract_codes/numbers_motion.csv",
    "train_baselines": "train_baselines/numbers.csv",
    "diagnose_codes": "diagnose_codes/numbers.csv",
    "train_classifier": "train_classifier/numbers.csv",
    "explain_classifier": "explain_classifier/numbers.csv",
    "train_position": "train_position/numbers.csv",
    "train_predictor": "train_predictor/numbers.csv",
    "train_generator": "train_generator/numbers.csv",
    "train_i3d_magvit": "train_i3d_magvit/numbers.csv",
    "train_gasm_cast": "train_gasm_cast/numbers.csv",
    "extract_codes_persistence": "extract_codes/numbers_persistence.csv",
    "detect_persistence": "detect_persistence/numbers.csv",
    "describe_motion": "describe_motion/numbers.csv",
}


@dataclass
class Results:
    """`metrics`: stage → dotted name → number. `missing`: what the page asked for and did not find.

    not_measured: stage → why these data allow it no result.
    """

    metrics: dict[str, Numbers]
    plots: Path
    missing: list[str] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    def number(self, stage: str, key: str) -> float | None:
        return self.metrics.get(stage, {}).get(key)

    def table(self, name: str, columns: Sequence[str]) -> "pd.DataFrame | None":
        """The plot table `name` under the plots folder; None, noted in `missing`, if it is not there.

        Raises UserError naming the file for one that is no CSV or lacks one of `columns`.
        """
        import pandas as pd

        path = self.file(name)
        if path is None or why_absent(path) is not None:
            return None
        try:
            frame = pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: not a CSV table: {' '.join(str(error).split())}") from None
        if absent := [column for column in columns if column not in frame]:
            raise UserError(f"{path}: no column '{absent[0]}'; it has {', '.join(frame.columns)}")
        return frame

    def file(self, name: str) -> Path | None:
        """The file `name` under the plots folder; None, noted in `missing`, if it is not there."""
        path = self.plots / name
        if not path.exists():
            self.note(f"plots/{name}")
            return None
        return path

    def verdict(self) -> Statement | None:
        """What the doctor says of the codes; None, noted in `missing`, if it is not there.

        Raises UserError naming the file and the fault of one that is damaged.
        """
        path = self.file("diagnose_codes/verdict.json")
        return None if path is None else read_statement(path)

    def note(self, what: str) -> None:
        if what not in self.missing:
            self.missing.append(what)


def read_results(plots: Path) -> Results:
    """All numbers of the stages that ran; UserError if there are none, or naming a damaged table."""
    tables = {stage: plots / name for stage, name in STAGES.items()}
    reasons = {stage: why_absent(table) for stage, table in tables.items()}
    absent = {stage: reason for stage, reason in reasons.items() if reason is not None}
    found = {
        stage: read_numbers(table) for stage, table in tables.items() if table.exists() and stage not in absent
    }
    if not found:
        raise UserError(f"{plots}: no numbers of any stage (such as train_tokenizer/numbers.csv); run dvc repro first")
    return Results(found, plots, not_measured=absent)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A JSON Lines file as a list; UserError naming the file and the line that is none."""
    rows = []
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: line {place}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {place}: expected one object a line")
        rows.append(row)
    return rows


def spread(
    rows: Sequence[dict[str, Any]], count: int, right: Callable[[dict[str, Any]], bool],
    kind: Callable[[dict[str, Any]], str],
) -> list[dict[str, Any]]:
    """The first `count` rows that are right and the first `count` that are not, each in turns over the kinds."""
    chosen = []
    for wanted in (True, False):
        kept = [row for row in rows if right(row) is wanted]
        queues = [[row for row in kept if kind(row) == name] for name in sorted({kind(row) for row in kept})]
        turns = [queue[turn] for turn in range(count) for queue in queues if turn < len(queue)]
        chosen += turns[:count]
    return chosen
