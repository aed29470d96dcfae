"""A verdict in words, as Markdown."""

import dataclasses

from kinetoken.diagnosis.causes import Verdict
from kinetoken.diagnosis.measures import Measures

READINGS = ("floor", "probe_pixels", "probe_latents", "probe_codes", "probe_codes_pooled")  # every verdict rests on


def verdict_page(verdict: Verdict, measures: Measures) -> str:
    """The verdict as a page: cause, evidence, cure, remarks, the measures it rests on, and then the others."""
    lost = "" if verdict.severity is None else f" Lost of what can be read: {verdict.severity:.0%} ({verdict.degree})."
    first, others = by_weight(verdict)
    lines = [
        f"# Verdict: {verdict.cause}", "", verdict.evidence + lost, "", f"**Cure:** {verdict.cure}", "",
        *(line for remark in verdict.remarks for line in (f"**Beside that:** {remark}", "")),
        "## What it rests on", "", *_table(measures, first), "",
        "## What else was measured", "", *_table(measures, others),
    ]
    return "\n".join(lines) + "\n"


def _table(measures: Measures, names: tuple[str, ...]) -> list[str]:
    rows = ["| measure | value |", "|---|---|"]
    for name in names:
        rows.append("| {} | {} |".format(*in_words(measures, name)))
    return rows


def by_weight(verdict: Verdict) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the measures that the verdict rests on, the readings along the chain first, and of all others."""
    first = tuple(dict.fromkeys((*READINGS, *verdict.rests_on)))
    return first, tuple(field.name for field in dataclasses.fields(Measures) if field.name not in first)


def in_words(measures: Measures, name: str) -> tuple[str, str]:
    """A measure's name and value as a reader sees them."""
    value = getattr(measures, name)
    return name.replace("_", " "), "not measured" if value is None else f"{value:.4g}"
