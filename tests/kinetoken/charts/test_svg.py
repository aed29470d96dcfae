"""Drawings, prose and sprites: geometry by hand, text escaped, pixels kept."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kinetoken.charts import svg as charts
from kinetoken.charts.prose import to_html
from kinetoken.charts.sprites import sprite
from kinetoken.charts.svg import Series
from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.report.page import number_rows
from kinetoken.report.samples import apart_px, codes_of, first_rows, psnr_db, reconstruction_cards, trail
from kinetoken.scenes.clips import Clips

GREY = np.full((32, 32, 3), 0.2, np.float32)


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


def test_prose_knows_its_little_markdown_and_escapes_the_rest() -> None:
    html = to_html("# Head <i>\n\nA **bold** `x<y`\nline.\n\n- one\n  more\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert "<h4>Head &lt;i&gt;</h4>" in html
    assert "<p>A <strong>bold</strong> <code>x&lt;y</code> line.</p>" in html
    assert "<ul><li>one more</li><li>two</li></ul>" in html
    assert "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr>" in html


def test_sprite_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), np.uint8)
    made = sprite(pixels, "a clip", future=3)
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.source.partition(",")[2]))))
    assert strip.shape == (8, 30, 3) and made.frames == 5
    assert np.array_equal(np.stack(np.split(strip, 5, axis=1)), pixels)


def test_first_rows_are_test_clips_of_each_class() -> None:
    label = np.array(["b", "a", "a", "b", "a", "b"])
    split = np.array(["train", "test", "test", "test", "test", "test"])
    assert first_rows(label, split, 1).tolist() == [1, 3]
    assert first_rows(label, split, 9).tolist() == [1, 2, 3, 4, 5]


def test_codes_are_found_by_track() -> None:
    meta = CodesMeta((1, 1, 1), 10, "fsq", (), "")
    codes = np.array([3, 4], np.int32).reshape(2, 1, 1, 1)
    table = CodesTable(np.array([5, 7], np.int32), np.array(["a", "a"]), np.array(["test"] * 2), codes, meta)
    found = codes_of(table, np.array([7, 5], np.int32))
    assert found is not None and found.ravel().tolist() == [4, 3]
    assert codes_of(table, np.array([6], np.int32)) is None


def clip_of_moving_square() -> np.ndarray:
    """(4, 32, 32, 3): a bright square that goes right by 6 pixels a frame."""
    pixels = np.full((4, 32, 32, 3), 51, np.uint8)
    for frame in range(4):
        pixels[frame, 10:14, 4 + 6 * frame : 8 + 6 * frame] = 250
    return pixels


def test_trail_shows_all_places_and_fades_the_past() -> None:
    path = trail(clip_of_moving_square(), GREY)
    assert path.shape == (1, 32, 32, 3)
    shades = [int(path[0, 12, 5 + 6 * frame, 0]) for frame in range(4)]
    assert 51 < shades[0] < shades[1] < shades[2] < shades[3] == 250
    assert (path[0, 20:] == 51).all()


def test_distance_and_psnr_by_hand() -> None:
    pixels = clip_of_moving_square()
    assert apart_px(pixels[0], pixels[2], GREY) == pytest.approx(12.0, abs=1e-3)
    assert psnr_db(pixels, pixels) == 99.0
    assert psnr_db(np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)) == pytest.approx(0.0)


def test_cards_hold_original_copy_difference_and_path() -> None:
    pixels = clip_of_moving_square()[None]
    clips = Clips(np.array([7], np.int32), np.array(["linear"]), np.array(["test"]), pixels, 16.0)
    card = reconstruction_cards(clips, pixels, GREY)[0]
    assert card.title == "linear, track 7" and card.note == "99.0 dB"
    assert card.sprites[0].source == card.sprites[1].source != card.sprites[2].source
    assert [one.frames for one in card.sprites] == [4, 4, 4, 1]


def test_number_rows_put_floor_and_interval_beside_their_number() -> None:
    rows = number_rows({"a": 1.0, "a_floor": 0.5, "a_ci95_low": 0.9, "a_ci95_high": 1.1, "b_floor": 2.0})
    assert [(key, value) for key, value, _ in rows] == [("a", "1"), ("b_floor", "2")]
    assert rows[0][2] == {"floor": "0.5", "ceiling": "", "ci95_low": "0.9", "ci95_high": "1.1"}
