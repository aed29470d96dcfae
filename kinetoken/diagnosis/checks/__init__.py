"""Checks that answer by name what people ask about their codes: each a function from plain data to a finding or None.

`CodeFacts` holds what they read; `checked` asks them all and has the numbers for the report. All are silent on sound
codes; what costs nothing and is worth knowing has severity 0.
"""

import dataclasses
from typing import Any

from kinetoken.diagnosis.checks import alignment, entries, frames, order, repeat, scale, training
from kinetoken.diagnosis.checks.facts import CodeFacts, Holes, Sight
from kinetoken.diagnosis.checks.passage import Passage
from kinetoken.diagnosis.finding import Finding

__all__ = ["Checked", "CodeFacts", "Finding", "Holes", "Passage", "Sight", "checked"]


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the checks found, those of the use of codes first, and numbers on it, with baselines (`*_floor`) where
    they have one.

    numbers: neighbours (time, rows, columns); drift (variation, and what chance gives); duplicates, again and training
    where the files for them were given.
    """

    findings: tuple[Finding, ...]
    numbers: dict[str, Any]


def checked(facts: CodeFacts) -> Checked:
    """All checks and their numbers, each measured once."""
    drift, copies = order.drift(facts), entries.copies_of_all(facts)
    found = (
        entries.rounded(facts), entries.codes_of_nan(facts), entries.dead_codebooks(facts),
        entries.duplicates(facts, copies), training.fell_in_training(facts),
        training.counters_differ(facts), repeat.differ_between_runs(facts.again),
        order.drifts(facts, drift), *_places(facts), frames.first_not_reconstructed(facts),
        scale.scaled_inputs(facts), entries.unused_ranges(facts), entries.counts_matter(facts), order.chunked(facts),
    )
    return Checked(tuple(one for one in found if one is not None), _numbers(facts, drift, copies))


def _places(facts: CodeFacts) -> tuple[Finding | None, ...]:
    """Where tokens lie: by the clips where these show it, else by the codes alone."""
    seen = alignment.codes_against_clips(facts), alignment.reconstructions_against_clips(facts)
    known = facts.sight is not None and facts.sight.moving is not None
    return seen if known else (*seen, order.flattened_otherwise(facts))


def _numbers(facts: CodeFacts, drift: order.Drift | None, copies: list[entries.Copies]) -> dict[str, Any]:
    numbers: dict[str, Any] = {"neighbours": order.neighbour_numbers(facts)}
    if drift is not None:
        numbers["drift"] = {
            "variation": drift.variation, "variation_floor": drift.chance, "most_by_chance": drift.most,
            "clips": drift.clips,
        }
    if copies:
        size = sum(facts.tally.declared)
        numbers["duplicates"] = {
            "entries": sum(one.entries for one in copies), "distinct": sum(one.distinct for one in copies),
            "used": sum(one.used for one in copies), "used_distinct": sum(one.used_distinct for one in copies),
            "usage_distinct": sum(one.used_distinct for one in copies) / size,
        }
    if facts.again is not None:
        numbers["again"] = repeat.again_numbers(facts.again)
    if facts.curve is not None:
        numbers["training"] = {facts.curve.name: training.curve_numbers(facts.curve)}
    if (ends := scale.saturation(facts)) is not None:
        numbers["saturated_tokens"] = {"share": ends.share, "share_floor": ends.even}
    return numbers
