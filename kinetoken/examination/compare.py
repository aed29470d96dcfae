"""Motion cards side by side."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.outputs import written_whole
from kinetoken.examination.card import GROUPS, CardNumber, Measure, MotionCard, read_card

KIND, SCHEMA = "kinetoken comparison of motion cards", 1


@dataclasses.dataclass(frozen=True)
class ComparedRow:
    """A measure of every card, None where a card lacks it; best: columns of the best value, if any can be so called."""

    measure: Measure
    numbers: tuple[CardNumber | None, ...]
    best: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Cards in the order given, their names, all distinct, and a row for each measure that any of them has."""

    names: tuple[str, ...]
    cards: tuple[MotionCard, ...]
    groups: dict[str, tuple[ComparedRow, ...]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: names, verdicts, and each measure's values in the order of the names."""
        rows = {row.measure.key: row for group in self.groups.values() for row in group}
        return {
            "kind": KIND, "schema": SCHEMA, "names": list(self.names),
            "verdicts": [dataclasses.asdict(card.verdict) for card in self.cards],
            "checks": [{check.name: check.answer for check in card.checks} for card in self.cards],
            "numbers": {
                key: [None if number is None else dataclasses.asdict(number) for number in row.numbers]
                for key, row in rows.items()
            },
            "notes": list(self.notes),
        }

    def write(self, folder: Path, *, force: bool = False) -> None:
        """comparison.html, comparison.md and comparison.json."""
        from kinetoken.core.artifacts import write_json
        from kinetoken.examination.page import comparison_html, comparison_markdown

        with written_whole(folder, force=force, folder=True) as partial:
            partial.mkdir(parents=True, exist_ok=True)
            (partial / "comparison.md").write_text(comparison_markdown(self), encoding="utf-8")
            (partial / "comparison.html").write_text(comparison_html(self), encoding="utf-8")
            write_json(partial / "comparison.json", self.to_json())


def compare_cards(paths: Sequence[Path]) -> Comparison:
    """The cards of these files or folders. Raises UserError for fewer than two, or a file that is no card."""
    if len(paths) < 2:
        raise UserError("give at least two cards to compare")
    return compared([read_card(path) for path in paths])


def compared(cards: Sequence[MotionCard]) -> Comparison:
    """Cards that are in memory."""
    groups = {
        title: tuple(row for measure in group if (row := _row(measure, cards)) is not None)
        for title, group in GROUPS.items()
    }
    return Comparison(
        _distinct([card.tokenizer.name for card in cards]), tuple(cards),
        {title: rows for title, rows in groups.items() if rows}, _notes(cards),
    )


def _row(measure: Measure, cards: Sequence[MotionCard]) -> ComparedRow | None:
    numbers = tuple(card.numbers.get(measure.key) for card in cards)
    values = [number.value for number in numbers if number is not None]
    if not values:
        return None
    best: tuple[int, ...] = ()
    if measure.better != "neither" and len(values) > 1 and min(values) < max(values) and _fair(measure, cards):
        goal = max(values) if measure.better == "higher" else min(values)
        best = tuple(place for place, number in enumerate(numbers) if number is not None and number.value == goal)
    return ComparedRow(measure, numbers, best)


def _fair(measure: Measure, cards: Sequence[MotionCard]) -> bool:
    """Are pixels of one size, and frames of one length, where the unit is of them?"""
    shapes = {(card.motion_set.size, card.motion_set.frames) for card in cards}
    return len(shapes) == 1 or measure.unit in ("", "%")


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """A second card of the same name gets a number."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(found)


def _notes(cards: Sequence[MotionCard]) -> tuple[str, ...]:
    sets = [card.motion_set for card in cards]
    notes = []
    if len({(one.size, one.frames) for one in sets}) > 1:
        notes.append("The clips differ in size or length, so numbers in px, dB, bits and clips/s are not ranked.")
    if len({(one.train, one.test) for one in sets}) > 1:
        notes.append("The numbers of clips differ; probes trained on more clips read more.")
    if len({(one.version, one.seed) for one in sets}) > 1:
        notes.append("The motion sets are of different versions; examine the tokenizers again to compare them.")
    notes.append("The best value of a row is marked; where the 95 % intervals overlap, the order is not certain.")
    return tuple(notes)
