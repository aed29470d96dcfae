"""Requests that ask for too much are refused, wait or end, and what the server counts of them is right."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kinetoken.serving.app import build_app
from kinetoken.serving.settings import Limits, Serving
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import WorkerEnded, WorkerLate, Workers
from tests.kinetoken.serving.conftest import MadeUpWorker, form

EMPTY = {"result": {"notes": [], "clips": []}}


class Slow(MadeUpWorker):
    """Answers once `go` is set; `together`: how many tasks were worked on at once, at most."""

    go = threading.Event()
    inside = together = 0
    lock = threading.Lock()

    @classmethod
    def answer(cls, task: Task) -> dict[str, Any]:  # type: ignore[override]
        with cls.lock:
            cls.inside += 1
            cls.together = max(cls.together, cls.inside)
        cls.go.wait(10)
        with cls.lock:
            cls.inside -= 1
        return EMPTY


@pytest.fixture
def slow() -> type[Slow]:
    Slow.go.clear()
    Slow.inside = Slow.together = 0
    return Slow


def test_more_bytes_than_allowed_are_refused_however_they_are_announced(made_up: Callable[..., TestClient]) -> None:
    client = made_up(Limits(max_bytes=5000))
    body = b"x" * 6000

    def pieces() -> Iterator[bytes]:  # no length is told
        yield from (body[:3000], body[3000:])

    typed = {"content-type": "multipart/form-data; boundary=b"}
    for content, headers in ((body, {}), (pieces(), {}), (pieces(), {"content-length": "10"})):
        answer = client.post("/classify", content=content, headers=typed | headers)
        assert answer.status_code == 413 and "more than 5000 bytes" in answer.json()["detail"]
        assert answer.headers["connection"] == "close"
    assert client.post("/sessions/a/frames", content=pieces()).status_code == 413
    assert client.get("/health/live").json() == {"alive": True}


def test_a_body_that_comes_too_slowly_is_cut_off(made_up: Callable[..., TestClient]) -> None:
    """Whether nothing comes for a while, or little all the time."""
    app = made_up(Limits(idle_seconds=0.1, upload_seconds=0.3)).app

    async def sent(pauses: list[float]) -> dict[str, Any]:
        messages, answer, pieces = iter(pauses), dict[str, Any](), [b"x"] * 200 + [form(b"x" * 900)[:-9]]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(next(messages))
            return {"type": "http.request", "body": pieces.pop(), "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            answer.update(message)

        headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"host", b"localhost")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/classify",
            "raw_path": b"/classify", "query_string": b"", "headers": headers, "root_path": "", "scheme": "http",
            "app": app,
        }
        await app(scope, receive, send)
        return answer

    for pauses in ([0.0, 60.0], [0.05] * 100):
        start = time.monotonic()
        answer = asyncio.run(sent(pauses))
        assert b"too slowly" in answer["body"], answer
        assert time.monotonic() - start < 5


def test_so_many_are_worked_on_at_once_and_the_others_wait(
    made_up: Callable[..., TestClient], slow: type[Slow], clip_file: dict[str, bytes]
) -> None:
    client = made_up(Limits(concurrency=2, waiting=4, wait_seconds=5), slow)
    with ThreadPoolExecutor(6) as threads:
        waiting = [threads.submit(client.post, "/classify", files=clip_file) for _ in range(6)]
        while slow.inside < 2:
            time.sleep(0.01)
        assert "kinetoken_requests_in_flight 7.0" in client.get("/metrics").text
        full = client.post("/classify", files=clip_file)  # no place to wait
        assert full.status_code == 503 and full.headers["retry-after"] == "2"
        assert full.json() == {"detail": "the server is busy; try again"}
        slow.go.set()
        assert {each.result().status_code for each in waiting} == {200}
    assert slow.together == 2


def test_who_waits_too_long_is_told_to_come_again(
    made_up: Callable[..., TestClient], slow: type[Slow], clip_file: dict[str, bytes]
) -> None:
    client = made_up(Limits(concurrency=1, wait_seconds=0.1), slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/classify", files=clip_file)
        while not slow.inside:
            time.sleep(0.01)
        second = client.post("/classify", files=clip_file)
        assert second.status_code == 503 and second.headers["retry-after"] == "2"
        slow.go.set()
        assert first.result().status_code == 200


class Failing(MadeUpWorker):
    faults: list[Exception | dict[str, Any]] = []

    @classmethod
    def answer(cls, task: Task) -> dict[str, Any]:  # type: ignore[override]
        fault = cls.faults.pop(0) if cls.faults else EMPTY
        if isinstance(fault, Exception):
            raise fault
        return fault


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (WorkerLate(), 504, "not done after 60 seconds"), (WorkerEnded(asked=True), 500, "ended unexpectedly"),
        (WorkerEnded(asked=False), 200, ""), ({"status": 413, "refused": "too large"}, 413, "too large"),
        (RuntimeError("secret"), 500, "an error of the server"), ({"result": {"clips": "none"}}, 500, "an error"),
    ],
)
def test_workers_that_fail_are_replaced(
    fault: Exception | dict[str, Any], status: int, words: str, made_up: Callable[..., TestClient],
    clip_file: dict[str, bytes],
) -> None:
    client = made_up(Limits(concurrency=1), Failing)
    Failing.faults[:] = [fault]
    answer = client.post("/classify", files=clip_file)
    assert answer.status_code == status and words in answer.text and "secret" not in answer.text
    assert client.post("/classify", files=clip_file).status_code == 200
    restarts = float(isinstance(fault, Exception))
    assert f"kinetoken_workers_restarted {restarts}" in client.get("/metrics").text


def test_metrics_count_requests_seconds_and_bytes(
    made_up: Callable[..., TestClient], clip_file: dict[str, bytes]
) -> None:
    client = made_up()
    client.post("/classify", files=clip_file)
    client.post("/classify", files={"clip": b"no clip"})
    for path in ("/nowhere", "/nowhere/else", "/sessions/abc"):
        client.get(path)
    found = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#")
    )
    assert found['kinetoken_requests_total{endpoint="/classify",status="200"}'] == "1.0"
    assert found['kinetoken_requests_total{endpoint="/classify",status="415"}'] == "1.0"
    assert found['kinetoken_requests_total{endpoint="other",status="404"}'] == "2.0"
    assert found['kinetoken_requests_total{endpoint="/sessions/{session}",status="404"}'] == "1.0"
    assert found['kinetoken_request_seconds_count{endpoint="/classify"}'] == "2.0"
    assert float(found['kinetoken_received_bytes_total{endpoint="/classify"}']) > len(clip_file["clip"])
    assert float(found['kinetoken_sent_bytes_total{endpoint="/classify"}']) > 20
    assert found["kinetoken_requests_in_flight"] == "1.0"


class Loading(MadeUpWorker):
    loaded = threading.Event()

    def start(self) -> dict[str, Any]:
        self.loaded.wait(10)
        return self.report


def test_ready_is_said_once_models_are_loaded(clip_file: dict[str, bytes]) -> None:
    Loading.loaded.clear()
    with TestClient(build_app(Serving(), Workers(Serving(), Loading)), "http://localhost") as client:
        assert client.get("/health/live").status_code == 200
        before = client.get("/health/ready")
        assert before.status_code == 503 and before.json()["loading"]
        early = client.post("/classify", files=clip_file)
        assert early.status_code == 503 and "being loaded" in early.json()["detail"] and early.headers["retry-after"]
        Loading.loaded.set()
        while client.get("/health/ready").status_code == 503:
            time.sleep(0.01)
        assert client.post("/classify", files=clip_file).status_code == 200


class Lacking(MadeUpWorker):
    report = {
        "loaded": ["tokenizer"], "lacking": {"classifier": "the model classifier is not in the models folder"},
        "damaged": [], "detectors": {},
    }


class Damaged(MadeUpWorker):
    report = Lacking.report | {"damaged": ["classifier"]}


def test_what_needs_a_missing_model_says_which(
    made_up: Callable[..., TestClient], clip_file: dict[str, bytes]
) -> None:
    client = made_up(worker=Lacking)
    answer = client.post("/classify", files=clip_file)
    assert answer.status_code == 503 and "the model classifier is needed and not loaded" in answer.json()["detail"]
    ready = client.get("/health/ready")
    assert ready.status_code == 200 and list(ready.json()["missing"]) == ["classifier"]
    assert client.post("/locate", files=clip_file).status_code == 200
    assert made_up(worker=Damaged).get("/health/ready").status_code == 503


def test_the_page_and_the_description_need_nothing_from_elsewhere(made_up: Callable[..., TestClient]) -> None:
    client = made_up()
    page = client.get("/")
    assert "Drop a clip" in page.text and "default-src 'none'" in page.headers["content-security-policy"]
    assert page.text.replace("http://www.w3.org/2000/svg", "").count("://") == 0
    described = client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            for code, response in operation["responses"].items():
                assert response["description"], (path, method, code)
