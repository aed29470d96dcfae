"""The report in a real browser with no network: nothing is asked for, nothing fails, the clips play.

Chromium is driven by the DevTools protocol over a pipe, so no further package is needed.
"""

import base64
import json
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import axe_playwright_python
import numpy as np
import pytest
from PIL import Image

from kinetoken.report import samples as clips_of
from kinetoken.report.exhibits import Exhibition, Gallery, Item, ShownClips
from kinetoken.report.generated import generation_cards
from kinetoken.report.headline import BuildReport
from kinetoken.report.page import Samples, page_content, render_page
from kinetoken.report.results import Results
from kinetoken.scenes.clips import Clips, ClipStore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)
PATIENCE_SECONDS = 120.0
AXE = files(axe_playwright_python) / "axe.min.js"
FAULTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium not installed")


class Browser:
    """Chromium with one page open; `events` holds all that the protocol told."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # the protocol's pipe is file descriptors 3 and 4 of the browser
        command = f"exec 3<&{to_browser} 4>&{from_browser}; exec \"$@\""
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.events: list[dict[str, Any]] = []
        self._buffer, self._count, self._session = b"", 0, ""

    def __enter__(self) -> Self:
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        opened = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = opened["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)  # they come and go with screenshots, and move the page
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """The method's result; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, page: Path, width: int = 1200, height: int = 900) -> str:
        """Load the page afresh; what it found when it checked itself, as #selfcheck in its address asks."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Page.navigate", url="about:blank")  # else a change of the address alone would load nothing
        self.wait_for("location.protocol", "about:")
        self.events.clear()
        self.call("Page.navigate", url=f"{page.resolve().as_uri()}#selfcheck")
        self.wait_for("location.protocol", "file:")
        self.wait_for("['pending', undefined].includes(document.documentElement?.dataset.selfcheck)", False)
        return str(self.evaluate("document.documentElement.dataset.selfcheck"))

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def faults_of_access(self, within: str) -> list[str]:
        """What axe-core finds in the element `within` that keeps people from reading it: serious and critical."""
        self.evaluate(AXE.read_text(encoding="utf-8") + "; 1")
        found = self.evaluate(
            f"axe.run(document.querySelector({within!r}), {{resultTypes: ['violations']}}).then(found => "
            "found.violations.filter(one => ['serious', 'critical'].includes(one.impact)).flatMap(one => "
            "one.nodes.map(node => `${one.id}: ${node.html.slice(0, 120)}: ${node.failureSummary}`)))"
        )
        return list(found)

    def wait_for(self, expression: str, wanted: object) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while (value := self.evaluate(expression)) != wanted:
            assert time.monotonic() < until, f"{expression} is {value!r}, not {wanted!r}"
            time.sleep(0.1)

    def screenshot(self, selector: str | None = None, *, whole: bool = False) -> bytes:
        """PNG of the window, of the element, or of the whole page."""
        if selector is not None:
            box = self.evaluate(
                f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect(); "
                "return [b.x + scrollX, b.y + scrollY, b.width, b.height]; })()"
            )
            clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
            return base64.b64decode(self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"])
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            left = max(until - time.monotonic(), 0)
            assert select.select([self._read], [], [], left)[0], "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, f"the browser ended with code {self.process.wait()}"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


def exhibition(clips: Clips) -> Exhibition:
    """All clips but the last are held, with codes, paths and words; the last is known by its class alone."""
    held = ShownClips("motion", clips.track_id.astype(int), clips.label, 16, (64, 64), 16.0, (4, 8, 8))
    held.columns["classifier on codes"] = [str(clips.label[0])] * len(clips.label)
    for _ in range(2):
        held.add(clips.track_id[:-1], clips.pixels[:-1], lossless=True)
    codes = np.arange(256, dtype=np.int32).reshape(1, 4, 8, 8)
    held.add_codes(clips.track_id[:-1], codes.repeat(len(clips.label) - 1, 0))
    path = np.linspace(0, 1, 48).reshape(16, 3)
    held.add_path("true", {int(track): path for track in clips.track_id})
    held.add_text(int(clips.track_id[0]), "x(t) = <b>1</b>")
    items = [Item(int(track), "wrong <i>") for track in clips.track_id]
    return Exhibition({"motion": held}, {"classifier on codes": Gallery("Misclassified", "", "motion", items)})


@pytest.fixture(scope="module")
def page(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of moving clip, a chart, and markup in what it was given."""
    folder = tmp_path_factory.mktemp("page")
    store = ClipStore(tiny_data / "videos")
    clips = clips_of.first_clips(store, 1)
    background = clips_of.background_of(store, clips)
    samples = Samples(
        reconstructions=clips_of.reconstruction_cards(clips, clips.pixels, background),
        predictions=clips_of.prediction_cards(clips, clips.pixels, clips.pixels, 12, background),
        generations=generation_cards({"class_gaussian": {"linear": clips.pixels[:2]}}, {}, {}),
        descriptions=[{"track_id": 1, "true_law": "linear", "x": "<img src=x onerror=alert(1)>", "verdicts": {}}],
    )
    samples.exhibition = exhibition(clips)
    (folder / "train_tokenizer").mkdir()
    (folder / "train_tokenizer" / "curves.csv").write_text("model,epoch,step,loss\nt,1,5,2.0\nt,2,10,1.0\n")
    (folder / "detect_persistence" / "attention").mkdir(parents=True)
    Image.fromarray(clips.pixels[0, 0]).save(folder / "detect_persistence" / "attention" / "transformer.png")
    (folder / "train_gasm_cast").mkdir()
    names = [f"Moving something and something {name}" for name in "abcdefghijklmn"]
    (folder / "train_gasm_cast" / "confusion.csv").write_text(
        "actual,predicted\n" + "".join(f"{name},{name}\n" for name in names)
    )
    (folder / "diagnose_codes").mkdir()
    (folder / "diagnose_codes" / "embedding.csv").write_text("track_id,class,features,method,x,y\n" + "".join(
        f"{track},{label},codes,PCA,{place},{place % 2}\n"
        for place, (track, label) in enumerate(zip(clips.track_id, clips.label, strict=True))
    ))
    marks = {"detect_persistence.transformer.regret": 3.0}
    results = Results({
        "train_tokenizer": {"psnr_db": 36.0, "psnr_db_floor": 26.0},
        "detect_persistence": {
            f"transformer.{key}{end}": value for key, value in
            {"accuracy": 0.9, "regret": 13.5, "attention_ratio": 13.5, "place_px": 3.5}.items()
            for end in ("", "_floor", "_ceiling", "_ci95_low", "_ci95_high")
        },
    }, folder)
    content = page_content(results, samples, BuildReport(0, 1, 1, marks), gpu=False)
    (folder / "report.html").write_text(render_page(content))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("width", [1200, 390])
