"""Interactive charts: Vega-Lite specifications that Altair builds, and the one script that draws them in a page.

A specification is a plain dictionary, the same for the same data. Its colours are the page's own (`var(--c0)` …), so
one chart serves the light and the dark page. `shown` lays a specification into a page; the page's script draws it when
it comes into view, and its own legend shows and hides lines. Rows with `track` or `tracks` lead to clips.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from markupsafe import Markup

from kinetoken.charts.parts import Confusion, Figure, Link
from kinetoken.charts.svg import Series

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

HEIGHT = 220
COLOURS = 8
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")  # one for each eight classes
SCRIPT = "window.vegaEmbed = vegaEmbed;"
GRAB = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
DRAW = "[pointerdown[!event.shiftKey], window:pointerup] > window:pointermove!"
WHEEL = "wheel![event.ctrlKey]"
MOST_WRITTEN = 20  # classes of a matrix whose cells show their number
STRONG = 0.55  # from this share on, a cell's number is written in the colour of the page
LINE_ENDS = re.compile(r"\u2028|\u2029|\\u2028|\\u2029")
CELL = 30  # px of a matrix's row


@dataclass(frozen=True)
class Chart(Figure):
    """A figure with the specification that it is drawn from, which `kinetoken.charts.stills` draws as a picture."""

    spec: Spec = field(default_factory=dict)
    label: str = ""


def version() -> str:
    """Of Vega-Lite, as its library names it: that of the specifications."""
    import altair

    return ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])


@cache
def script() -> str:
    """Vega, Vega-Lite and vega-embed as one script with nothing to load."""
    import vl_convert

    return str(vl_convert.javascript_bundle(SCRIPT, vl_version=version())).replace("</script", "<\\/script")


def line_spec(
    series: Sequence[Series], x: str, y: str, *, bounds: tuple[float, float] | None = None, log: bool = False,
    diagonal: bool = False, ticks: Sequence[float] = (), height: int = HEIGHT,
) -> Spec:
    """Lines with bands over shared axes; `diagonal` draws y = x, `ticks` replaces the round values of x."""
    import altair as alt

    kept = [row for row in _rows(series) if not log or row["y"] > 0]
    # from the lowest line, whatever the intervals do below it: a logarithm has no zero
    kind: dict[str, Any] = {"type": "log"} if log else {"zero": False}
    if bounds:
        kind["domain"] = list(bounds)
    scale = alt.Scale(nice=True, **kind)
    digits: dict[str, Any] = {"format": "~g"} if log else {}
    axis = alt.Axis(values=list(ticks), format="~g") if ticks else alt.Axis(tickCount=5)
    across = alt.X("x:Q", title=x, axis=axis, scale=alt.Scale(zero=False, nice=not ticks))
    up = alt.Y("y:Q", title=y, axis=alt.Axis(tickCount=5, **digits), scale=scale)
    colour, dash = _colour(series), alt.StrokeDash("dashed:N", legend=None, scale=alt.Scale(
        domain=[False, True], range=[[1, 0], [5, 4]]))
    tip = [alt.Tooltip("name:N", title="line"), alt.Tooltip("x:Q", title=x, format="~g"),
           alt.Tooltip("y:Q", title=y, format=".4~g")]
    if any(len(one.low) for one in series):
        ends = (("low", "95 % from"), ("high", "to"))
        tip += [alt.Tooltip(f"{end}:Q", title=name, format=".4~g") for end, name in ends]
    base = _chart()
    layers = [base.mark_area(opacity=0.16).encode(x=across, y=alt.Y("low:Q", title=y), y2="high:Q", color=colour)
              .transform_filter("isValid(datum.low)")] if any(len(one.low) for one in series) else []
    layers.append(base.mark_line(strokeWidth=2.2).encode(x=across, y=up, color=colour, strokeDash=dash)
                  .transform_filter("!datum.points"))
    layers.append(_chart("points").mark_point(filled=True, opacity=1).encode(
        x=across, y=up, color=colour, tooltip=tip,
        size=alt.condition("datum.points", alt.value(130), alt.value(34)),
    ).add_params(*_zoom(alt)))
    if diagonal:
        corners = alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        layers.append(alt.Chart(corners).mark_line(strokeDash=[4, 4], color="var(--soft)").encode(x="x:Q", y="y:Q"))
    return _finished(alt.layer(*layers, data=_data(kept)), height)


def bar_spec(
    series: Sequence[Series], x: str, y: str, *, rule: tuple[float, str] | None = None, height: int = HEIGHT,
    tracks: Mapping[tuple[str, float], Sequence[int]] | None = None,
) -> Spec:
    """Bars from 0 at each x, those of several series side by side; `rule` is an upright line with its name.

    tracks: (series, x) → the clips that a bar stands for.
    """
    import altair as alt

    xs = sorted({value for one in series for value in one.x})
    gap = min((after - before for before, after in zip(xs, xs[1:], strict=False)), default=1.0)
    wide = 0.86 * gap / max(len(series), 1)
    rows = []  # each bar from left to right and from zero
    for place, one in enumerate(series):
        for at, value in zip(one.x, one.y, strict=True):
            if not math.isfinite(value):
                continue
            left = at + (place - len(series) / 2) * wide
            row: dict[str, Any] = {"name": one.name, "at": at, "x": left, "x2": left + wide, "y": value}
            row["zero"] = 0
            rows.append(row | ({"tracks": list(tracks.get((one.name, at), ()))} if tracks is not None else {}))
    tip = [alt.Tooltip("name:N", title="bar"), alt.Tooltip("at:Q", title=x, format="~g"),
           alt.Tooltip("y:Q", title=y, format=".4~g")]
    layers = [_chart("bars").mark_bar(cursor="pointer" if tracks is not None else "default").encode(
        x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False)), x2="x2:Q", y=alt.Y("y:Q", title=y, stack=None),
        y2="zero:Q", color=_colour(series), tooltip=tip,
    )]
    if rule:
        upright = alt.Data(values=[{"x": rule[0], "name": rule[1]}])
        layers.append(alt.Chart(upright).mark_rule(strokeDash=[4, 4], color="var(--ink)").encode(x="x:Q"))
        layers.append(alt.Chart(upright).mark_text(align="left", dx=5, dy=7, baseline="top", color="var(--ink)").encode(
            x="x:Q", y=alt.value(0), text="name:N"))
    return _finished(alt.layer(*layers, data=_data(rows)), height)


def point_spec(rows: Rows, classes: Sequence[str], *, height: int = 250) -> Spec:
    """Points by class (keys x, y, name and perhaps track) without axes: an embedding has no units."""
    import altair as alt

    tip = [alt.Tooltip("name:N", title="class")]
    tip += [alt.Tooltip("track:Q", title="track", format="d")] if any("track" in row for row in rows) else []
    bare = alt.Axis(labels=False, ticks=False, title=None, domain=False, grid=False)
    scale = alt.Scale(zero=False, nice=False, padding=8)
    shapes = [SHAPES[place // COLOURS % len(SHAPES)] for place in range(len(classes))]
    drawn = _chart("points", _data(rows)).mark_point(filled=True, size=34, opacity=0.8, cursor="pointer").encode(
        x=alt.X("x:Q", axis=bare, scale=scale), y=alt.Y("y:Q", axis=bare, scale=scale), color=_colours(classes),
        shape=alt.Shape("name:N", legend=None, scale=alt.Scale(domain=list(classes), range=shapes)), tooltip=tip,
    ).add_params(*_zoom(alt), alt.selection_interval(name="drag_brush", on=DRAW, translate=False, zoom=False))
    return _finished(drawn, height)


def matrix_spec(
    rows: Rows, across: Sequence[str], down: Sequence[str], *, x: str, y: str, tip: Mapping[str, str],
    cell: int = CELL, text: bool = True, numbered: bool = False,
) -> Spec:
    """Cells (keys x, y, shade in [0, 1], text, good) on a grid; `tip`: further key → what it is.

    A good cell has the first colour, any other the colour of a warning; the stronger the colour, the more. Long names
    stand beside their rows only if they are `numbered`, their columns bear the same numbers.
    """
    import altair as alt

    leads = any(row.get("tracks") for row in rows)
    axis: dict[str, Any] = {"domain": False, "ticks": False, "grid": False, "labelLimit": 400, "maxExtent": 440}
    # JSON's texts are those of Vega's expressions
    above: dict[str, Any] = {"labelAngle": -90}
    if numbered:
        above = {"labelExpr": f"indexof({json.dumps(list(across))}, datum.value) + 1", "labelAngle": 0}
    place = f"(indexof({json.dumps(list(down))}, datum.value) + 1)"
    beside: dict[str, Any] = {"labelExpr": f"{place} + '  ' + datum.value"} if numbered else {}
    base = alt.Chart().encode(
        x=alt.X("x:N", title=x or None, sort=list(across), axis=alt.Axis(orient="top", **axis, **above)),
        y=alt.Y("y:N", title=y or None, sort=list(down), axis=alt.Axis(**axis, **beside)),
        tooltip=[alt.Tooltip(f"{key}:N", title=name) for key, name in tip.items()],
    )
    layers = [base.mark_rect(stroke="var(--panel)", strokeWidth=2, cursor="pointer" if leads else "default").encode(
        color=alt.condition("datum.good", alt.value("var(--c0)"), alt.value("var(--warn)")),
        fillOpacity=alt.FillOpacity("shade:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.05, 1])),
    )]
    if text:
        layers.append(base.mark_text(cursor="pointer" if leads else "default").encode(
            text="text:N",
            color=alt.condition(f"datum.shade > {STRONG}", alt.value("var(--panel)"), alt.value("var(--ink)")),
        ))
    return _finished(alt.layer(*layers, data=_data(rows)), max(cell * len(down), cell))


def confusion_spec(found: Confusion, tracks: Mapping[tuple[str, str], Sequence[int]] | None = None) -> Spec:
    """Actual by predicted class; tracks: (actual, predicted) → the clips of a cell."""
    rows = []
    for actual, counts, shares in zip(found.classes, found.counts, found.shares, strict=False):
        for predicted, count, share in zip(found.classes, counts, shares, strict=True):
            row: dict[str, Any] = {"x": predicted, "y": actual, "shade": round(math.sqrt(share), 4), "text": str(count),
                   "good": predicted == actual, "share": f"{100 * share:.1f} % of {actual}"}
            rows.append(row | ({"tracks": list(tracks.get((actual, predicted), ()))} if tracks is not None else {}))
    down = found.classes[: len(found.counts)]
    many = len(found.classes) > MOST_WRITTEN
    return matrix_spec(
        rows, found.classes, down, x="predicted", y="actual", cell=14 if many else CELL if len(down) > 7 else 44,
        tip={"y": "actual", "x": "predicted", "text": "clips", "share": "share"}, text=not many,
        numbered=len(found.classes) > 7,
    )


def share_spec(links: Sequence[Link], *, height: int = HEIGHT) -> Spec:
    """An upright bar for each share, with its interval, its baseline as a line across, and its value above it."""
    import altair as alt

    rows: list[dict[str, Any]] = []
    for one in links:
        row: dict[str, Any] = {"name": one.name, "share": 100 * one.value, "text": f"{100 * one.value:.1f} %"}
        row |= {} if one.floor is None else {"floor": 100 * one.floor}
        row |= {} if one.low is None or one.high is None else {"low": 100 * one.low, "high": 100 * one.high}
        rows.append(row | {"lost": one.lost, "top": 100 * max(one.value, one.high or 0.0)})
    across = alt.X("name:N", title=None, sort=[one.name for one in links], axis=alt.Axis(
        labelAngle=0, domain=False, ticks=False, labelLimit=200))
    scale, base = alt.Scale(domain=[0, 100]), alt.Chart()
    up = alt.Y("share:Q", title="% of test clips", scale=scale, axis=alt.Axis(tickCount=5))
    colour = alt.condition("datum.lost", alt.value("var(--warn)"), alt.value("var(--c0)"))
    layers = [
        base.mark_bar(width={"band": 0.62}).encode(x=across, y=up, color=colour),
        base.mark_tick(color="var(--ink)", thickness=2, width={"band": 0.76}).encode(x=across, y="floor:Q")
        .transform_filter("isValid(datum.floor)"),
        base.mark_rule(color="var(--ink)", strokeWidth=3).encode(x=across, y="low:Q", y2="high:Q")
        .transform_filter("isValid(datum.low)"),
        base.mark_text(dy=-10, fontWeight=600).encode(x=across, y="top:Q", text="text:N"),
    ]
    return _finished(alt.layer(*layers, data=_data(rows)), height)


def chart(
    title: str, spec: Spec, label: str, legend: Sequence[Series | str] = (), *, caption: str = "", wide: bool = False,
    clips: str = "", least: int = 0, after: Markup | None = None,
) -> Chart:
    """The chart as a figure; `after`, a table of the same numbers, follows it in the page. The rest as of `shown`."""
    said = label if after is None else f"{label} A table with the same numbers follows."
    drawing = shown(spec, said, legend, clips=clips, least=least) + (after or "")
    return Chart(title, drawing, caption, wide, spec, label)


def shown(
    spec: Spec, label: str, legend: Sequence[Series | str] = (), *, clips: str = "", least: int = 0
) -> Markup:
    """The chart in a page: what a screen reader says of it, its legend, whose `clips` its rows lead to.

    least: px below which it keeps its width and scrolls.
    """
    data = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    frame = Markup('<div class="scroll"{}><div class="vega"{} role="img" aria-label="{}"{}>'
                   '<script type="application/json">{}</script></div></div>{}')
    where = Markup(' data-clips="{}"').format(clips) if clips else ""
    style = Markup(' style="min-width:{}px;min-height:{}px"').format(least, int(spec.get("height", 0)))
    reach = Markup(' tabindex="0" role="region" aria-label="{}"').format(f"{label}, scrolls sideways") if least else ""
    return frame.format(reach, where, label, style, Markup(data), legend_list(legend))


def legend_list(entries: Sequence[Series | str]) -> Markup:
    """Names with their colours, as buttons that hide and show; one legend may serve several charts."""
    if len(entries) < 2:
        return Markup("")
    item = Markup('<li><button type="button" aria-pressed="true" data-name="{0}"><i class="{1}"></i>{0}</button></li>')
    drawn = []
    for place, one in enumerate(entries):
        name, colour, look = (one, place, " dot") if isinstance(one, str) else (
            one.name, one.colour, " dot" if one.points else " dashed" if one.dashed else "")
        drawn.append(item.format(name, f"c{colour % COLOURS}{look}"))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(drawn))


def _rows(series: Sequence[Series]) -> list[dict[str, Any]]:
    """A row for each finite point."""
    rows = []
    for one in series:
        for place, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            row = {"name": one.name, "x": x, "y": y, "dashed": one.dashed, "points": one.points}
            if len(one.low) and math.isfinite(one.low[place]) and math.isfinite(one.high[place]):
                row |= {"low": one.low[place], "high": one.high[place]}
            rows.append(row)
    return rows


def _data(rows: Rows) -> Any:  # noqa: ANN401 - Altair's data
    import altair as alt

    return alt.Data(values=[_plain(row) for row in rows])


def _chart(name: str | None = None, data: Any = None) -> Any:  # noqa: ANN401 - Altair's chart and data
    """A view without what the legend hides. One that is zoomed has a name of its own: Altair would count them."""
    import altair as alt

    given = {} if data is None else {"data": data}
    named: dict[str, Any] = {} if name is None else {"name": name}
    return alt.Chart(**given, **named).transform_filter("indexof(hidden, datum.name) < 0")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as Python's own, to six significant digits."""
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}


