"""The kit of pages: a frame that asks for nothing, text escaped, parts drawn from their nouns."""

import re
from pathlib import Path

import jinja2
import numpy as np
import pytest

from kinetoken.charts.page import TEMPLATES, render
from kinetoken.charts.parts import Cell, Confusion, Figure, Line, Link, Table, Vital, number_rows
from kinetoken.charts.sprites import Card, sprite
from kinetoken.charts.svg import Series, line_chart

EVIL = "<script>alert('x')</script>"


def drawn(folder: Path, body: str, *, plays: bool = False, **content: object) -> str:
    """A page whose body is `body`, all macros at hand."""
    macros = re.findall(r"{% macro (\w+)", (TEMPLATES / "parts.html.j2").read_text(encoding="utf-8"))
    (folder / "own.html.j2").write_text(
        '{% extends "page.html.j2" %}{% from "parts.html.j2" import ' + ", ".join(macros) + " %}"
        "{% block title %}{{ name }}{% endblock %}{% block style %}.own { color: red; }{% endblock %}"
        "{% block body %}" + body + "{% endblock %}"
    )
    return render(folder, "own.html.j2", {"name": EVIL, **content}, plays=plays)


def body_of(page: str) -> str:
    return page[page.index("<body>") : page.index("</body>")]


def test_the_frame_asks_for_nothing_and_escapes(tmp_path: Path) -> None:
    page = drawn(tmp_path, "<p>{{ text }}</p>", text=EVIL)
    assert page == drawn(tmp_path, "<p>{{ text }}</p>", text=EVIL)
    assert EVIL not in page and page.count("&lt;script&gt;") == 2  # title and text
    assert "default-src 'none'" in page and "script-src" not in page and "<script" not in page
    assert page.index(".chain {") < page.index(".own { color: red; }") < page.index("<body>")
    assert not re.search(r'(src|href)="(?!data:)', page) and "http" not in page.replace("http-equiv", "")


def test_a_name_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="absent"):
        drawn(tmp_path, "{{ absent }}")


def test_a_page_that_plays_has_its_script_and_its_player(tmp_path: Path) -> None:
    clip = sprite(np.zeros((3, 4, 4, 3), np.uint8), "original", future=2)
    page = drawn(
        tmp_path, "{{ cards(all) }}{{ player(3, 8.0) }}", plays=True, all=[Card(f"a {EVIL}", "note", [clip])]
    )
    assert "script-src 'unsafe-inline'" in page and page.count("<script>") == 1 and EVIL not in page
    assert 'data-future="2"' in page and 'data-frames="3" data-fps="8.0"' in page and 'max="2"' in page
    script = page[page.index("<script>") :]
    for name in re.findall(r'getElementById\("(\w+)"\)', script):
        assert f'id="{name}"' in page  # what the script takes hold of is there


def test_bars_show_share_interval_and_floor(tmp_path: Path) -> None:
    pooled = Link("Pooled", "averaged", 0.5, None, None, None, lost=True)
    links = [Link("Codes", f"all {EVIL}", 0.9, 0.85, 0.95, 0.25), pooled]
    body = body_of(drawn(tmp_path, '{{ bars(links, "a guess") }}', links=links))
    assert "width:90.00%" in body and "left:85.00%;width:10.00%" in body and 'title="baseline 25.0 %"' in body
    assert body.count('class="interval" style') == body.count('class="floor" style') == 1 and EVIL not in body
    assert body.count('<li class="lost">') == 1 and "after the largest loss" in body and "a guess" in body
    assert "largest loss" not in body_of(drawn(tmp_path, '{{ bars(links, "a guess") }}', links=links[:1]))


def test_tables_hold_every_cell(tmp_path: Path) -> None:
    table = Table("", ("x", "<y>"), (Line("one", (Cell("1", "±2"), Cell("–")), best=True), Line("two", (Cell("3"),))))
    body = body_of(drawn(tmp_path, '{{ cells(table, "Name") }}', table=table))
    assert "1<small>±2</small>" in body and body.count("<small>") == 1 and "&lt;y&gt;" in body
    assert body.count('class="best"') == 1 and body.count("<tr") == 3
    counts = Confusion(("a", "b"), ((3, 1), (0, 4)), ((0.75, 0.25), (0.0, 1.0)))
    body = body_of(drawn(tmp_path, '{{ confused("Which?", counts) }}', counts=counts))
    assert re.findall(r'class="(right strong|right|wrong strong|wrong)"', body) == [
        "right strong", "wrong", "wrong", "right strong",
    ]
    assert 'title="75.0 % of a">3<' in body and 'class="whole"' not in body


def test_figures_and_measures_show_what_they_are_given(tmp_path: Path) -> None:
    drawing = line_chart([Series("a", [1, 2], [0.1, 0.5])], "x", "y")
    body = body_of(drawn(
        tmp_path, '{{ figures(all, "small") }}{{ measures(vitals) }}{{ colours(["<a>", "b"]) }}',
        all=[Figure("One", drawing, "about", wide=True), Figure("Two", drawing)],
        vitals=[Vital("Usage", "0.5", "0 … 1", "share"), Vital("Rank", "3")],
    ))
    assert drawing in body and '<div class="figures small">' in body and body.count('class="broad"') == 1
    assert "0 … 1" in body and body.count('class="about"') == 1 and body.count("<dt>") == 2
    assert '<i class="c0"></i>&lt;a&gt;' in body and '<i class="c1"></i>b' in body


def test_numbers_stand_with_floor_ceiling_and_interval_on_one_row(tmp_path: Path) -> None:
    rows = number_rows({"a": 1.0, "a_floor": 0.5, "a_ci95_low": 0.9, "a_ci95_high": 1.1, "b_floor": 2.0})
    assert [(row.name, row.value) for row in rows] == [("a", 1.0), ("b_floor", 2.0)]
    assert (rows[0].floor, rows[0].ceiling, rows[0].low, rows[0].high) == (0.5, None, 0.9, 1.1)
    assert rows[1].floor is rows[1].low is None
    body = body_of(drawn(tmp_path, '{{ folded_numbers("All", rows, 3) }}', rows=number_rows({"c": 1 / 3})))
    assert "<b>0.333</b>" in body and "<summary>All <span>1</span>" in body and "<details open" not in body