def test_page_opens_offline_without_fault(browser: Browser, page: Path, width: int) -> None:
    assert browser.open(page, width) == "ok"
    assert [event for event in browser.events if event.get("method") in FAULTS] == []
    requests = [event["params"]["request"]["url"] for event in browser.events
                if event.get("method") == "Network.requestWillBeSent"]
    loaded = {url.partition("#")[0] for url in requests if not url.startswith("data:")}
    assert loaded == {page.resolve().as_uri()}
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out sideways
    if width == 1200:  # nor does a table scroll, but for those of every number, which are folded away
        shown = "[...document.querySelectorAll('.scroll')].filter(s => !s.closest('details:not([open])'))"
        scrolls = f"{shown}.filter(s => s.scrollWidth > s.clientWidth + 1)"
        assert browser.evaluate(f"{scrolls}.map(s => s.textContent.trim().slice(0, 40))") == []
    assert browser.evaluate("document.querySelector('.picture img').naturalWidth") == 64
    charts = "[...document.querySelectorAll('.vega')].filter(one => one.offsetWidth > 0)"
    assert browser.evaluate(f"{charts}.length > 2 && {charts}.every(one => one.querySelector('svg.marks'))")
    assert browser.evaluate("document.querySelector('.vega svg text').getBoundingClientRect().width > 0")
    assert browser.evaluate("document.querySelector('pre').textContent.includes('<img src=x')")


