"""Interactive charts: the same specification each time, colours of the page, text that cannot end its element."""

import json
import math
import re
from typing import Any

import pytest

from kinetoken.charts import vega
from kinetoken.charts.parts import Confusion
from kinetoken.charts.svg import Series

EVIL = "</script><script>alert('x')</script>"
LINES = [
    Series("one", [1, 2, 3], [0.1, 0.5, float("nan")], [0, 0.4, 0.5], [0.2, 0.6, 0.7]),
    Series(EVIL, [1, 2], [0.0, 50.0], colour=9, dashed=True),
]
COUNTS = Confusion(["a", "b"], [[3, 1], [0, 4]], [[0.75, 0.25], [0.0, 1.0]])
POINTS = [{"x": 0.123456789, "y": 1.0, "name": "a", "track": 7}, {"x": 2.0, "y": -1.0, "name": "b", "track": 8}]


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return list(spec["data"]["values"])


@pytest.mark.parametrize("made", [
    lambda: vega.line_spec(LINES, "x", "y", diagonal=True), lambda: vega.line_spec(LINES, "x", "y", log=True),
    lambda: vega.bar_spec(LINES[:1], "x", "y", rule=(1.0, "one")), lambda: vega.point_spec(POINTS, ["a", "b"]),
    lambda: vega.confusion_spec(COUNTS), lambda: vega.line_spec([], "x", "y"), lambda: vega.point_spec([], []),
])
def test_specs_are_the_same_each_time_and_name_no_address(made: Any) -> None:
    one = made()
    assert one == made(), "Altair counts the charts of a process; a page must not"
    text = json.dumps(one)
    assert "http" not in text and one["width"] == "container"
    assert one["params"][0] == {"name": "hidden", "value": []}


def test_lines_keep_finite_points_bands_and_looks() -> None:
    rows = values(vega.line_spec(LINES, "x", "y"))
    assert [(row["name"], row["x"]) for row in rows] == [("one", 1), ("one", 2), (EVIL, 1), (EVIL, 2)]
    assert rows[0]["low"] == 0 and "low" not in rows[2] and rows[2]["dashed"]
    assert [row["y"] for row in values(vega.line_spec(LINES, "x", "y", log=True))] == [0.1, 0.5, 50.0]
    assert "var(--c1)" in json.dumps(vega.line_spec(LINES, "x", "y"))  # the tenth of eight colours is the second


def test_bars_stand_side_by_side_and_know_their_clips() -> None:
    series = [Series("a", [1, 2], [50, 25]), Series("b", [2], [100], colour=1)]
    rows = values(vega.bar_spec(series, "frame", "%", tracks={("a", 1.0): [5, 6]}))
    assert rows[0]["tracks"] == [5, 6] and rows[1]["tracks"] == []
    assert math.isclose(rows[1]["x2"], rows[2]["x"]) and all(row["zero"] == 0 for row in rows)


def test_a_matrix_has_its_counts_and_clips() -> None:
    rows = values(vega.confusion_spec(COUNTS, {("a", "b"): [4]}))
    assert [(row["y"], row["x"], row["text"], row["good"]) for row in rows] == [
        ("a", "a", "3", True), ("a", "b", "1", False), ("b", "a", "0", False), ("b", "b", "4", True),
    ]
    assert rows[1]["tracks"] == [4] and rows[1]["share"] == "25.0 % of a"
    names = [f"class {place}" for place in range(30)]
    counts = [[int(i == j) for j in range(30)] for i in range(30)]
    many = vega.confusion_spec(Confusion(names, counts, counts))
    marks = json.dumps([layer["mark"] for layer in many["layer"]])
    assert "text" not in marks, "cells too small for a number have none"
    assert "indexof([" in json.dumps(many), "long names stand beside rows only"


def test_many_classes_differ_by_shape_where_colours_repeat() -> None:
    classes = [f"{place}" for place in range(10)]
    encoding = vega.point_spec([{"x": 0.0, "y": 0.0, "name": name} for name in classes], classes)["encoding"]
    looks = list(zip(encoding["color"]["scale"]["range"], encoding["shape"]["scale"]["range"], strict=True))
    assert len(set(looks)) == 10


def test_a_chart_in_a_page_escapes_and_has_a_legend() -> None:
    drawn = vega.shown(vega.line_spec(LINES, "x", "y"), f"a chart {EVIL}", LINES, clips="motion")
    assert EVIL not in drawn and drawn.count("</script>") == 1
    data = re.search(r'<script type="application/json">(.*?)</script>', drawn)
    assert data is not None and json.loads(data[1])["data"]["values"][2]["name"] == EVIL
    assert drawn.count('aria-pressed="true"') == 2 and 'data-clips="motion"' in drawn
    assert vega.legend_list(LINES[:1]) == ""


def test_the_script_is_whole_and_ends_nothing() -> None:
    script = vega.script()
    assert 500_000 < len(script) < 1_500_000 and "</script" not in script
    assert script.rstrip().endswith("window.vegaEmbed = vegaEmbed;") or "window.vegaEmbed" in script[-200:]