def _zoom(alt: Any) -> list[Any]:  # noqa: ANN401 - Altair itself
    return [alt.selection_interval(name="drag_zoom", bind="scales", translate=GRAB, zoom=WHEEL)]


def _colour(series: Sequence[Series]) -> Any:  # noqa: ANN401 - Altair's channel
    import altair as alt

    colours = [f"var(--c{one.colour % COLOURS})" for one in series]
    return alt.Color("name:N", legend=None, scale=alt.Scale(domain=[one.name for one in series], range=colours))


def _colours(classes: Sequence[str]) -> Any:  # noqa: ANN401 - Altair's channel
    import altair as alt

    colours = [f"var(--c{place % COLOURS})" for place in range(len(classes))]
    return alt.Color("name:N", legend=None, scale=alt.Scale(domain=list(classes), range=colours))


def _finished(chart: Any, height: int) -> Spec:  # noqa: ANN401 - Altair's chart
    """The specification; its parameter `hidden` lists what the legend took away."""
    import altair as alt

    fitted = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = dict(chart.properties(width="container", height=height, autosize=fitted).to_dict())
    spec["params"] = [{"name": "hidden", "value": []}, *spec.get("params", [])]
    spec.pop("$schema", None)  # an address; the page's script knows what it draws
    spec.pop("config", None)  # Altair's own look; the page's is CONFIG
    return dict(_in_one_line(spec))


def _in_one_line(node: Any) -> Any:  # noqa: ANN401 - JSON
    """The same without Unicode's two line ends, raw or as escapes: no expression of Vega may hold them."""
    if isinstance(node, dict):
        return {_in_one_line(key): _in_one_line(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_in_one_line(value) for value in node]
    return LINE_ENDS.sub(" ", node) if isinstance(node, str) else node


CONFIG: Spec = {
    "background": "transparent", "font": "system-ui, sans-serif", "aria": False,
    "view": {"stroke": None, "continuousHeight": HEIGHT},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--ink)", "gridColor": "var(--faint)",
        "domainColor": "var(--line)", "tickColor": "var(--line)", "titleFontWeight": 500, "labelFontSize": 12,
        "titleFontSize": 12, "titlePadding": 8,
    },
    "axisX": {"grid": False},
    "text": {"color": "var(--ink)", "fontSize": 12},
}
