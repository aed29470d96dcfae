"""The numbers of two revisions set side by side, each difference with an interval."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kinetoken.comparison.directions import Direction, better
from kinetoken.comparison.revisions import Revision
from kinetoken.core.numbers import read_numbers
from kinetoken.report.headline import FULL_TITLES, HEADLINES, Headline, Unit, bounds_of, value_of
from kinetoken.report.results import STAGES, Numbers, Results

Verdict = Literal["better", "worse", "changed", "within", "no interval", "new", "gone", "equal"]
TOUCHING = 1e-9  # an interval that ends this close to 0 holds it: the rest is rounding
ENDS = ("_floor", "_ceiling", "_ci95_low", "_ci95_high")


@dataclass(frozen=True)
class KnownNumber:
    """A number of one revision, and what makes it readable as far as the revision has that."""

    value: float
    baseline: float | None = None
    upper_bound: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Compared:
    """A number in both revisions; None where a revision lacks it."""

    stage: str
    key: str
    title: str
    unit: Unit
    direction: Direction
    a: KnownNumber | None
    b: KnownNumber | None

    @property
    def name(self) -> str:
        return f"{self.stage}.{self.key}"

    @property
    def difference(self) -> float | None:
        """B − A."""
        return None if self.a is None or self.b is None else self.b.value - self.a.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference of two independent estimates; None unless both have an interval.

        The half-widths on the facing sides are combined by the root of the sum of their squares (Newcombe 1998,
        method 10): for intervals that are even about their values this is the sum of two independent variances.
        """
        if self.a is None or self.b is None or self.difference is None:
            return None
        if self.a.low is None or self.a.high is None or self.b.low is None or self.b.high is None:
            return None
        below = math.hypot(self.b.value - self.b.low, self.a.high - self.a.value)
        above = math.hypot(self.b.high - self.b.value, self.a.value - self.a.low)
        return self.difference - below, self.difference + above

    @property
    def verdict(self) -> Verdict:
        if self.a is None or self.b is None:
            return "new" if self.a is None else "gone"
        if self.difference == 0:
            return "equal"
        if self.interval is None:
            return "no interval"
        low, high = self.interval
        if low <= TOUCHING and high >= -TOUCHING:
            return "within"
        if self.direction == "neither":
            return "changed"
        return "better" if (low > 0) == (self.direction == "higher") else "worse"


def headlines(a: dict[str, Numbers], b: dict[str, Numbers]) -> list[Compared]:
    """Every headline of the report that a revision has, in the order of the pipeline."""
    rows, both = [], [Results(each, Path()) for each in (a, b)]
    for one in HEADLINES:
        readings = [_headline(one, each) for each in both]
        if any(readings):
            direction = better(one.key.replace("*", "least"))
            rows.append(Compared(one.stage, one.key, FULL_TITLES[one.name], one.unit, direction, *readings))
    return rows


def others(a: dict[str, Numbers], b: dict[str, Numbers]) -> list[Compared]:
    """All numbers that are no headline, sorted by stage and name."""
    known = {(one.stage, one.key) for one in HEADLINES}
    rows = []
    for stage in dict.fromkeys([*STAGES, *a, *b]):
        for key in sorted(_bases(a.get(stage, {})) | _bases(b.get(stage, {}))):
            if (stage, key) not in known:
                readings = [_reading(each.get(stage, {}), key) for each in (a, b)]
                rows.append(Compared(stage, key, key, "", better(key), *readings))
    return rows


def read_tables(revision: Revision) -> dict[str, Numbers]:
    """Stage, with its dataset where it has several → dotted name → number. UserError naming a damaged table."""
    found = {}
    for name in sorted(revision.names("plots/*/numbers*.csv")):
        _, stage, file = name.split("/")
        with revision.naming():
            found[stage + file.removeprefix("numbers").removesuffix(".csv")] = read_numbers(revision.path(name))
    return found


def _headline(one: Headline, results: Results) -> KnownNumber | None:
    value = value_of(one, results)
    if value is None:
        return None
    low, high = (results.number(one.stage, one.key + end) for end in ENDS[2:])
    return KnownNumber(value, *bounds_of(one, results), low, high)


def _reading(numbers: Numbers, key: str) -> KnownNumber | None:
    value = numbers.get(key)
    return None if value is None else KnownNumber(value, *(numbers.get(key + end) for end in ENDS))


def _bases(numbers: Numbers) -> set[str]:
    """The names without those of bounds and ends of intervals, which stand beside another number."""
    return {
        name for name in numbers
        if not any(name.endswith(end) and name.removesuffix(end) in numbers for end in ENDS)
    }
