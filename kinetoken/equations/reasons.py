"""Why an early decision was made, in two sentences from its record, and those sentences checked against the record.

The record is that of `persistence.reasons`: what the network had read by then. What the candidate really was stands
beside it in the file and is neither said to a language model nor asked of it.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.equations.params import DescribeMotion
from kinetoken.equations.sentences import NEGATIONS
from kinetoken.llm.client import ask
from kinetoken.llm.language_model import Request
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import Reply, clean_text, parse_answer
from kinetoken.llm.spending import Bill
from kinetoken.persistence.reasons import ROUGH, SMOOTH, Reason

MAX_CHARACTERS = 400  # of two sentences
DECISIONS = ("persistent", "transient")
GONE = ("gone", "vanished", "vanishes", "disappeared", "disappears", "lost")
KINDS = {
    "smoothly": ("smooth", "smoothly"), "unevenly": ("uneven", "unevenly"), "erratically": ("erratic", "erratically"),
}
INSTRUCTIONS = f"""\
A detector watched one candidate in a video and decided early whether it is persistent or transient. You are given the \
record of that decision. Say in exactly two sentences why it decided so.

First sentence: the decision, the number of frames seen, the confidence. Second sentence: what was seen. Use only \
numbers of the record, as they are or rounded; no negation. How it moves: smoothly (roughness below {SMOOTH:g}), \
unevenly, erratically (above {ROUGH:g}); say nothing of it if roughness is 0. Say that it is gone only if vanished is \
true.

Answer with JSON: {{"reason": "..."}}"""
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "reason_in_words",
        "strict": True,
        "schema": {
            "type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"],
            "additionalProperties": False,
        },
    },
}


@dataclasses.dataclass(frozen=True)
class Explained:
    """A record, what was said of it, and which of the checks that passes."""

    record: Reason
    actual: str
    words: str
    outcome: Outcome
    verdicts: dict[str, bool]

    @property
    def correct(self) -> bool:
        return all(self.verdicts.values())


def explain(
    records: Sequence[tuple[Reason, str]], params: DescribeMotion, ledger: Path, progress: Progress, spent: float = 0.0
) -> tuple[list[Explained], Bill | None]:
    """Two sentences for each record (with what it really was, for the file): a template's, or a language model's.

    `spent`: of the spend cap, on other questions.
    """
    if not records:
        return [], None
    if not params.asks:
        said, bill = [(Outcome.ANSWERED, template(record)) for record, _ in records], None
    else:
        questions = [request(record) for record, _ in records]
        settings = dataclasses.replace(params.language_model, spend_cap=params.language_model.spend_cap - spent)
        replies, bill = ask(questions, settings, ledger, progress, lambda reply: read_words(reply)[0])
        said = [read_words(reply) for reply in replies]
    return [
        Explained(record, actual, words, outcome, check(words, record))
        for (record, actual), (outcome, words) in zip(records, said, strict=True)
    ], bill


def read_records(path: Path, count: int) -> list[tuple[Reason, str]]:
    """The first `count` records, right and wrong ones of each extractor in turn, with what the candidate was.

    UserError for a file that holds something else.
    """
    names = {field.name for field in dataclasses.fields(Reason)}
    groups: dict[tuple[str, bool], list[tuple[Reason, str]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            record = Reason(**{name: row[name] for name in names} | {"posterior": tuple(row["posterior"])})
            group = (record.extractor, record.decision == row["actual"])
            groups.setdefault(group, []).append((record, str(row["actual"])))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: line {number} is no record of a decision ({error})") from None
    in_turn = [one for turn in zip_longest(*groups.values()) for one in turn if one is not None]
    return in_turn[:count]


def request(record: Reason) -> Request:
    """The question: the record as it stands, and nothing beside it."""
    known = {name: value for name, value in dataclasses.asdict(record).items() if name != "track_id"}
    text = json.dumps(known, sort_keys=True)
    return Request(
        f"decision on track {record.track_id} by {record.extractor}",
        ({"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}), RESPONSE_FORMAT,
    )


def read_words(reply: Reply) -> tuple[Outcome, str]:
    """The outcome, and the words if there are any, clean and within their length; never raises."""
    if reply.outcome is not Outcome.ANSWERED:
        return reply.outcome, ""
    try:
        content = parse_answer(reply.content)
    except ValueError:
        return Outcome.MALFORMED, ""
    words = content.get("reason") if isinstance(content, dict) and set(content) == {"reason"} else None
    return (Outcome.ANSWERED, clean_text(words, MAX_CHARACTERS)) if isinstance(words, str) else (Outcome.SCHEMA, "")


def template(record: Reason) -> str:
    """Two sentences without a language model."""
    seen = f"it was in sight in {record.frames_in_sight} of them"
    if record.vanished:
        seen += " and is gone"
    elif kind := motion_of(record):
        seen += f" and moved {kind} at {record.speed_px:.1f} px a frame"
    return (
        f"The candidate was called {record.decision} after {record.frames_seen} frames, with a confidence of "
        f"{record.confidence:.1%}. Of what was seen, {seen}."
    )


def motion_of(record: Reason) -> str:
    """One of KINDS, or nothing if too little was in sight to tell."""
    if record.roughness == 0:
        return ""
    return "smoothly" if record.roughness < SMOOTH else "erratically" if record.roughness > ROUGH else "unevenly"


def check(words: str, record: Reason) -> dict[str, bool]:
    """Whether the words say the record's decision and frames, and nothing that it does not hold."""
    text = words.lower()
    said = set(re.findall(r"[a-z]+", text))
    numbers = [(float(number), len(decimals), mark) for number, decimals, mark in _numbers(text)]
    moved = {kind for kind, names in KINDS.items() if said & set(names)}
    return {
        "two_sentences": len(re.findall(r"[.!?](?=\s|$)", words.strip())) == 2,
        "decision": {name for name in DECISIONS if name in said} == {record.decision} and not said & NEGATIONS,
        "frames": any(number == record.frames_seen and not mark for number, _, mark in numbers),
        "numbers": all(_holds(record, *number) for number in numbers),
        "vanished": record.vanished or not said & set(GONE),
        "motion": moved <= {motion_of(record)},
    }


def _numbers(text: str) -> list[tuple[str, str, str]]:
    """Each number with its decimals and whether a percent sign follows."""
    return [
        (whole + ("." + decimals if decimals else ""), decimals, mark)
        for whole, decimals, mark in re.findall(r"(\d+)(?:\.(\d+))?\s*(%|percent)?", text)
    ]


def _holds(record: Reason, number: float, decimals: int, percent: str) -> bool:
    """Whether the record has this number, to the decimals that were written."""
    shares = [record.confidence, *record.posterior]
    if percent:
        known = [100 * share for share in shares]
    else:
        known = [
            *shares, record.frames_seen, record.frames_in_sight, record.frames_seen - record.frames_in_sight,
            record.speed_px, record.roughness, record.attention,
        ]
    return any(abs(number - value) <= 0.5 * 10.0**-decimals + 1e-9 for value in known)


def floor(explained: Sequence[Explained]) -> float:
    """Share of records for which the first one's words, said of every record, would be correct."""
    if not explained:
        return 0.0
    return sum(all(check(explained[0].words, one.record).values()) for one in explained) / len(explained)
