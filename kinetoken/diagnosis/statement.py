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
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY, Cure, cure
from kinetoken.diagnosis.finding import USE, Finding

if TYPE_CHECKING:
    from kinetoken.diagnosis.causes import Verdict
    from kinetoken.diagnosis.measures import Measures

SCHEMA = 2  # of verdict.json and report.json
SHOWN = {"floor": "guessing (baseline)", "probe_codes_pooled": "probe averaged codes"}  # names for a reader
READINGS = ("floor", "probe_pixels", "probe_latents", "probe_codes", "probe_codes_pooled")  # every verdict rests on


@dataclasses.dataclass(frozen=True)
class Said:
    """A finding as a reader gets it: what was found, and what to do about it in the words of their library.

    question: use, kept or data; degree: the severity in a word; confidence: certain, likely or possible; surer: what to
    bring so that more can be said; cure: what to do, with a line of code or a command in `example` and its `sources`;
    these may be empty.
    """

    name: str
    question: str
    severity: float | None
    degree: str
    confidence: str
    evidence: str
    surer: str
    cure: str
    example: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name.capitalize()}. {' '.join(filter(None, (self.evidence, self.cure)))}"


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
    """The headline, the answer to what the codes kept, all else that was found, and what they rest on.

    schema: version of these fields; library: whose words the cures use; kept: the answer to *what did the codes keep?*,
    also where it is not the headline; findings: all but the headline, costliest first; rests_on: the readings along the
    chain, then the measures that decided; others: the other measures; notes: what was assumed or not measured.
    """

    schema: int
    library: str
    healthy: bool
    headline: Said
    kept: Said
    findings: tuple[Said, ...]
    rests_on: tuple[Measured, ...]
    others: tuple[Measured, ...]
    notes: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The headline's name."""
        return self.headline.name

    @property
    def lost(self) -> str:
        """The severity as a sentence; empty where it is not known."""
        if self.headline.severity is None:
            return ""
        what = "of the codes" if self.headline.question == USE else "of what can be read"
        return f"Cost: {self.headline.severity:.0%} {what} (severity: {self.headline.degree})."

    @property
    def deciding(self) -> tuple[Measured, ...]:
        """What the verdict rests on beside the readings along the chain."""
        return tuple(one for one in self.rests_on if one.measure not in READINGS)


def state(
    verdict: "Verdict", measures: "Measures", notes: Sequence[str] = (), library: str = DEFAULT_LIBRARY
) -> Statement:
    """The statement of a verdict on its measures; `notes` say what was assumed or could not be measured."""
    values = {
        field.name: None if (value := getattr(measures, field.name)) is None else float(value)
        for field in dataclasses.fields(measures)
    }
    measured = tuple(name for name in verdict.rests_on if name in values)
    first = tuple(dict.fromkeys((*READINGS, *measured)))
    others = tuple(name for name in values if name not in first)
    rests_on, rest = (tuple(Measured(name, values[name]) for name in names) for names in (first, others))
    return Statement(
        SCHEMA, library, verdict.healthy, said(verdict.headline, library), said(verdict.kept, library),
        tuple(said(one, library) for one in verdict.others), rests_on, rest, tuple(notes),
    )


def said(finding: Finding, library: str) -> Said:
    """A finding with its cure in the words of a library."""
    from kinetoken.diagnosis.causes import CANNOT_TELL, degree
    from kinetoken.diagnosis.rules import HEALTHY

    if finding.name == HEALTHY:
        mend = Cure("None needed.")
    elif finding.name.startswith(CANNOT_TELL):
        mend = Cure(finding.surer)
    else:
        mend = cure(finding.name, library)
    severity = None if finding.severity is None else float(finding.severity)
    return Said(
        finding.name, finding.question, severity, degree(severity), finding.confidence, finding.evidence,
        finding.surer, mend.text, mend.example, mend.sources,
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
