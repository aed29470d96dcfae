"""A comparison as one HTML page: no request, no script, all text escaped."""

from itertools import groupby
from pathlib import Path

from kinetoken.charts.page import render
from kinetoken.comparison import words
from kinetoken.comparison.comparison import RevisionComparison

TEMPLATES = Path(__file__).parent / "templates"
MOST_OPEN = 12  # rows of a table of causes; a longer one is folded


def to_html(found: RevisionComparison) -> str:
    """The whole page; the same for the same comparison."""
    groups = groupby(found.others, key=lambda row: row.stage)
    stages = [(stage, words.shown_rows(words.differing(list(rows)))) for stage, rows in groups]
    content = {
        "found": found, "causes": words.causes(found), "counts": words.headline_counts(found),
        "notes": words.notes(found), "records": words.RECORDS, "most_open": MOST_OPEN,
        "reruns": [(one, words.reasons(one), words.outcome(one)) for one in found.reruns],
        "headlines": words.shown_rows(words.differing(found.headlines)),
        "equal": words.shown_rows(words.equal(found.headlines)),
        "stages": [(stage, rows) for stage, rows in stages if rows], "equal_others": len(words.equal(found.others)),
    }
    return render(TEMPLATES, "revisions.html.j2", content)
