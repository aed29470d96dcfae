"""Charts: geometry by hand, text escaped."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.charts import svg as charts
from kinetoken.charts.svg import Series


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_even_and_span_the_values(low: float, span: float) -> None:
    high = low + span
    ticks = charts.nice_ticks(low, high)
    steps = np.diff(ticks)
    assert 2 <= len(ticks) <= 2 * charts.TICKS + 2
    assert np.allclose(steps, steps[0], rtol=1e-3, atol=1e-9)
    assert ticks[0] <= low + 1e-6 * max(abs(low), span) and ticks[-1] >= high - 1e-6 * max(abs(high), span)


def test_axes_map_ends_to_ends() -> None:
    axis = charts.linear_axis([0.0, 1.0], 50, 350)
    assert (axis(0), axis(0.5), axis(1)) == (50, 200, 350)
    log = charts.log_axis([0.01, 10.0], 200, 20)
    assert (log(0.01), log(10.0)) == (200, pytest.approx(20)) and log(0.1) - log(1.0) == pytest.approx(60)


def test_line_chart_is_well_formed_and_escaped() -> None:
    drawn = charts.line_chart(
        [Series("<b>&", [1, 2, 3], [0.1, 0.5, float("nan")], [0, 0.4, 0.5], [0.2, 0.6, 0.7]),
         Series("two", [1, 2], [1, 1])],
        "x <label>", "y", x_ticks=[1, 2, 3],
    )
    svg = ElementTree.fromstring(re.match(r"<svg.*</svg>", drawn, re.S)[0])  # type: ignore[index]
    circles = [node for node in svg.iter() if node.tag.endswith("circle")]
    assert len(circles) == 4  # the NaN is left out
    assert [node.get("class") for node in svg.iter() if "line" in (node.get("class") or "")] == ["line c0", "line c0"]
    assert "<b>" not in drawn and "&lt;b&gt;&amp;" in drawn


def test_bars_stand_side_by_side_from_zero() -> None:
    drawn = charts.bar_chart(
        [Series("a", [1, 2], [50, 25]), Series("b", [2], [100], colour=1)], "frame", "%", rule=(1.0, "<one>")
    )
    svg = ElementTree.fromstring(re.match(r"<svg.*</svg>", drawn, re.S)[0])  # type: ignore[index]
    bars = [
        [float(node.get(side) or 0) for side in ("x", "y", "width", "height")]
        for node in svg.iter() if node.tag.endswith("rect")
    ]
    bottom = charts.HEIGHT - charts.BOTTOM
    assert [y + height for _, y, _, height in bars] == pytest.approx([bottom] * 3, abs=0.2)
    assert bars[2][3] == pytest.approx(2 * bars[0][3], abs=0.2) == pytest.approx(4 * bars[1][3], abs=0.4)
    assert bars[1][0] + bars[1][2] == pytest.approx(bars[2][0], abs=0.2)
    assert "&lt;one&gt;" in drawn and "<svg" in charts.bar_chart([], "frame", "%")


def test_points_have_no_line_and_a_wide_drawing_keeps_its_axes() -> None:
    one = Series("own", [5.0], [0.9], points=True)
    drawn = charts.line_chart([one, Series("fixed", [1, 8], [0.5, 1])], "frames", "accuracy", size=charts.WIDE)
    assert drawn.count('class="line') == 1 and drawn.count('class="c0 point"') == 1 and '"c0 dot"' in drawn
    assert f'viewBox="0 0 {charts.WIDE[0]} {charts.WIDE[1]}"' in drawn


def test_heat_grid_shades_by_value() -> None:
    drawn = charts.heat_grid([[0.0, 5.0], [10.0, 2.5]], 10.0, "grid")
    assert re.findall(r'fill-opacity="([\d.]+)"', drawn) == ["0.06", "0.53", "1", "0.29"]
