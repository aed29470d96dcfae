"""Pages of HTML that ask for nothing from outside: one frame, one sheet, one script and one set of parts for all.

A page's own template extends page.html.j2 (blocks title, style and body) and draws the nouns of `parts`, of `sprites`
and of `pictures` with the macros of parts.html.j2. All text is escaped.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(
    folder: Path, template: str, content: Mapping[str, Any], *, plays: bool = False, charts: bool = False
) -> str:
    """The template of `folder` filled with `content`, as HTML text: the same for the same content.

    plays: the page has clips (the macros `cards` and `player`) and the script that moves them; without it the page
    forbids all scripts. charts: it has charts of `vega` too, and the one script that draws them.
    Raises jinja2.UndefinedError for a name that `content` does not hold.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    drawing: dict[str, Any] = {"vega": "", "chart_config": "{}"}
    if charts:
        from kinetoken.charts import vega

        drawing = {"vega": Markup(vega.script()), "chart_config": Markup(json.dumps(vega.CONFIG))}
    return environment.get_template(template).render(**content, **drawing, plays=plays)
