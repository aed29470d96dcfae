"""Small charts as inline SVG: a few kilobytes each, no script, the same bytes for the same numbers.

Colours are classes (`c0` … `c7`) that the page's style sheet fills in, so that one drawing serves the light
and the dark page. Every point carries its value as a tooltip.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 360, 236
WIDE = 740, 330  # of a drawing that takes two columns of three
HALF = 540, 200  # of one that takes one of two
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 42
TICKS = 5
MANY_DOTS = 20  # a line with more points shows smaller ones
MOST_DOTS = 40  # a line with more points shows no dots


@dataclass(frozen=True)
class Series:
    """One line, or a set of bars: y over x, and its look.

    low…high is an optional band, colour runs 0…7, dashed is what is no model, and `points` have no line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    dashed: bool = False
    points: bool = False


@dataclass(frozen=True)
class Axis:
    """A scale from data to drawing with its tick values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        place = math.log10(max(value, self.low)) if self.log else value
        return self.start + (place - low) / (high - low) * (self.end - self.start)


def nice_ticks(low: float, high: float, count: int = TICKS) -> tuple[float, ...]:
    """Round values (1, 2 or 5 times a power of ten apart) that span low…high from just outside."""
    raw = max(high - low, 1e-12) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(place * step, 12) for place in range(first, last + 1))


def linear_axis(values: Sequence[float], start: float, end: float, bounds: tuple[float, float] | None = None) -> Axis:
    """An axis over the finite values, or over `bounds`, from tick to tick."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = bounds or (min(finite), max(finite))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = nice_ticks(low, high)
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis in powers of ten over the positive values."""
    positive = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    stride = max(1, math.ceil((high - low) / TICKS))
    ticks = tuple(10.0**power for power in range(low, high + 1, stride))
    return Axis(10.0**low, 10.0**high, start, end, ticks, log=True)


def short(value: float) -> str:
    """A tick or a tooltip's number: at most three or four significant digits, no exponent where it can be helped."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, *, bounds: tuple[float, float] | None = None,
    log: bool = False, diagonal: bool = False, x_ticks: Sequence[float] = (), size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Markup:
    """Lines with bands over shared axes; `diagonal` draws y = x, `x_ticks` replaces the round values."""
    xs = [value for one in series for value in one.x]
    ys = [value for one in series for value in (*one.y, *one.low, *one.high)]
    width, height = size
    across = linear_axis(xs, LEFT, width - RIGHT)
    if x_ticks:
        pad = 0.04 * (max(xs) - min(xs) or 1)
        across = Axis(min(xs) - pad, max(xs) + pad, LEFT, width - RIGHT, tuple(x_ticks))
    up = log_axis(ys, height - BOTTOM, TOP) if log else linear_axis(ys, height - BOTTOM, TOP, bounds)
    parts = [_frame(across, up, x_label, y_label)]
    if diagonal:
        low, high = max(across.low, up.low), min(across.high, up.high)
        parts.append(Markup('<path class="diagonal" d="{}"/>').format(_path([(low, low), (high, high)], across, up)))
    parts += [_band(one, across, up) for one in series if len(one.low)]
    parts += [_line(one, across, up) for one in series]
    return _svg(parts, width, height, f"{y_label} over {x_label}") + legend(series)


