"""The little Markdown that verdicts are written in, as escaped HTML: headings, lists, tables, bold and code."""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

BOLD, CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`([^`]+)`")


def to_html(text: str) -> Markup:
    """The text with all HTML in it escaped; headings become h4 so that they fit under the page's own."""
    return Markup("\n").join(_blocks(text))


def _blocks(text: str) -> Iterator[Markup]:
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        while lines and lines[0].startswith("#"):
            yield Markup("<h4>{}</h4>").format(_inline(lines.pop(0).lstrip("# ")))
        if not lines:
            continue
        if all(re.match(r"\s*([-*]|\d+\.) |\s{2,}\S", line) for line in lines):
            yield Markup("<ul>{}</ul>").format(Markup("").join(_items(lines)))
        elif all(line.startswith("|") for line in lines):
            yield _table(lines)
        else:
            yield Markup("<p>{}</p>").format(_inline(" ".join(line.strip() for line in lines)))


def _items(lines: list[str]) -> Iterator[Markup]:
    items: list[str] = []
    for line in lines:
        if re.match(r"\s*([-*]|\d+\.) ", line) or not items:
            items.append(re.sub(r"^\s*([-*]|\d+\.) ", "", line))
        else:
            items[-1] += " " + line.strip()
    return (Markup("<li>{}</li>").format(_inline(item)) for item in items)


def _table(lines: list[str]) -> Markup:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    drawn = Markup("")
    for place, row in enumerate(rows):
        cell = Markup("<th>{}</th>") if place == 0 else Markup("<td>{}</td>")
        drawn += Markup("<tr>{}</tr>").format(Markup("").join(cell.format(_inline(text)) for text in row))
    return Markup('<div class="scroll"><table>{}</table></div>').format(drawn)


def _inline(text: str) -> Markup:
    safe = str(escape(text))
    return Markup(CODE.sub(r"<code>\1</code>", BOLD.sub(r"<strong>\1</strong>", safe)))
