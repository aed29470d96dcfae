"""Motion cards, one or several side by side, as HTML and Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinetoken.charts.page import render
from kinetoken.charts.parts import Cell, Line, Link, Table
from kinetoken.charts.sprites import Card, sprite
from kinetoken.examination.card import GROUPS, POINTS, CardNumber, Measure, MotionCard
from kinetoken.examination.compare import ComparedRow, Comparison

TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = ("value", "baseline", "upper bound", "95 % interval")
READINGS = "Law of motion (four classes)"  # drawn as bars too


@dataclass(frozen=True)
class Fact:
    """A line of the head of a card."""

    name: str
    text: str


def facts(card: MotionCard) -> list[Fact]:
    """What was examined, in words."""
    one = card.tokenizer
    shape = " × ".join(map(str, card.codes_shape))
    coded = f"{shape} codes" if one.quantized else f"{shape} continuous latents, never quantized"
    found = [
        Fact("Clips", f"{one.frames} frames of {one.size} × {one.size} pixels at {one.fps:g} frames a second"),
        Fact("A clip becomes", coded),
    ]
    if one.quantized:
        levels = f" (levels {', '.join(map(str, one.levels))})" if one.levels else ""
        size = "of unknown size" if one.codebook_size is None else f"of {one.codebook_size} codes{levels}"
        found.append(Fact("Codebook", f"{size}, quantizer {one.quantizer}"))
    if one.library:
        found.append(Fact("Library", one.library))
    counts = card.motion_set
    found.append(Fact("Shown", f"{counts.train} training, {counts.val} validation, {counts.test} test clips"))
    return found


def headline(card: MotionCard) -> str:
    """The verdict's cause with its severity, as a title."""
    verdict = card.verdict
    title = verdict.cause[:1].upper() + verdict.cause[1:]
    known = verdict.severity is not None and verdict.degree not in ("none", "unknown")
    lost = f" ({verdict.degree}: {verdict.severity:.0%} lost)" if known and not verdict.healthy else ""
    return f"{title}{lost}"


def shown(value: float | None, unit: str) -> str:
    """A number with four significant digits; shares as percent."""
    if value is None:
        return ""
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.4g}"


def _interval(number: CardNumber, unit: str) -> str:
    if number.ci95_low is None or number.ci95_high is None:
        return ""
    return f"{shown(number.ci95_low, unit)} … {shown(number.ci95_high, unit)}"


def _named(measure: Measure) -> str:
    return f"{measure.name}, {measure.unit}" if measure.unit not in ("", "%") else measure.name


def _groups(card: MotionCard) -> Iterator[tuple[str, list[tuple[Measure, CardNumber]]]]:
    for title, measures in GROUPS.items():
        if present := [(measure, card.numbers[measure.key]) for measure in measures if measure.key in card.numbers]:
            yield title, present


def card_markdown(card: MotionCard) -> str:
    """The verdict, the facts, every number with what makes it readable, the checks and the notes."""
    verdict = card.verdict
    lines = [f"# Motion card of {card.tokenizer.name}: {headline(card)}", "", verdict.evidence]
    lines += ["", f"**Cure:** {verdict.cure}"] if verdict.cure else []
    lines += [line for finding in card.findings for line in ("", f"**Also found:** {finding}")]
    lines += ["", "| | |", "|---|---|", *(f"| {fact.name} | {fact.text} |" for fact in facts(card))]
    for title, rows in _groups(card):
        lines += ["", f"## {title}", "", f"| | {' | '.join(COLUMNS)} |", "|---|---|---|---|---|"]
        lines += [f"| {_named(measure)} | {' | '.join(_cells(number, measure.unit))} |" for measure, number in rows]
    lines += ["", "## Checks", "", "| question | answer | |", "|---|---|---|"]
    lines += [f"| {check.question} | {check.answer} | {check.evidence} |" for check in card.checks]
    lines += ["", "## What was assumed, and what could not be measured", "", *(f"- {note}" for note in card.notes)]
    return "\n".join(lines) + "\n"