def bar_chart(
    series: Sequence[Series], x_label: str, y_label: str, *, rule: tuple[float, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Markup:
    """Bars from 0 at each x, those of several series side by side; `rule` is an upright line with its name."""
    xs = sorted({x for one in series for x in one.x})
    gap = min((after - before for before, after in zip(xs, xs[1:], strict=False)), default=1.0)
    ends = [xs[0] - gap / 2, xs[-1] + gap / 2] if xs else []
    width, height = size
    values = [*ends, *(rule[:1] if rule else ())] or [0.0, 1.0]
    ticks = tuple(tick for tick in nice_ticks(min(values), max(values)) if min(values) <= tick <= max(values))
    across = Axis(min(values), max(values), LEFT, width - RIGHT, ticks)
    up = linear_axis([0.0, *(y for one in series for y in one.y)], height - BOTTOM, TOP)
    wide = 0.86 * gap / max(len(series), 1)
    drawn = Markup('<rect class="c{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    parts = [_frame(across, up, x_label, y_label)]
    for place, one in enumerate(series):
        for x, y in zip(one.x, one.y, strict=True):
            left = across(x + (place - len(series) / 2) * wide)
            tip, top = f"{one.name}: {short(y)} at {short(x)}", up(y)
            sides = _n(across(x + wide) - across(x)), _n(up(0.0) - top)
            parts.append(drawn.format(one.colour, _n(left), _n(top), *sides, tip))
    if rule:
        upright = Markup('<path class="diagonal" d="M{} {}V{}"/><text x="{}" y="{}">{}</text>')
        at = across(rule[0])
        parts.append(upright.format(_n(at), TOP, height - BOTTOM, _n(at + 5), TOP + 10, rule[1]))
    return _svg(parts, width, height, f"{y_label} over {x_label}") + legend(series)


def legend(series: Sequence[Series]) -> Markup:
    """Names with their colours, as HTML so that it wraps on a narrow page."""
    if len(series) < 2:
        return Markup("")
    entry = Markup('<li><i class="c{}{}"></i>{}</li>')
    looks = [" dot" if one.points else " dashed" if one.dashed else "" for one in series]
    entries = Markup("").join(
        entry.format(one.colour, look, one.name) for one, look in zip(series, looks, strict=True)
    )
    return Markup('<ul class="legend">{}</ul>').format(entries)


def scatter(groups: Sequence[tuple[str, Sequence[tuple[float, float]]]], label: str) -> Markup:
    """Points by group without axes: an embedding has no units."""
    side, edge = 260, 8
    points = [point for _, members in groups for point in members]
    across = _span([x for x, _ in points], edge, side - edge)
    up = _span([y for _, y in points], side - edge, edge)
    dot = Markup('<circle class="c{}" cx="{}" cy="{}" r="2.4"/>')
    drawn = [dot.format(i, _n(across(x)), _n(up(y))) for i, (_, members) in enumerate(groups) for x, y in members]
    return _svg(drawn, side, side, label)


def heat_grid(values: Sequence[Sequence[float]], peak: float, label: str) -> Markup:
    """A grid of cells shaded from 0 to `peak`."""
    cell, gap = 22, 2
    rect = Markup(
        '<rect class="heat" x="{}" y="{}" width="{}" height="{}" rx="3" fill-opacity="{}"><title>{}</title></rect>'
    )
    drawn = []
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            shade, tip = _n(0.06 + 0.94 * value / (peak or 1)), f"row {i}, column {j}: {short(value)}"
            drawn.append(rect.format(j * cell, i * cell, cell - gap, cell - gap, shade, tip))
    width = cell * max((len(row) for row in values), default=1)
    return _svg(drawn, width - gap, cell * len(values) - gap, label)


def _span(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Axis(low, high if high > low else low + 1, start, end, ())


def _svg(parts: Sequence[Markup], width: float, height: float, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _n(width), _n(height), label, Markup("").join(parts)
    )


def _frame(across: Axis, up: Axis, x_label: str, y_label: str) -> Markup:
    level = Markup('<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" dy=".32em" text-anchor="end">{}</text>')
    below = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>')
    title = Markup('<text class="label" transform="translate({} {}){}" text-anchor="middle">{}</text>')
    heights = [(_n(up(tick)), short(tick)) for tick in up.ticks]
    parts = [level.format(LEFT, y, _n(across.end), LEFT - 7, y, text) for y, text in heights]
    parts += [below.format(_n(across(tick)), _n(up.start + 17), short(tick)) for tick in across.ticks]
    parts.append(title.format(_n((LEFT + across.end) / 2), _n(up.start + BOTTOM - 7), "", x_label))
    parts.append(title.format(12, _n((TOP + up.start) / 2), "rotate(-90)", y_label))
    return Markup("").join(parts)


def _line(one: Series, across: Axis, up: Axis) -> Markup:
    points = [(x, y) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y)]
    look = " dashed" if one.dashed else ""
    drawn = Markup('<path class="line c{}{}" d="{}"/>').format(one.colour, look, _path(points, across, up))
    if one.points:
        drawn = Markup("")
    elif len(points) > MOST_DOTS:
        return drawn
    dot = Markup('<circle class="c{}{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    look, size = (" point", 6) if one.points else ("", 2 if len(points) > MANY_DOTS else 3)
    for x, y in points:
        tip = f"{one.name}: {short(y)} at {short(x)}"
        drawn += dot.format(one.colour, look, _n(across(x)), _n(up(y)), size, tip)
    return drawn


def _band(one: Series, across: Axis, up: Axis) -> Markup:
    upper = list(zip(one.x, one.high, strict=True))
    lower = list(zip(one.x, one.low, strict=True))
    return Markup('<path class="band c{}" d="{}Z"/>').format(one.colour, _path(upper + lower[::-1], across, up))


def _path(points: Sequence[tuple[float, float]], across: Axis, up: Axis) -> str:
    return "M" + "L".join(f"{_n(across(x))} {_n(up(y))}" for x, y in points) if points else "M0 0"


def _n(value: float) -> str:
    """A coordinate: a tenth of a unit is below what can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
