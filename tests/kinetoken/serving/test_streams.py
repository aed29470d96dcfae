"""Frames over a WebSocket: the online detector's decisions, bounds, refusals with a code, the documented example."""

import json
import re
import signal
import socket as sockets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import WebSocketDisconnect
from fastapi.testclient import TestClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from kinetoken.persistence.online import OnlineDetector
from kinetoken.scenes.clips import Pixels
from kinetoken.serving.app import build_app
from kinetoken.serving.server import OrderlyServer, bound_socket, configured
from kinetoken.serving.settings import Limits, Serving
from kinetoken.serving.streams import BAD_FRAME, BROKEN, BUSY, DECIDED, NOT_BINARY, POLICY
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import Workers
from tests.kinetoken.serving.conftest import TOKEN
from tests.kinetoken.serving.test_server import own_process, require_silent_end
from tests.kinetoken.serving.test_sessions import Watcher, opened

ROOT = Path(__file__).parents[3]
FRAME = bytes(3 * 64 * 64)
STREAM = "ws://127.0.0.1/sessions/stream"


@contextmanager
def served(serving: Serving, workers: Workers | None = None) -> Iterator[str]:
    """A server behind a real socket, as `kinetoken serve` runs it, whose heads have 0.3 seconds; host and port."""
    with bound_socket("127.0.0.1", 0) as listening:
        app = build_app(serving, workers)
        server = OrderlyServer(configured(app, serving.limits))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started or app.state.served.workers.loading:
                time.sleep(0.02)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def watched(limits: Limits, token: str = "") -> Iterator[str]:
    """A server with made-up workers, which never decide."""
    serving = Serving(token=token, limits=limits)
    with served(serving, Workers(serving, Watcher)) as place:
        yield place


@pytest.fixture(scope="module")
def place(applied: Path) -> Iterator[str]:
    """A server on tiny models."""
    with served(Serving(applied / "models", limits=Limits(concurrency=1, wait_seconds=60, sessions=2))) as place:
        yield place


def state(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(60))


def closing(connection: ClientConnection) -> tuple[int, str, str]:
    """Code, reason and detail with which the server ends a connection."""
    detail = ""
    with pytest.raises(ConnectionClosed) as ended:
        while True:
            detail = json.loads(connection.recv(60)).get("detail", detail)
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code, ended.value.rcvd.reason, detail


@pytest.mark.parametrize("name", ["transformer", "magvit"])
def test_decisions_are_those_of_the_online_detector(place: str, applied: Path, pixels: Pixels, name: str) -> None:
    """The client fills one buffer with frame after frame; the detector is fed copies of them."""
    online = OnlineDetector.load(applied / "models" / "persistence" / name, applied / "models" / "tokenizer")
    buffer = np.empty_like(pixels[0, 0])
    for row, clip in enumerate(pixels):
        with connect(f"ws://{place}/sessions/stream?detector={name}") as connection:
            first = state(connection)
            assert (first["size"], first["frames"], first["decided"]) == (64, 0, False)
            for number, frame in enumerate(clip):
                there = online.feed({row: (number, frame.copy())})[row]
                buffer[:] = frame
                connection.send(memoryview(buffer).cast("B"))
                found = state(connection)
                assert (found["status"], found["confidence"], found["frames"]) == (
                    there.status, there.confidence, there.frames,
                )
                if found["decided"]:
                    break
            assert found["decided"] and closing(connection) == (
                DECIDED, f"decided {there.status} after {there.frames} frames", "",
            )


def test_one_buffer_fed_to_the_detector_itself_gives_the_verdicts_of_copies(applied: Path, pixels: Pixels) -> None:
    """This detector keeps 4 frames until it reads them, so a buffer that it held itself would be seen 4 times."""
    folder, tokenizer = applied / "models/persistence/magvit", applied / "models/tokenizer"
    copies, shared = OnlineDetector.load(folder, tokenizer), OnlineDetector.load(folder, tokenizer)
    buffer = np.empty_like(pixels[0, 0])
    for row, clip in enumerate(pixels):
        for number, frame in enumerate(clip):
            buffer[:] = frame
            found = shared.feed({row: (number, buffer)})[row]
            buffer[:] = 255  # and is filled with something else before it is read again
            assert found == copies.feed({row: (number, frame.copy())})[row]
            if found.status != "undecided":
                break
        assert found.frames >= shared.network.stride > 1 and 0.5 < found.confidence


