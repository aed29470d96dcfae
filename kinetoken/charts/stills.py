"""Charts of `vega` as small pictures for pages that run no script: the light page's colours, a legend within.

The same chart gives the same bytes: fonts come with the library that draws, no file of the machine is read.
"""

import copy
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from kinetoken.charts import vega

WIDTH = 420  # px of the plot, without its axes
SCALE = 1.5
INKS = 128  # colours that a picture keeps: more than a chart has, so that only the edges of its letters change
FONT = "Liberation Sans"  # one of those that vl-convert brings with it
MOST_NAMED = 12  # entries of a legend
SHEET = Path(__file__).parent / "templates" / "style.css.j2"
COLOUR = re.compile(r"--([a-z0-9]+): (#[0-9a-f]{3,6})")
USED = re.compile(r"var\(--([a-z0-9]+)\)")


def png(chart: vega.Chart, *, width: int = WIDTH) -> bytes:
    """The chart on white."""
    import vl_convert

    spec = still(chart.spec, width)
    drawn = vl_convert.vegalite_to_png(json.dumps(spec), vl_version=vega.version(), scale=SCALE)
    return _smaller(drawn)


def still(spec: vega.Spec, width: int) -> vega.Spec:
    """The specification with nothing left to a page: colours, size and legend of its own, nothing to drag."""
    found: Any = _coloured(copy.deepcopy(dict(spec)))
    for view in (found, *found.get("layer", ())):
        if "params" in view:
            view["params"] = [one for one in view["params"] if not str(one.get("name", "")).startswith("drag_")]
    for place, encoding in enumerate(_colour_encodings(found)):
        names = encoding.get("scale", {}).get("domain", ())
        shown = place == 0 and 1 < len(names) <= MOST_NAMED
        encoding["legend"] = {"title": None, "orient": "bottom", "columns": 3, "labelLimit": 240} if shown else None
    config = _coloured(copy.deepcopy(vega.CONFIG)) | {"background": "#fff", "font": FONT}
    return {**found, "width": width, "autosize": {"type": "pad"}, "padding": 8, "config": config}


def _colour_encodings(spec: Any) -> list[Any]:  # noqa: ANN401 - Vega-Lite's
    """The scales of colour by name, of all layers."""
    found = [view.get("encoding", {}).get("color", {}) for view in (spec, *spec.get("layer", ()))]
    return [one for one in found if "scale" in one]


def _coloured(node: Any) -> Any:  # noqa: ANN401 - JSON
    """The same with colours in place of the page's names for them."""
    if isinstance(node, dict):
        return {key: _coloured(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_coloured(value) for value in node]
    return USED.sub(lambda found: light()[found[1]], node) if isinstance(node, str) else node


@cache
def light() -> dict[str, str]:
    """The colours of the light page, by their names in its sheet."""
    first = SHEET.read_text(encoding="utf-8").partition("@media")[0]
    return dict(COLOUR.findall(first))


def _smaller(drawn: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(drawn)) as opened:
        kept = opened.convert("RGB").quantize(INKS, dither=Image.Dither.NONE)
    content = io.BytesIO()
    kept.save(content, "PNG", optimize=True)
    return content.getvalue()
