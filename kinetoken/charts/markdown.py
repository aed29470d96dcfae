"""Pages of Markdown in which every text that a user can choose stays plain text."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
ACTIVE = {"$": "&#36;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}  # formulas, mentions, links
NONE = "–"


class Markdown(str):
    """Text that is Markdown already; any other is escaped where a template prints it."""


def plain(text: object) -> Markdown:
    """Any text as Markdown that shows it as it is, in one line: no markup, no HTML, no links."""
    line = SPECIAL.sub(r"\\\1", html.escape(BREAKS.sub(" ", str(text)).strip(), quote=False))
    for active, shown in ACTIVE.items():
        line = line.replace(active, shown)
    return Markdown(line)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table; cells that are no Markdown are escaped, empty ones are dashes."""
    lines = [head, ["---"] * len(head), *rows]
    return Markdown("\n".join("|" + "|".join(f" {shown(cell)} " for cell in line) + "|" for line in lines))


def shown(cell: object) -> Markdown:
    if cell is None or cell == "":
        return Markdown(NONE)
    return cell if isinstance(cell, Markdown) else plain(cell)


def render(folder: Path, template: str, content: Mapping[str, Any]) -> str:
    """The template of `folder` filled with `content`; the same bytes for the same content.

    In a template, `|md` says that a text is Markdown already. Raises jinja2.UndefinedError for a name that `content`
    does not hold.
    """
    body = _environment(folder).get_template(template).render(**content)
    return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


@cache
def _environment(folder: Path) -> "Environment":
    """Templates are compiled once, not once a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=False, finalize=shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters["md"] = Markdown
    return environment
