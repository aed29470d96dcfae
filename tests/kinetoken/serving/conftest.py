"""One server on tiny models for all tests of this folder, and servers without models whose workers are made up."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from kinetoken.scenes.clips import ClipStore, Pixels
from kinetoken.serving.app import build_app
from kinetoken.serving.settings import Limits, Serving
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import WorkerProcess, Workers
from tests.support.hostile import npy_of

DEFAULT = Limits()
TOKEN = "correct-horse-battery"
HERE = "http://127.0.0.1"
REPORT = {"loaded": ["tokenizer", "classifier"], "lacking": {}, "damaged": [], "detectors": {}}


class MadeUpWorker(WorkerProcess):
    """Answers every task with `answer`."""

    answer: Callable[[Task], dict[str, Any]] = staticmethod(lambda task: {"result": {"notes": [], "clips": []}})
    report: dict[str, Any] = REPORT

    def start(self) -> dict[str, Any]:
        return self.report

    def ask(self, task: Task, payload: bytes, seconds: float) -> dict[str, Any]:
        return self.answer(task)

    def stop(self) -> None:
        pass

    kill = stop


@pytest.fixture(scope="session")
def pixels(tiny_data: Path) -> Pixels:
    """Three clips (3, 16, 64, 64, 3)."""
    return ClipStore(tiny_data / "videos").read("test", limit=3).pixels


@pytest.fixture(scope="session")
def clip_file(pixels: Pixels) -> dict[str, bytes]:
    """The form that uploads the first clip."""
    return {"clip": npy_of(pixels[0])}


@pytest.fixture(scope="session")
def client(applied: Path) -> Iterator[TestClient]:
    """A server on a tiny model of every kind, ready."""
    limits = Limits(concurrency=1, max_clips=8, session_seconds=600, wait_seconds=60)
    with TestClient(build_app(Serving(applied / "models", limits=limits)), HERE) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture
def made_up() -> Iterator[Callable[..., TestClient]]:
    """Servers with made-up workers: of these limits, this class of worker and this token."""
    opened = []

    def make(limits: Limits = DEFAULT, worker: type[WorkerProcess] = MadeUpWorker, token: str = "") -> TestClient:
        serving = Serving(token=token, limits=limits)
        client = TestClient(build_app(serving, Workers(serving, worker)), HERE, raise_server_exceptions=False)
        opened.append(client.__enter__())
        wait_until_ready(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def wait_until_ready(client: TestClient) -> None:
    until = time.monotonic() + 300  # most of it imports, on a busy machine
    while client.get("/health/ready").json()["loading"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def form(content: bytes) -> bytes:
    """A body of multipart/form-data with the boundary `b`, and one file as its part `clip`."""
    return b'--b\r\nContent-Disposition: form-data; name="clip"; filename="c"\r\n\r\n' + content + b"\r\n--b--\r\n"


def array_of(pixels: dict[str, Any]) -> Pixels:
    """Frames as a response has them."""
    return np.frombuffer(base64.b64decode(pixels["base64"]), np.uint8).reshape(pixels["shape"])
