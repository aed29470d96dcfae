"""Markdown with YAML front matter in which every text that a user can choose stays plain text."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
ACTIVE = {"$": "&#36;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}  # formulas, mentions, links
PLACE = re.compile(r"(?:~|[A-Za-z]:)?[\\/]")  # how a place on one machine begins
NONE = "–"


class Markdown(str):
    """Text that is Markdown already; any other is escaped where a template prints it."""


def plain(text: object) -> Markdown:
    """Any text as Markdown that shows it as it is, in one line: no markup, no HTML, no links."""
    line = SPECIAL.sub(r"\\\1", html.escape(BREAKS.sub(" ", str(text)).strip(), quote=False))
    for active, shown in ACTIVE.items():
        line = line.replace(active, shown)
    return Markdown(line)


def fenced(text: str, language: str) -> Markdown:
    """A block of code, between fences longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table; cells that are no Markdown are escaped, empty ones are dashes."""
    lines = [head, ["---"] * len(head), *rows]
    return Markdown("\n".join("|" + "|".join(f" {shown(cell)} " for cell in line) + "|" for line in lines))


def shown(cell: object) -> Markdown:
    if cell is None or cell == "":
        return Markdown(NONE)
    return cell if isinstance(cell, Markdown) else plain(cell)


def as_yaml(content: Mapping[str, Any]) -> str:
    """YAML in the order of the keys, each text on one line; places on a machine by their last part alone."""
    text: str = yaml.safe_dump(
        portable(content), sort_keys=False, allow_unicode=True, width=2**20, default_flow_style=False
    )
    return text


def portable(node: Any) -> Any:  # noqa: ANN401 - what YAML holds
    """The same content with no folders of the machine that it comes from."""
    if isinstance(node, Mapping):
        return {str(key): portable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [portable(value) for value in node]
    if isinstance(node, str) and PLACE.match(node):
        return re.split(r"[\\/]", node.rstrip("\\/"))[-1]
    return node


def render(template: str, front: Mapping[str, Any] | None, content: Mapping[str, Any]) -> str:
    """A page: front matter, if any, and the template filled with `content`; the same bytes for the same content.

    In a template, `|md` says that a text is Markdown already. Raises jinja2.UndefinedError for a name that `content`
    does not hold.
    """
    body = _environment().get_template(template).render(**content)
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    return body if front is None else f"---\n{as_yaml(front)}---\n\n{body}"


@cache
def _environment() -> "Environment":
    """Templates are compiled once, not once a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=False, finalize=shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters["md"] = Markdown
    return environment