def test_a_page_that_asks_for_something_is_found_out(browser: Browser, page: Path) -> None:
    asking = page.with_name("asking.html")
    asking.write_text(page.read_text().replace("</main>", '<img src="https://example.invalid/ball.png"></main>'))
    assert "example.invalid" in browser.open(asking)
    assert [event for event in browser.events if event.get("method") in FAULTS] != []
    broken = page.with_name("broken.html")
    start = '<img src="data:image/webp;base64,'
    broken.write_text(page.read_text().replace(start, f"{start}AAAA"))
    assert "picture" in browser.open(broken)
    still = page.with_name("still.html")
    still.write_text(page.read_text().replace('setProperty("--frame"', 'setProperty("--other"'))
    assert browser.open(still) == "still"


def test_clips_play_stop_and_step(browser: Browser, page: Path) -> None:
    browser.open(page)
    frame = "Number(document.getElementById('frame').value)"
    seen = set()
    until = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < 3 and time.monotonic() < until:
        seen.add(browser.evaluate(frame))
    assert len(seen) >= 3  # it plays by itself
    browser.evaluate("document.getElementById('play').click()")
    assert browser.evaluate("document.getElementById('play').textContent") == "Play"
    pictures = []
    for wanted in (2, 9, 2):
        browser.evaluate(
            f"(() => {{ const s = document.getElementById('frame'); s.value = {wanted}; "
            "s.dispatchEvent(new Event('input')); })()"
        )
        pictures.append(browser.screenshot(".screen"))
    assert pictures[0] == pictures[2] != pictures[1]  # what is on the screen follows the frame, and only it


def test_predicted_frames_are_marked(browser: Browser, page: Path) -> None:
    browser.open(page)
    marked = (
        "(frame => { const s = document.getElementById('frame'); s.value = frame; s.dispatchEvent(new Event('input')); "
        "return document.querySelectorAll('.screen.predicted').length; })"
    )
    assert [browser.evaluate(f"{marked}({frame})") for frame in (11, 12, 15)] == [0, 4, 4]


def opened(browser: Browser) -> str:
    """The title of the dialog that is open, or nothing."""
    title = "document.getElementById('clip-title').textContent"
    return str(browser.evaluate(f"document.getElementById('clip').open ? {title} : ''"))


