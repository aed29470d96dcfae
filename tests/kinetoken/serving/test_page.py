"""The page in a real browser: a file is chosen, and what the server says of it is shown."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from kinetoken.scenes.clips import Pixels
from kinetoken.serving.app import build_app
from kinetoken.serving.server import OrderlyServer, bound_socket, bounded_connections
from kinetoken.serving.settings import Limits, Serving
from tests import test_report_browser as browser
from tests.kinetoken.serving.conftest import TOKEN
from tests.support.hostile import webm_of

pytestmark = browser.pytestmark


@pytest.fixture(scope="module")
def address(applied: Path) -> Iterator[str]:
    """A server on tiny models that asks for a token."""
    app = build_app(Serving(applied / "models", token=TOKEN, limits=Limits(concurrency=1, wait_seconds=60)))
    with bound_socket("127.0.0.1", 0) as listening:
        server = OrderlyServer(uvicorn.Config(app, http=bounded_connections(60), ws="none", log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started or app.state.served.workers.loading:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


def test_a_clip_is_shown_with_what_the_models_say(
    address: str, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webm_of(tmp_path, pixels[0])
    (tmp_path / "words.mp4").write_text("no video")
    monkeypatch.setattr(browser, "FLAGS", [flag for flag in browser.FLAGS if "resolver" not in flag])
    with browser.Browser(tmp_path / "profile") as page:
        page.call(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        page.call("Page.navigate", url=address)
        page.wait_for("document.title + document.readyState", "Kinetokencomplete")
        choose(page, tmp_path / "sound.webm")
        page.wait_for("document.getElementById('said').textContent.includes('a token is needed')", True)
        assert page.evaluate("document.getElementById('results').hidden")
        page.evaluate(f"document.getElementById('token').value = {TOKEN!r}")
        choose(page, tmp_path / "sound.webm")
        page.wait_for("document.getElementById('results').hidden", False)
        assert page.evaluate("document.getElementById('said').textContent") == "sound.webm"
        assert page.evaluate("document.querySelectorAll('#codes table').length") == 4
        assert page.evaluate("document.querySelectorAll('#codes td').length") == 256
        assert page.evaluate("document.querySelectorAll('#classes .best').length") == 1
        assert page.evaluate("document.querySelectorAll('#path circle').length") == 16
        assert page.evaluate("document.querySelector('#screens canvas').width") == 64
        choose(page, tmp_path / "words.mp4")
        page.wait_for("document.getElementById('said').classList.contains('bad')", True)
        assert "no file of WebM" in page.evaluate("document.getElementById('said').textContent")
        failed = [each for each in page.events if each["method"] == "Runtime.exceptionThrown"]
        assert not failed


def choose(page: browser.Browser, path: Path) -> None:
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    field = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=field, files=[str(path)])
