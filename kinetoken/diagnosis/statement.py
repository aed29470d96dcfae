"""What a verdict says and rests on, as data: the one object behind verdict.json, verdict.md and every page."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kinetoken.core.artifacts import write_json
from kinetoken.core.errors import UserError
from kinetoken.core.params import build

if TYPE_CHECKING:
    from kinetoken.diagnosis.causes import Verdict
    from kinetoken.diagnosis.measures import Measures

SHOWN = {"floor": "guessing (baseline)", "probe_codes_pooled": "probe averaged codes"}  # names for a reader
READINGS = ("floor", "probe_pixels", "probe_latents", "probe_codes", "probe_codes_pooled")  # every verdict rests on


@dataclasses.dataclass(frozen=True)
class Remark:
    """What stands beside a verdict: one more cause with its evidence and cure, or a limit of the judgement.

    cause and cure are empty where evidence states a limit.
    """

    evidence: str
    cause: str = ""
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.cause.capitalize()}. {self.evidence} {self.cure}" if self.cause else self.evidence


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measure of the diagnosis by its name in Measures; None: not measured."""

    measure: str
    value: float | None

    @property
    def name(self) -> str:
        """As a reader sees it."""
        return SHOWN.get(self.measure, self.measure.replace("_", " "))

    @property
    def shown(self) -> str:
        """The value to four significant digits."""
        return "not measured" if self.value is None else f"{self.value:.4g}"


@dataclasses.dataclass(frozen=True)
class Statement:
    """The verdict with what it rests on, all else that was measured, and what was assumed.

    severity: share of what can be read that is lost, in [0, 1], and in a word `degree`; beside: remarks;
    rests_on: the readings along the chain, then the measures that decided.
    """

    cause: str
    healthy: bool
    severity: float | None
    degree: str
    evidence: str
    cure: str
    beside: tuple[Remark, ...]
    rests_on: tuple[Measured, ...]
    others: tuple[Measured, ...]
    notes: tuple[str, ...]

    @property
    def lost(self) -> str:
        """The severity as a sentence; empty where it is not known."""
        if self.severity is None:
            return ""
        return f"Lost: {self.severity:.0%} of the accuracy above guessing (severity: {self.degree})."

    @property
    def deciding(self) -> tuple[Measured, ...]:
        """What the verdict rests on beside the readings along the chain."""
        return tuple(one for one in self.rests_on if one.measure not in READINGS)


def state(verdict: "Verdict", measures: "Measures", notes: Sequence[str] = ()) -> Statement:
    """The statement of a verdict on its measures; `notes` say what was assumed or could not be measured."""
    values = {
        field.name: None if (value := getattr(measures, field.name)) is None else float(value)
        for field in dataclasses.fields(measures)
    }
    severity = None if verdict.severity is None else float(verdict.severity)
    first = tuple(dict.fromkeys((*READINGS, *verdict.rests_on)))
    others = tuple(name for name in values if name not in first)
    rests_on, rest = (tuple(Measured(name, values[name]) for name in names) for names in (first, others))
    return Statement(
        verdict.cause, verdict.healthy, severity, verdict.degree, verdict.evidence, verdict.cure,
        verdict.remarks, rests_on, rest, tuple(notes),
    )


def write_statement(path: Path, statement: Statement) -> None:
    """As JSON, floats in full so that the same statement is read back; what is not finite becomes null."""
    content = dataclasses.asdict(statement)
    for one in (*content["rests_on"], *content["others"]):
        if one["value"] is not None and not math.isfinite(one["value"]):
            one["value"] = None
    write_json(path, content)


def read_statement(path: Path) -> Statement:
    """The statement in a file that `write_statement` left.

    Raises UserError naming the file, and the key that is missing, unknown or of the wrong kind.
    """
    try:
        return build(Statement, json.loads(path.read_text(encoding="utf-8")), "statement")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run diagnose_codes first") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