def click(browser: Browser, element: str) -> None:
    """With the mouse, in the middle of an element that is scrolled into view."""
    x, y = browser.evaluate(
        f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center', behavior: 'instant'}}); "
        "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def test_a_point_opens_its_clip_and_escape_closes_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    point = "[...document.querySelectorAll('.vega[data-clips=motion] .mark-symbol path')]"
    assert browser.evaluate(f"{point}.length") == 4
    click(browser, f"{point}[0]")
    browser.wait_for("document.getElementById('clip').open", True)
    assert re.fullmatch(r"Track \d+", opened(browser))
    painted = "document.getElementById('clip-original').getContext('2d').getImageData(144, 144, 1, 1).data[3]"
    browser.wait_for(painted, 255)
    first = browser.evaluate("document.getElementById('clip-original').toDataURL()")
    browser.wait_for(f"document.getElementById('clip-original').toDataURL() !== {json.dumps(first)}", True)  # it plays
    assert browser.evaluate("document.getElementById('clip-facts').textContent.includes('classifier on codes')")
    for _ in range(20):  # the keyboard does not leave the dialog
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        inside = "document.activeElement === document.body || !!document.activeElement.closest('#clip')"
        assert browser.evaluate(inside)
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
    browser.wait_for("document.getElementById('clip').open", False)
    assert [event for event in browser.events if event.get("method") in FAULTS] == []


def test_a_gallery_opens_its_clips_in_turn_and_one_that_is_absent_says_so(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelectorAll('.gallery button')[3].click()")
    assert opened(browser) and browser.evaluate("document.getElementById('clip-body').hidden")
    assert "not in this page: it holds 3 of 4" in browser.evaluate("document.getElementById('clip-absent').textContent")
    browser.evaluate("document.getElementById('clip-after').click()")
    assert browser.evaluate("document.getElementById('clip-place').textContent").startswith("1 of 4")
    browser.wait_for("document.getElementById('clip-body').hidden", False)
    browser.wait_for("document.getElementById('clip-text').textContent.includes('<b>1</b>')", True)
    browser.evaluate("document.getElementById('clip').close()")
    form = "document.querySelector('.finder')"
    browser.evaluate(f"{form}.elements.track.value = '987654'; {form}.requestSubmit()")
    assert "There is no test clip" in browser.evaluate("document.getElementById('clip-absent').textContent")


def test_a_legend_hides_its_class_and_a_selection_lists_its_tracks(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelector('.linked .legend button').click()")
    points = "document.querySelectorAll('.linked .mark-symbol path').length"
    browser.wait_for(points, 3)
    browser.evaluate("document.querySelector('.linked .legend button').click()")
    browser.wait_for(points, 4)
    browser.evaluate("document.querySelector('.linked .vega').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y, wide, high = browser.evaluate(
        "(() => { const b = document.querySelector('.linked .vega svg').getBoundingClientRect(); "
        "return [b.x, b.y, b.width, b.height]; })()"
    )
    corners = (x + 9, y + 9), (x + wide / 2, y + high / 2), (x + wide - 9, y + high - 9)
    moves = (("mouseMoved", 0, 0), ("mousePressed", 0, 1), ("mouseMoved", 1, 1), ("mouseMoved", 2, 1),
             ("mouseReleased", 2, 0))
    for kind, corner, buttons in moves:
        across, down = corners[corner]
        browser.call("Input.dispatchMouseEvent", type=kind, x=across, y=down, button="left" if buttons else "none",
                     buttons=buttons, clickCount=1)
    browser.wait_for("document.querySelector('.picked b').textContent", "4 selected")
    assert len(browser.evaluate("document.querySelector('.picked textarea').value").split()) == 4


def test_everything_has_a_name_and_dark_and_print_stand(browser: Browser, page: Path) -> None:
    browser.open(page)
    nameless = (
        "[...document.querySelectorAll('button, input, select, textarea, a, img, canvas, [role=img]')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.getAttribute('alt') || e.textContent.trim() || "
        "(e.labels && e.labels.length))).map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.evaluate(nameless) == []
    repeated = "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
    assert browser.evaluate(repeated) == []
    levels = browser.evaluate("[...document.querySelectorAll('main :is(h1, h2, h3, h4)')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", features=features)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") != light
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.evaluate("getComputedStyle(document.querySelector('.top')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_read_it(browser: Browser, page: Path, width: int, scheme: str) -> None:
    still = {"name": "prefers-reduced-motion", "value": "reduce"}  # or colours are read while they fade
    scheme_asked = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", features=[scheme_asked, still])
    try:
        browser.open(page, width)
        dark = browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
        browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        browser.evaluate("window.charts.all().then(() => 1)")
        browser.evaluate("window.player.run(false)")
        assert browser.faults_of_access("html") == []
        browser.evaluate("document.querySelector('.gallery button').click()")
        browser.wait_for("document.getElementById('clip').open", True)
        assert browser.faults_of_access("#clip") == []
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])


def test_what_nobody_can_read_is_found(browser: Browser, page: Path) -> None:
    faint = page.with_name("faint.html")
    added = '<p style="color:#ccc;background:#ddd">faint</p><img src="data:,">'
    faint.write_text(page.read_text().replace("</main>", f"{added}</main>"))
    browser.open(faint)
    assert {fault.partition(":")[0] for fault in browser.faults_of_access("main")} == {"color-contrast", "image-alt"}
