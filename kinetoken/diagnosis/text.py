"""A verdict in words, as Markdown, beside the same as data."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kinetoken.diagnosis.causes import CANNOT_TELL
from kinetoken.diagnosis.rules import HEALTHY
from kinetoken.diagnosis.statement import Measured, Said, Statement, cost_of, write_statement

HOW_USED, WHAT_KEPT = "How are the codes used?", "What did they keep?"  # the two questions that every verdict answers
NOT_COUNTED = "The codes were not counted, so nothing can be said about their use."
NOTHING_FOUND = "No fault was found."


def answer_page(statement: Statement) -> str:
    """The verdict as a page: one sentence, the two questions with their answers, and each finding with its evidence."""
    lines = [f"# Verdict: {statement.cause}", "", statement.sentence, ""]
    lines += [f"**{HOW_USED}** {used_answer(statement)}", ""]
    lines += [f"**{WHAT_KEPT}** {kept_answer(statement)}", ""]
    for one in explained(statement):
        lines += [*_finding(one, statement), ""]
    return "\n".join(lines)


def verdict_page(statement: Statement) -> str:
    """The answers, then the measures that the verdict rests on, and the others."""
    return "\n".join([
        answer_page(statement), "## Measures that decided the verdict", "", *_table(statement.rests_on), "",
        "## Other measures", "", *_table(statement.others),
    ]) + "\n"


def write_verdict(page: Path, data: Path, statement: Statement) -> None:
    """The statement as Markdown at `page` and as JSON at `data`."""
    write_statement(data, statement)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(verdict_page(statement), encoding="utf-8")


def explained(statement: Statement) -> tuple[Said, ...]:
    """Every finding once: the headline, then the others, the answer to what was kept among them."""
    return tuple(dict.fromkeys((statement.headline, *statement.findings)))


def kept_answer(statement: Statement) -> str:
    """The answer to what the codes kept: what is lost and why, or where nothing can be said, what to bring."""
    kept = statement.kept
    if kept.name.startswith(CANNOT_TELL):
        said = f"{kept.title}. {kept.surer}"
    elif kept.severity is None:
        said = f"Cannot tell: {kept.name}. {kept.surer}".rstrip()
    else:
        cost = cost_of(kept, statement.rests_on)
        said = f"Healthy: {cost} is lost." if kept.name == HEALTHY else f"Lost: {cost} ({kept.name})."
    return f"{said}{''.join(f' Also: {noted(one)}.' for one in statement.beside)}"


def noted(one: Said) -> str:
    """A finding's name with its degree."""
    return f"{one.name} ({'worth knowing' if one.severity == 0 else one.degree})"


def used_answer(statement: Statement) -> str:
    """The answer to how the codes are used: perplexity, and what was found."""
    measured = {one.measure: one.value for one in (*statement.rests_on, *statement.others)}
    perplexity, size, top = (measured.get(name) for name in ("perplexity", "codebook_size", "top1_share"))
    found = [noted(one) for one in statement.use]
    said = f"Found: {'; '.join(found)}." if found else NOTHING_FOUND
    if perplexity is None or size is None:
        return said if found else NOT_COUNTED
    most = "" if top is None else f"; the most frequent entry has {top:.1%} of the tokens"
    return f"{perplexity:,.3g} of {size:,.0f} entries are in effective use (perplexity){most}. {said}"


def _finding(one: Said, statement: Statement) -> Iterator[str]:
    yield f"## {one.title}"
    yield ""
    cost = statement.lost if one == statement.headline else ""
    yield " ".join(filter(None, (one.evidence, cost, f"Confidence: {one.confidence}.")))
    yield ""
    yield f"**What to do:** {one.cure}"
    if one.example:
        yield from ("", f"```{'sh' if one.example.startswith('dvc ') else 'python'}", one.example, "```")
    if one.sources:
        yield from ("", f"Sources: {'; '.join(one.sources)}.")
    if one.surer and one.surer != one.cure:
        yield from ("", f"**What would make it surer:** {one.surer}")


def _table(measured: Sequence[Measured]) -> list[str]:
    return ["| measure | value |", "|---|---|", *(f"| {one.name} | {one.shown} |" for one in measured)]