def test_larger_frames_are_brought_to_size(place: str, pixels: Pixels) -> None:
    frame = pixels[0, 0].repeat(2, 0).repeat(3, 1).tobytes()
    with connect(f"ws://{place}/sessions/stream?width=192&height=128&resize=true") as connection:
        assert state(connection)["frames"] == 0
        connection.send(frame)
        assert state(connection)["frames"] == 1
    with connect(f"ws://{place}/sessions/stream?width=192&height=128") as connection:
        connection.send(frame)
        code, reason, detail = closing(connection)
    assert code == BAD_FRAME and detail.startswith(reason) and "frames are 192×128" in detail


@pytest.mark.parametrize(("message", "code", "words"), [
    (FRAME[:-1], BAD_FRAME, "12287 bytes; a frame of 64×64 pixels has 12288"),
    (b"", BAD_FRAME, "0 bytes"),
    ("a frame", NOT_BINARY, "a frame is a binary message"),
])
def test_what_is_no_frame_ends_the_session_with_a_sentence(
    place: str, message: bytes | str, code: int, words: str
) -> None:
    with connect(f"ws://{place}/sessions/stream") as connection:
        state(connection)
        connection.send(message)
        found, reason, detail = closing(connection)
    assert found == code and words in detail and detail.startswith(reason)
    with connect(f"ws://{place}/sessions/stream") as connection:  # the server goes on
        connection.send(FRAME)
        assert state(connection)["frames"] == 0 and state(connection)["frames"] == 1


def test_a_message_may_have_so_many_bytes() -> None:
    with watched(Limits(max_message=20_000)) as place, connect(f"ws://{place}/sessions/stream") as connection:
        state(connection)
        connection.send(bytes(20_001))
        assert closing(connection)[0] == 1009


def test_a_slow_sender_is_closed_and_an_open_connection_outlives_the_bound_of_heads() -> None:
    with watched(Limits(idle_seconds=0.3, session_seconds=1.5)) as place:
        with connect(f"ws://{place}/sessions/stream") as connection:
            state(connection)
            time.sleep(0.8)
            connection.send(FRAME)
            assert state(connection)["status"] == "undecided"
            begun = time.monotonic()
            assert closing(connection)[:2] == (POLICY, "no whole frame came for 1.5 seconds")
            assert 1 < time.monotonic() - begun < 10
        host, _, port = place.partition(":")
        with sockets.create_connection((host, int(port)), 10) as slow:  # a handshake that is never finished
            slow.sendall(b"GET /sessions/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n")
            assert slow.recv(1) == b""


def test_pieces_of_a_frame_count_once_they_are_whole() -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield FRAME[:4096]
            time.sleep(0.4)

    with watched(Limits(session_seconds=0.6)) as place, connect(f"ws://{place}/sessions/stream") as connection:
        state(connection)
        with pytest.raises(ConnectionClosed):
            connection.send(pieces())
            time.sleep(1)
            connection.send(FRAME)
        assert connection.close_code == POLICY


def test_so_many_sessions_of_both_kinds_are_open_at_once(made_up: Callable[..., TestClient]) -> None:
    client = made_up(Limits(sessions=2), Watcher)
    Watcher.forgotten.clear()
    with client.websocket_connect(STREAM) as first:
        first.receive_json()
        name = opened(client)
        with pytest.raises(WebSocketDisconnect) as full, client.websocket_connect(STREAM):
            pass
        assert full.value.status_code == 503 and full.value.headers["retry-after"]
        assert "2 sessions are open" in full.value.json()["detail"]
        assert client.post("/sessions").status_code == 503
    until = time.monotonic() + 10
    while not Watcher.forgotten and time.monotonic() < until:
        time.sleep(0.02)
    assert len(Watcher.forgotten) == 1 and client.get(f"/sessions/{name}").status_code == 200
    assert opened(client) != name


class OneDetector(Watcher):
    report = Watcher.report | {"lacking": {"persistence/magvit": "absent"}}


