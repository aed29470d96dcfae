"""A verdict in words, as Markdown, beside the same as data."""

from collections.abc import Sequence
from pathlib import Path

from kinetoken.diagnosis.statement import Measured, Statement, write_statement


def verdict_page(statement: Statement) -> str:
    """The verdict as a page: cause, evidence, cure, remarks, the measures it rests on, and then the others."""
    lines = [
        f"# Verdict: {statement.cause}", "", " ".join(filter(None, (statement.evidence, statement.lost))), "",
        f"**Cure:** {statement.cure}", "",
        *(line for remark in statement.beside for line in (f"**Also found:** {remark}", "")),
        "## Evidence for the verdict", "", *_table(statement.rests_on), "",
        "## Other measures", "", *_table(statement.others),
    ]
    return "\n".join(lines) + "\n"


def write_verdict(page: Path, data: Path, statement: Statement) -> None:
    """The statement as Markdown at `page` and as JSON at `data`."""
    write_statement(data, statement)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(verdict_page(statement), encoding="utf-8")


def _table(measured: Sequence[Measured]) -> list[str]:
    return ["| measure | value |", "|---|---|", *(f"| {one.name} | {one.shown} |" for one in measured)]
