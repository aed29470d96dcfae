"""A comparison as Markdown: what changed, what ran again, and the results that changed, headlines first."""

from collections.abc import Iterator, Sequence

from kinetoken.comparison import words
from kinetoken.comparison.comparison import RevisionComparison

MOST_FILES = 12  # of the code; further ones are counted
SPECIAL = str.maketrans({"|": "\\|", "`": "\\`", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})
COLUMNS = ("", "baseline", "upper bound", "A", "B", "difference", "95 % interval", "")


def to_markdown(found: RevisionComparison) -> str:
    """The comparison for a terminal or a pull request. What a file or a commit says is escaped."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: RevisionComparison) -> Iterator[str]:
    yield f"# {_plain(found.a.name)} → {_plain(found.b.name)}"
    yield ""
    for letter, side in (("A", found.a), ("B", found.b)):
        yield f"- {letter}: {_plain(' '.join(filter(None, (side.commit, side.subject))))}"
    yield ""
    yield f"{words.causes(found)} {words.headline_counts(found)}"
    yield from _causes(found)
    yield from _results(found)
    yield from ("", "## How to read this", "")
    yield from (f"- {note}" for note in words.notes(found))


def _causes(found: RevisionComparison) -> Iterator[str]:
    if found.params:
        yield from ("", "## Parameters", "")
        rows = [(one.section, one.name, one.a, one.b) for one in found.params]
        yield from _table(("stage", "parameter", "A", "B"), rows)
    if found.fingerprints or found.code:
        yield from ("", "## Code", "")
        yield f"Stages whose code differs: {_plain(', '.join(found.fingerprints)) or 'none'}."
        yield ""
        yield from (f"- {_plain(one.path)} {_lines_of(one.added, one.removed)}" for one in found.code[:MOST_FILES])
        if len(found.code) > MOST_FILES:
            yield f"- and {len(found.code) - MOST_FILES} further files"
    if found.reruns:
        yield from ("", "## Stages", "")
        stages = [(one.stage, words.reasons(one), words.outcome(one)) for one in found.reruns]
        yield from _table(("stage", "what changed before it", "what it made"), stages)
        yield from ("", words.RECORDS)


def _results(found: RevisionComparison) -> Iterator[str]:
    yield from ("", "## Headlines", "")
    changed = words.shown_rows(words.differing(found.headlines))
    if changed:
        yield from _table(COLUMNS, [_cells(row, row.title) for row in changed])
    else:
        yield "No headline differs."
    beyond = words.shown_rows(words.beyond(found.others))
    if beyond:
        yield from ("", "## Other numbers beyond their interval", "")
        yield from _table(COLUMNS, [_cells(row, row.name) for row in beyond])
    rest = len(words.differing(found.others)) - len(beyond)
    if rest:
        yield from ("", f"{rest} further numbers differ, within their interval or without one; the page lists them.")
    for title, names in (("Confusion matrices", [one.title for one in found.confusions]),
                         ("Curves", [one.title for one in found.curves]),
                         ("Pictures", [one.title for one in found.pictures])):
        if names:
            yield from ("", f"{title} that differ: {_plain(', '.join(names))}.")
    if found.clips.cards:
        shown = len(found.clips.cards)
        yield from ("", f"The page shows {shown} test clips, as the models of A and of B decode and predict them.")
    elif found.clips.said:
        yield from ("", _plain(found.clips.said))


def _cells(row: words.ResultRow, name: str) -> tuple[str, ...]:
    return name, row.baseline, row.upper_bound, row.a, row.b, row.difference, row.interval, row.word


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    yield from (f"| {' | '.join(map(_plain, row))} |" for row in rows)


def _lines_of(added: int | None, removed: int | None) -> str:
    return "(no text)" if added is None or removed is None else f"+{added} −{removed}"


def _plain(text: str) -> str:
    return text.translate(SPECIAL)
