"""Charts as pictures: colours of their own, a legend within, nothing to drag, the same bytes."""

import io
import json

import pytest
from PIL import Image

from kinetoken.charts import stills, vega
from kinetoken.charts.parts import Confusion, Link
from kinetoken.charts.svg import Series

LINES = [Series("one", [1, 2, 3], [1.0, 2.0, 1.5]), Series("two", [1, 2, 3], [2.0, 1.0, 0.5], colour=1, dashed=True)]


def lines(count: int = 2) -> vega.Chart:
    series = [Series(f"line {place}", [1, 2], [place, place], colour=place) for place in range(count)]
    return vega.chart("A title", vega.line_spec(LINES if count == 2 else series, "x", "y"), "what it shows")


def test_a_still_asks_the_page_for_nothing() -> None:
    spec = stills.still(lines().spec, 300)
    text = json.dumps(spec)
    assert "var(--" not in text and "drag_" not in text and spec["width"] == 300
    assert stills.light()["c0"] in text and stills.light()["c0"] != stills.light()["c1"]


@pytest.mark.parametrize(("count", "named"), [(1, False), (2, True), (stills.MOST_NAMED + 1, False)])
def test_few_lines_are_named_in_a_legend(count: int, named: bool) -> None:
    assert ('"orient": "bottom"' in json.dumps(stills.still(lines(count).spec, 300))) is named


def test_the_chart_itself_is_left_as_it_is() -> None:
    chart = lines()
    before = json.dumps(chart.spec)
    stills.png(chart)
    assert json.dumps(chart.spec) == before and "var(--c0)" in before


def test_class_names_may_hold_any_letter() -> None:
    names = [f"a {place} <b>\u2028 \u2029 & \"its\" name\\" for place in range(9)]
    table = Confusion(names, [[place] * 9 for place in range(9)], [[0.1] * 9] * 9)
    assert stills.png(vega.chart("Names", vega.confusion_spec(table), "a matrix"))


def test_pictures_are_small_and_the_same_for_the_same_numbers() -> None:
    links = [Link("Pixels", "", 0.97, 0.96, 0.98, 0.25), Link("Codes", "", 0.5, None, None, None, lost=True)]
    chart = vega.chart("Chain", vega.share_spec(links), "shares")
    drawn = stills.png(chart)
    assert drawn == stills.png(vega.chart("Chain", vega.share_spec(links), "shares")) and len(drawn) < 20_000
    pixels = Image.open(io.BytesIO(drawn)).convert("RGB")
    warn, first = (tuple(bytes.fromhex(stills.light()[name][1:])) for name in ("warn", "c0"))
    colours = {colour for _, colour in pixels.getcolors(1 << 16) or []}
    assert {warn, first, (255, 255, 255)} <= colours
