"""The real command: its port, its connections, and its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner

from kinetoken.cli import app as command
from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import Pixels
from kinetoken.serving.app import build_app
from kinetoken.serving.server import OrderlyServer, bound_socket, bounded_connections
from kinetoken.serving.settings import Serving
from kinetoken.serving.workers import Workers
from tests.kinetoken.serving.conftest import MadeUpWorker, form
from tests.support.hostile import npy_of

ROOT = Path(__file__).parents[3]


def request(body: bytes) -> bytes:
    head = f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n".encode() + body


def received(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


@pytest.fixture
def port() -> Iterator[int]:
    """A server with made-up workers, behind real sockets, that waits for heads for 0.3 seconds."""
    with bound_socket("127.0.0.1", 0) as listening:
        app = build_app(Serving(), Workers(Serving(), MadeUpWorker))
        server = OrderlyServer(uvicorn.Config(app, http=bounded_connections(0.3), ws="none", log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_connections_without_a_request_are_closed(port: int, pixels: Pixels) -> None:
    for head in (b"", b"GET /health/li", b"POST /classify HTTP/1.1\r\nHost: localhost\r\n"):
        with socket.create_connection(("127.0.0.1", port), 10) as slow:
            slow.sendall(head)
            start = time.monotonic()
            assert received(slow) == b"" and time.monotonic() - start < 5
    with socket.create_connection(("127.0.0.1", port), 10) as sound:
        sound.sendall(request(form(npy_of(pixels[0]))))
        assert received(sound).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_refused(port: int) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), 10) as other:
            other.sendall(noise)
            assert received(other).startswith(b"HTTP/1.1 400") or noise
    with socket.create_connection(("127.0.0.1", port), 10) as sound:
        sound.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert received(sound).endswith(b'{"alive":true}')


def test_a_port_in_use_is_one_message(applied: Path) -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(command, ["serve", "--models", str(applied / "models"), "--port", str(port)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: serve: port {port} of 127.0.0.1 is in use; stop what listens there, or choose another --port\n"
    )
    with pytest.raises(UserError, match="--host nowhere.invalid: "):
        bound_socket("nowhere.invalid", 0)


def test_what_cannot_be_served_is_told_before_anything_begins(tmp_path: Path) -> None:
    for words, said in (
        (["--models", str(tmp_path / "absent")], "absent: no such folder; --models names the folder"),
        (["--models", str(tmp_path), "--host", "0.0.0.0"], "--host 0.0.0.0: others can connect"),
    ):
        result = CliRunner().invoke(command, ["serve", *words], env={"KINETOKEN_TOKEN": ""})
        assert result.exit_code == 1 and said in result.stderr


def test_the_extra_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    result = CliRunner().invoke(command, ["serve"])
    assert result.exit_code == 1 and "pip install 'kinetoken[serve]'" in result.stderr


def test_a_request_under_way_is_answered_before_the_end(applied: Path, pixels: Pixels) -> None:
    """SIGTERM comes while a body is half sent: the rest is read, the answer is right, the exit code is 0."""
    whole = request(form(npy_of(pixels[0])))
    with own_process(applied) as (process, port):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(whole[: len(whole) // 2])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            connection.sendall(whole[len(whole) // 2 :])
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 200") and b'"predicted"' in answer
        require_silent_end(process)


@contextmanager
def own_process(applied: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`kinetoken serve` on these models as a process of its own, ready, and its port; killed at the end if it lives."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinetoken", "serve", "--models", str(applied / "models"), "--port", "0",
         "--concurrency", "1"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"KINETOKEN_TOKEN": ""},
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.search(r"on http://127.0.0.1:(\d+) ", said)
        assert match, said
        wait_until_ready(int(match[1]))
        yield process, int(match[1])
    finally:
        process.kill()
        process.wait()


def require_silent_end(process: "subprocess.Popen[str]") -> None:
    """The server ends within a minute with exit code 0, and says nothing more."""
    assert process.wait(60) == 0
    assert process.stderr is not None and process.stderr.read() == ""


def wait_until_ready(port: int) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if json.loads(received(connection).partition(b"\r\n\r\n")[2])["ready"]:
                return
        time.sleep(0.1)
    raise AssertionError("never ready")
