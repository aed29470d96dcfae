"""Cards: Markdown with YAML front matter, in which every text that a user can choose stays plain text."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kinetoken.charts import markdown
from kinetoken.charts.markdown import Markdown

TEMPLATES = Path(__file__).parent / "templates"
PLACE = re.compile(r"(?:~|[A-Za-z]:)?[\\/]")  # how a place on one machine begins


def fenced(text: str, language: str) -> Markdown:
    """A block of code, between fences longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{text.rstrip()}\n{fence}")


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
    """A card: front matter, if any, and the template filled with `content`; as of `kinetoken.charts.markdown`."""
    body = markdown.render(TEMPLATES, template, content)
    return body if front is None else f"---\n{as_yaml(front)}---\n\n{body}"