def _cells(number: CardNumber, unit: str) -> list[str]:
    values = (number.value, number.baseline, number.upper_bound)
    return [*(shown(value, unit) for value in values), _interval(number, unit)]


def card_html(card: MotionCard) -> str:
    """One page that needs no network."""
    tables = [
        (Table(title, COLUMNS, [
            Line(_named(measure), [Cell(text) for text in _cells(number, measure.unit)]) for measure, number in rows
        ]), _abouts([measure for measure, _ in rows]))
        for title, rows in _groups(card)
    ]
    clips = _clips(card)
    return render(TEMPLATES, "card.html.j2", {
        "card": card, "headline": headline(card), "facts": facts(card), "tables": tables, "chain": _chain(card),
        "clips": clips, "frames": card.tokenizer.frames, "fps": card.tokenizer.fps,
    }, plays=bool(clips))


def _abouts(measures: list[Measure]) -> list[tuple[str, str]]:
    """What the measures mean, once for those that differ only by the point of the chain."""
    first = {(measure.name.partition(",")[0], measure.about): None for measure in measures}
    return list(first)


def _chain(card: MotionCard) -> list[Link]:
    """Class accuracy from pixels to averaged codes, as bars."""
    found = []
    for point, name in POINTS.items():
        if (number := card.numbers.get(f"class.{point}")) is not None:
            found.append(Link(name, "", number.value, number.ci95_low, number.ci95_high, number.baseline))
    return found


def _clips(card: MotionCard) -> list[Card]:
    """Test clips beside their reconstructions; none where the package that makes pictures is not installed."""
    try:
        return [
            Card(one.label, "", [sprite(one.original, "original"), sprite(one.reconstruction, "reconstruction")])
            for one in card.samples
        ]
    except ModuleNotFoundError:
        return []


def comparison_markdown(comparison: Comparison) -> str:
    """Verdicts, checks and every measure, a column a card."""
    names = comparison.names
    head = [f"| | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    lines = ["# Motion cards side by side", "", *head]
    lines += [f"| {line.name} | {' | '.join(cell.text for cell in line.cells)} |" for line in _heads(comparison)]
    for title, rows in comparison.groups.items():
        lines += ["", f"## {title}", "", *head]
        lines += [f"| {_named(row.measure)} | {' | '.join(_marked(row))} |" for row in rows]
    lines += ["", *(f"- {note}" for note in comparison.notes)]
    return "\n".join(lines) + "\n"


def _marked(row: ComparedRow) -> list[str]:
    found = []
    for place, number in enumerate(row.numbers):
        text = "" if number is None else shown(number.value, row.measure.unit)
        found.append(f"**{text}**" if place in row.best else text)
    return found


def _heads(comparison: Comparison) -> list[Line]:
    """The lines above the numbers: verdict, facts and checks of each card."""
    cards = comparison.cards
    lines = [Line("verdict", [Cell(headline(card)) for card in cards])]
    named = [{fact.name: fact.text for fact in facts(card)} for card in cards]
    for name in ("Clips", "A clip becomes", "Codebook"):
        lines.append(Line(name.lower(), [Cell(found.get(name, "")) for found in named]))
    for place, check in enumerate(cards[0].checks):
        lines.append(Line(check.name.replace("_", " "), [Cell(card.checks[place].answer) for card in cards]))
    return lines


def _cell(number: CardNumber | None, unit: str, best: bool) -> Cell:
    if number is None:
        return Cell("")
    return Cell(shown(number.value, unit) + (" ●" if best else ""), _interval(number, unit))


def comparison_html(comparison: Comparison) -> str:
    """One page that needs no network."""
    names: Sequence[str] = comparison.names
    tables = [Table("Verdicts and checks", names, _heads(comparison))]
    for title, rows in comparison.groups.items():
        lines = [
            Line(_named(row.measure), [
                _cell(number, row.measure.unit, place in row.best) for place, number in enumerate(row.numbers)
            ]) for row in rows
        ]
        tables.append(Table(title, names, lines))
    return render(TEMPLATES, "comparison.html.j2", {"names": names, "tables": tables, "notes": comparison.notes})