def test_handshakes_are_refused_as_requests_are(made_up: Callable[..., TestClient], place: str) -> None:
    locked, open_to_all = made_up(worker=Watcher, token=TOKEN), made_up(worker=OneDetector)
    right = {"authorization": f"Bearer {TOKEN}"}
    for client, path, headers, status, words in (
        (locked, "", {}, 401, "a token is needed"), (locked, "", {"authorization": "Bearer wrong"}, 401, "a token"),
        (open_to_all, "", {"origin": "https://example.com"}, 403, "its own machine only"),
        (open_to_all, "?detector=none", {}, 422, "query detector: "), (open_to_all, "?width=0", {}, 422, "query width"),
        (open_to_all, "?detector=magvit", {}, 503, "persistence/magvit is needed and not loaded"),
    ):
        with pytest.raises(WebSocketDisconnect) as refused:
            with client.websocket_connect(f"{STREAM}{path}", headers=headers):
                pass
        assert refused.value.status_code == status and words in refused.value.json()["detail"], refused.value.text
    with locked.websocket_connect(STREAM, headers=right) as connection:
        assert connection.receive_json()["frames"] == 0
    with pytest.raises(InvalidStatus) as real, connect(f"ws://{place}/sessions/stream?detector=none"):
        pass
    assert real.value.response.status_code == 422 and b"query detector" in (real.value.response.body or b"")


class Failing(Watcher):
    """Answers with what `reply` says."""

    reply: dict[str, Any] = {}

    @staticmethod
    def answer(task: Task) -> dict[str, Any]:
        return Failing.reply if task.job == "feed" else {"result": {}}


@pytest.mark.parametrize(("reply", "code", "words"), [
    ({"refused": "the server is busy", "status": 503}, BUSY, "busy"),
    ({"refused": "not done after 60 seconds", "status": 504}, BUSY, "not done"),
    ({"refused": "the process ended", "status": 500}, BROKEN, "ended"),
])
def test_work_that_fails_ends_the_session(
    made_up: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any], code: int, words: str
) -> None:
    monkeypatch.setattr(Failing, "reply", reply)
    client = made_up(worker=Failing)
    with client.websocket_connect(STREAM) as connection:
        connection.receive_json()
        connection.send_bytes(FRAME)
        assert words in connection.receive_json()["detail"]
        end = connection.receive()
        assert (end["type"], end["code"]) == ("websocket.close", code)
    assert client.get("/health/live").status_code == 200


def test_an_unexpected_error_ends_the_session_and_is_logged(
    made_up: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "reply", {"nothing": "of it"})
    client = made_up(worker=Failing)
    with pytest.raises(KeyError), client.websocket_connect(STREAM) as connection:  # it reaches the server's log
        connection.receive_json()
        connection.send_bytes(FRAME)
        assert connection.receive_json() == {"detail": "an error of the server; its log has more"}
        assert connection.receive()["code"] == BROKEN
    assert client.get("/health/live").status_code == 200


def test_connections_are_counted(made_up: Callable[..., TestClient]) -> None:
    client = made_up(worker=Watcher)
    with client.websocket_connect(STREAM) as connection:
        connection.receive_json()
        connection.send_bytes(FRAME)
        connection.receive_json()
        said = client.get("/metrics").text
        assert "kinetoken_requests_in_flight 2.0" in said and "kinetoken_sessions_open 1.0" in said
        connection.send_text("no frame")
        connection.receive_json()
    with client.websocket_connect(STREAM) as connection:
        connection.receive_json()
        connection.close(4321)
    path, until = 'endpoint="/sessions/stream"', time.monotonic() + 10
    while (said := client.get("/metrics").text).count(f"requests_total{{{path}") < 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert "kinetoken_sessions_open 0.0" in said
    assert f'kinetoken_requests_total{{{path},status="{NOT_BINARY}"}} 1.0' in said
    assert f'kinetoken_requests_total{{{path},status="1000"}} 1.0' in said and "4321" not in said
    assert f"kinetoken_received_bytes_total{{{path}}} {len(FRAME) + len('no frame')}.0" in said
    assert f"kinetoken_request_seconds_count{{{path}}} 2.0" in said


@pytest.mark.parametrize("program", ["http.client", "websockets"])
def test_the_documented_example_runs(place: str, pixels: Pixels, program: str, capsys: pytest.CaptureFixture) -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    code, = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if program in each]
    host, _, port = place.partition(":")
    code = code.replace("127.0.0.1:8000", place).replace('"127.0.0.1", 8000', f'"{host}", {port}')
    assert port in code
    exec(compile(code, "docs/deploy.md", "exec"), {"frames": pixels[0]})
    assert re.fullmatch(r"(persistent|transient) 0\.\d+ after \d+ frames\n", capsys.readouterr().out)


def test_the_server_stops_while_a_session_is_open(applied: Path) -> None:
    """SIGTERM closes the connection with 1012, and the exit code is 0."""
    with own_process(applied) as (process, port):
        with connect(f"ws://127.0.0.1:{port}/sessions/stream") as connection:
            state(connection)
            process.send_signal(signal.SIGTERM)
            assert closing(connection)[0] == 1012
        require_silent_end(process)
