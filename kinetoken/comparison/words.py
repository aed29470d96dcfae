"""A comparison in words and in numbers ready to print: what the page and the text say alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinetoken.comparison.causes import Rerun
from kinetoken.comparison.comparison import RevisionComparison
from kinetoken.comparison.results import Compared, Verdict
from kinetoken.report.headline import Unit

LEAST_DIGITS: dict[Unit, int] = {"share": 1, "dB": 2, "px": 2, "%": 2, "×": 2, "points": 2, "of 1": 3, "": 0}
MOST_FURTHER = 3  # digits that a small difference may add
MOST_DIGITS = 9
NONE = "–"
MOST_NAMED = 4  # causes of one stage; further ones are counted
VERDICTS: dict[Verdict, str] = {
    "better": "better", "worse": "worse", "changed": "changed", "within": "within interval",
    "no interval": "no interval", "new": "only in B", "gone": "only in A", "equal": "equal",
}
MARKS: dict[Verdict, str] = {"better": "▲ ", "worse": "▼ ", "changed": "● "}
RECORDS = (
    "A stage is listed if its record in dvc.lock differs. It ran again, or its new code was recorded by make relock."
)
METHOD = (
    "A difference is better or worse only if it lies beyond its 95 % interval. The interval treats the two revisions "
    "as independent. It combines the half-widths of their bootstrap intervals by the root of the sum of their squares.",
    "The intervals cover which clips are in the test set. They do not cover the training seed: two trainings that "
    "differ only in the seed can differ by more. Both revisions are usually measured on the same clips, which makes "
    "the interval wider than necessary.",
    "A number without an interval in both revisions is shown without a verdict. So is a number of which neither more "
    "nor less is better, such as a size, a count or a control.",
)


@dataclass(frozen=True)
class ResultRow:
    """A compared number as text."""

    name: str
    title: str
    baseline: str
    upper_bound: str
    a: str
    b: str
    difference: str
    interval: str
    verdict: Verdict
    word: str


def shown_rows(rows: Sequence[Compared]) -> list[ResultRow]:
    return [_row(one) for one in rows]


def headline_counts(found: RevisionComparison) -> str:
    """How the headlines came out, in a sentence."""
    counts = found.counts
    named = ((counts["better"], "better"), (counts["worse"], "worse"),
             (counts["changed"], "changed, with no better direction"), (counts["within"], "within the interval"),
             (counts["no interval"], "changed, without an interval"), (counts["new"] + counts["gone"], "in one only"),
             (counts["equal"], "equal"))
    parts = [f"{number} {word}" for number, word in named if number]
    return f"Of {_count(len(found.headlines), 'headline')}: {', '.join(parts)}." if parts else "No headline in common."


def causes(found: RevisionComparison) -> str:
    """What differs before any result, in a sentence."""
    parts = [_count(len(found.params), "parameter"), f"the code of {_count(len(found.fingerprints), 'stage')}"]
    ran = sum(one.how == "ran again" for one in found.reruns)
    return f"{parts[0]} and {parts[1]} differ. {_count(ran, 'stage')} ran again.".capitalize()


def notes(found: RevisionComparison) -> list[str]:
    """How to read the differences of this comparison."""
    said = list(METHOD)
    if found.test_data:
        said.append(f"The data differ: {', '.join(found.test_data)}. So results were measured on different clips.")
    if found.tested:
        said.append(f"{_count(found.tested, 'number')} with an interval differ. If nothing had really changed, about "
                    f"{max(round(0.05 * found.tested), 1)} of them would lie beyond it by chance.")
    return said


def reasons(one: Rerun) -> str:
    """Why a stage ran again; of many causes the first are named."""
    if one.how != "ran again":
        return {"new": "only in B", "gone": "only in A"}[one.how]
    named = ", ".join(one.causes[:MOST_NAMED]) or "recorded inputs are the same"
    further = len(one.causes) - MOST_NAMED
    return f"{named} and {further} more" if further > 0 else named


def outcome(one: Rerun) -> str:
    if one.how != "ran again":
        return NONE
    return f"{_count(len(one.outputs), 'output')} changed" if one.outputs else "the same outputs"


def beyond(rows: Sequence[Compared]) -> list[Compared]:
    """The rows whose difference lies beyond its interval."""
    return [row for row in rows if row.verdict in ("better", "worse", "changed")]


def differing(rows: Sequence[Compared]) -> list[Compared]:
    """The rows that are not equal, those beyond their interval first."""
    first = beyond(rows)
    return first + [row for row in rows if row not in first and row.verdict != "equal"]


def equal(rows: Sequence[Compared]) -> list[Compared]:
    return [row for row in rows if row.verdict == "equal"]


def _row(one: Compared) -> ResultRow:
    digits = _digits(one)
    a, b = (NONE if each is None else _number(each.value, one.unit, digits) for each in (one.a, one.b))
    interval = NONE
    if one.interval is not None and one.difference != 0:
        interval = " … ".join(_change(end, one.unit, digits, named=False) for end in one.interval)
    difference = NONE if one.difference is None else _change(one.difference, one.unit, digits)
    return ResultRow(
        one.name, one.title, _bound(one, "baseline"), _bound(one, "upper_bound"), a, b, difference, interval,
        one.verdict, MARKS.get(one.verdict, "") + VERDICTS[one.verdict],
    )


def _bound(one: Compared, which: str) -> str:
    """Baseline or upper bound; of both revisions where they differ."""
    values = [None if each is None else getattr(each, which) for each in (one.a, one.b)]
    texts = [_number(value, one.unit, None) for value in values if value is not None]
    return " → ".join(dict.fromkeys(texts)) or NONE


def _digits(one: Compared) -> int | None:
    """Decimals that show two digits of the difference or of its interval's half-width, whichever is larger.

    Where the difference lies beyond its interval, one digit of the end that is nearer to 0 is shown too. None: as
    many decimals as four digits need.
    """
    if not one.difference:
        return None
    least, scale = LEAST_DIGITS[one.unit], 100 if one.unit == "share" else 1
    low, high = one.interval or (one.difference, one.difference)
    wanted = _place(scale * max(abs(one.difference), (high - low) / 2)) + 1
    if one.verdict in ("better", "worse", "changed"):
        wanted = max(wanted, _place(scale * min(abs(low), abs(high))))
    return min(max(wanted, least), least + MOST_FURTHER if one.unit else MOST_DIGITS)


def _place(size: float) -> int:
    """The decimal of a number's first digit: 2 for 0.03."""
    return -math.floor(math.log10(size))


def _number(value: float, unit: Unit, digits: int | None) -> str:
    scaled = 100 * value if unit == "share" else value
    if digits is None and not unit:
        return f"{scaled:.4g}"
    return f"{scaled:.{LEAST_DIGITS[unit] if digits is None else digits}f}{_suffix(unit, '%')}"


def _change(value: float, unit: Unit, digits: int | None, *, named: bool = True) -> str:
    """A difference with its sign; of shares in percentage points."""
    scaled = 100 * value if unit == "share" else value
    text = f"{scaled:+.{LEAST_DIGITS[unit] if digits is None else digits}f}".replace("-", "−")
    if not float(text.replace("−", "-")):
        text = text.lstrip("+−")
    return text + (_suffix(unit, "points") if named else "")


def _suffix(unit: Unit, of_share: str) -> str:
    if unit in ("", "of 1"):
        return ""
    return "×" if unit == "×" else f" {of_share if unit == 'share' else unit}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
