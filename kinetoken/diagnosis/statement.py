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
from kinetoken.diagnosis.plain import measure_named

if TYPE_CHECKING:
    from kinetoken.diagnosis.causes import Verdict
    from kinetoken.diagnosis.measures import Measures

SCHEMA = 2  # of verdict.json and report.json
READINGS = ("floor", "probe_pixels", "probe_latents", "probe_codes", "probe_codes_pooled")  # every verdict rests on
SPOILED = 0.05  # severity from which a loss belongs into the sentence about another finding
COSTS = {  # what a severity is a share of, by the finding's name; of others: of what can be read
    "codebook collapse": "of the bits that a token could carry", "dead codebooks": "of the codebooks",
    "duplicate entries": "of the entries in use", "indices rounded by low precision": "of the codebook's entries",
    "codes of NaN": "of the clips", "codes differ between runs": "of the tokens",
    "codes depend on the batch": "of the tokens", "usage fell during training": "of the usage that it had reached",
    "axes swapped": "of the tokens", "tokens out of place": "of the tokens",
    "inputs on another scale": "of what the codes could hold", "first frames not reconstructed": "of the frames",
}
READ = "of what can be read"


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

    @property
    def title(self) -> str:
        """The name with a capital."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def meaning(self) -> str:
        """What the finding's name means, as part of a sentence; empty of a name that needs no explanation."""
        from kinetoken.diagnosis.cure_tables.findings import MEANINGS

        known = {name: meaning for names in MEANINGS.values() for name, meaning in names.items()}
        parts = known.get(self.name, "").rstrip(".").split(". ")
        return "; ".join(part[:1].lower() + part[1:] for part in parts if not part.startswith("It costs nothing"))

    def __str__(self) -> str:
        return f"{self.title}. {' '.join(filter(None, (self.evidence, self.cure)))}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measure of the diagnosis by its name in Measures; None: not measured."""

    measure: str
    value: float | None

    @property
    def name(self) -> str:
        """As a reader sees it."""
        return measure_named(self.measure).words

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return "not measured" if self.value is None else measure_named(self.measure).shown(self.value)


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
    def use(self) -> tuple[Said, ...]:
        """What was found about the codes' use, costliest first."""
        return tuple(one for one in (self.headline, *self.findings) if one.question == USE)

    @property
    def beside(self) -> tuple[Said, ...]:
        """What else was found about what the codes kept, or about clips and labels."""
        return tuple(one for one in (self.headline, *self.findings) if one.question != USE and one != self.kept)

    @property
    def cost(self) -> str:
        """What the headline costs, such as `65% of what can be read`; empty where that is not known."""
        return cost_of(self.headline, self.rests_on, self.kept)

    @property
    def lost(self) -> str:
        """The cost as a sentence; empty where it is not known."""
        return f"Cost: {self.cost} (severity: {self.headline.degree})." if self.cost else ""

    @property
    def sentence(self) -> str:
        """The finding in one sentence, with what it costs."""
        from kinetoken.diagnosis.causes import CANNOT_TELL
        from kinetoken.diagnosis.rules import HEALTHY

        head, name = self.headline, self.headline.title
        if head.name == HEALTHY:
            return f"{name}: the codes keep what the labels describe; {head.severity or 0:.0%} {READ} is lost."
        if head.name.startswith(CANNOT_TELL):
            why = LACKING.get(head.name.removeprefix(CANNOT_TELL), "there is nothing to compare the codes with")
            return f"{name}: {why}, so it is not known what the codes kept."
        found = f"{name}: {head.meaning}" if head.meaning else name
        if not self.cost:
            return f"{found}; what it costs is not known."
        also = ""
        if head.question == USE and (self.kept.severity or 0) >= SPOILED and READ not in self.cost:
            also = f", and the codes lost {self.kept.severity:.0%} {READ}"
        return f"{found}; it costs {self.cost}{also}."

    @property
    def deciding(self) -> tuple[Measured, ...]:
        """What the verdict rests on beside the readings along the chain."""
        return tuple(one for one in self.rests_on if one.measure not in READINGS)


LACKING = {
    "labels": "no labels say what the codes should keep",
    "videos": "no videos were given that the codes could be compared with",
}


def cost_of(one: Said, rests_on: Sequence[Measured] = (), kept: Said | None = None) -> str:
    """A severity with what it is a share of; empty where it is not known.

    rests_on: a severity that equals the share of miscoded tokens is one of tokens; kept: a severity of a finding about
    use that equals that of what was kept is what the codes lost.
    """
    if one.severity is None:
        return ""
    what = READ if one.question != USE and one.name == "codebook collapse" else COSTS.get(one.name, READ)
    if any(each.measure == "mismatch" and each.value == one.severity for each in rests_on):
        what = "of the tokens"
    elif one.question == USE and kept is not None and kept.severity == one.severity:
        what = READ
    return f"{one.severity:.0%} {what}"


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
