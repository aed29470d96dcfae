"""The page of a comparison and the page of DVC's plots in a real browser with no network: all is drawn."""

import csv
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kinetoken.comparison.comparison import compare
from kinetoken.comparison.page import to_html
from tests.support.two_revisions import two_revisions
from tests.test_report_browser import CHROMIUM, FAULTS, Browser
from tools import plots

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium not installed")


class Tags(HTMLParser):
    """The tags of a page with their attributes; what stands in scripts is none."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    page = plots.render(plots.collect(ROOT, (), folder), "Plots")
    (folder / "offline.html").write_text(page, encoding="utf-8")
    return folder / "offline.html"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    (folder / "project").mkdir()
    found = compare(two_revisions(folder / "project"), "main", "short")
    (folder / "compare.html").write_text(to_html(found), encoding="utf-8")
    return folder / "compare.html"


def shown(browser: Browser, page: Path, width: int) -> None:
    """Open a page; it must load nothing but itself, meet no fault, and not stick out sideways."""
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    browser.call("Page.navigate", url="about:blank")
    browser.wait_for("location.protocol", "about:")
    browser.events.clear()
    browser.call("Page.navigate", url=page.resolve().as_uri())
    browser.wait_for("location.protocol + document.readyState", "file:complete")
    if "drawn" in page.read_text(encoding="utf-8"):
        browser.wait_for("document.documentElement.dataset.drawn", "all")
    # Vega warns that two levels of one category have an order of their own each; a warning is no fault
    faults = [event for event in browser.events if event.get("method") in FAULTS
              and event.get("params", {}).get("type") not in ("warning", "log", "debug")]
    assert faults == []
    asked = {event["params"]["request"]["url"].partition("#")[0] for event in browser.events
             if event.get("method") == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {page.resolve().as_uri()}
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_plots_page_has_no_address_of_a_script(charts: Path) -> None:
    tags = Tags(charts.read_text(encoding="utf-8")).found
    sources = [str(value) for _, attrs in tags for key, value in attrs.items() if key in ("src", "href")]
    assert len(sources) == 13 and all(source.startswith("data:image/") for source in sources)
    assert [attrs for tag, attrs in tags if tag == "script"] == [{}, {"type": "application/json", "id": "specs"}, {}]
    assert any("default-src 'none'" in str(attrs.get("content")) for tag, attrs in tags if tag == "meta")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_is_drawn_without_a_network(browser: Browser, charts: Path, width: int) -> None:
    shown(browser, charts, width)
    marks = "[...c.querySelectorAll('.role-mark path')].filter(p => p.getBBox().width + p.getBBox().height > 0).length"
    drawn = browser.evaluate(f"[...document.querySelectorAll('.chart')].map(c => [c.ariaLabel, {marks}])")
    counts = dict(drawn)
    assert len(counts) == len(drawn) > 30
    assert {name: number for name, number in counts.items() if number < 4} == {}
    pictures = browser.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(pictures) == 13 and all(pictures)
    epochs = len((ROOT / "plots/train_tokenizer/curves.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert counts["Tokenizer, loss"] == 2 * epochs + 2  # two lines and their points
    with (ROOT / "plots/train_classifier/confusion.csv").open(encoding="utf-8") as source:
        cells = Counter((row["actual"], row["predicted"]) for row in csv.DictReader(source))
    assert counts["Classifier of codes, confusion"] == len(cells)
    panel = '[aria-label="Classifier of codes, confusion"]'
    texts = f"[...document.querySelectorAll('{panel} .role-mark.mark-text text')]"
    assert sorted(map(int, browser.evaluate(f"{texts}.map(t => t.textContent)"))) == sorted(cells.values())


def test_text_from_data_ends_no_script(browser: Browser, tmp_path: Path) -> None:
    hostile = "</script><script>document.title = 'taken'</script>"
    spec = {"data": {"values": [{"a": hostile, "b": 1}]}, "mark": "bar",
            "encoding": {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}}}
    page = tmp_path / "page.html"
    page.write_text(plots.render({hostile: [{"type": "vega", "content": spec}]}, hostile), encoding="utf-8")
    shown(browser, page, 1280)
    assert browser.evaluate("document.title") == hostile
    assert browser.evaluate("document.querySelectorAll('.role-mark path').length") == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_opens_without_a_network(browser: Browser, comparison: Path, width: int) -> None:
    shown(browser, comparison, width)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colour = "getComputedStyle(document.querySelector('{} .word span')).backgroundColor"
    colours = [browser.evaluate(colour.format(f".{state}")) for state in ("better", "worse", "within", "no-interval")]
    assert len(set(colours)) == 3 and colours[2] == colours[3]
    assert browser.evaluate("[...document.querySelectorAll('.picture img')].map(i => i.naturalWidth)") == [64, 64]
    sides = browser.evaluate("[...document.querySelectorAll('.picture')].map(p => p.getBoundingClientRect().top)")
    assert (sides[0] == sides[1]) == (width > 600)  # side by side, one above the other on a phone
