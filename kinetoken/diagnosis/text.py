"""A verdict in words, as Markdown, beside the same as data."""

from collections.abc import Sequence
from pathlib import Path

from kinetoken.diagnosis.statement import Measured, Statement, write_statement


def verdict_page(statement: Statement) -> str:
    """The verdict as a page: the headline and its cure, the two answers, what else was found, and the measures."""
    head = statement.headline
    lines = [f"# Verdict: {statement.cause}", "", " ".join(filter(None, (head.evidence, statement.lost))), ""]
    lines += [f"**What to do:** {head.cure}", ""]
    lines += ["```", head.example, "```", ""] if head.example else []
    lines += [f"**What would make it surer:** {head.surer}", ""] if head.surer and head.surer != head.cure else []
    if statement.kept != head:
        lines += [f"**What the codes kept:** {statement.kept.name}. {statement.kept.evidence}", ""]
    for one in statement.findings:
        if one != statement.kept:
            lines += [f"**Also found:** {one}", ""]
    lines += ["## Evidence for the verdict", "", *_table(statement.rests_on), ""]
    return "\n".join([*lines, "## Other measures", "", *_table(statement.others)]) + "\n"


def write_verdict(page: Path, data: Path, statement: Statement) -> None:
    """The statement as Markdown at `page` and as JSON at `data`."""
    write_statement(data, statement)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(verdict_page(statement), encoding="utf-8")


def _table(measured: Sequence[Measured]) -> list[str]:
    return ["| measure | value |", "|---|---|", *(f"| {one.name} | {one.shown} |" for one in measured)]
