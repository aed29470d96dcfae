"""The server process: a bound socket, connections with bounds of their own, and an orderly end."""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from kinetoken.core.errors import UserError
from kinetoken.serving.app import build_app
from kinetoken.serving.settings import Limits, Serving

CONNECTIONS = 512  # open at once; beyond these uvicorn answers 503 by itself
KEEP_ALIVE = 5  # seconds that an idle connection stays open


def run_server(serving: Serving) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. UserError if it cannot begin."""
    serving.require_safe()
    if not serving.models.is_dir():
        raise UserError(f"{serving.models}: no such folder; --models names the folder with the trained models")
    with bound_socket(serving.host, serving.port) as listening:
        port = listening.getsockname()[1]
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        print(f"serving {serving.models} on http://{host}:{port} (stop with Ctrl-C)", file=sys.stderr, flush=True)
        OrderlyServer(configured(build_app(serving), serving.limits)).run([listening])


def configured(app: FastAPI, limits: Limits) -> uvicorn.Config:
    """How uvicorn serves the application within these limits. A WebSocket peer that answers no ping is dropped."""
    return uvicorn.Config(
        app, http=bounded_connections(limits.idle_seconds), ws="websockets-sansio", loop="asyncio",
        ws_max_size=min(limits.max_message, limits.max_bytes), ws_per_message_deflate=False, lifespan="on",
        log_level="warning", access_log=False, server_header=False, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=int(limits.stop_seconds),
    )


def bound_socket(host: str, port: int) -> socket.socket:
    """UserError for an address that is in use, or not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host}: {error.strerror or error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            why = "is in use; stop what listens there, or choose another --port"
            raise UserError(f"port {port} of {host} {why}") from None
        raise UserError(f"port {port} of {host}: {error.strerror or error}") from None
    return listening


class OrderlyServer(uvicorn.Server):
    """Ends with exit code 0 after SIGTERM or SIGINT, once requests under way are answered."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def bounded_connections(seconds: float) -> type[asyncio.Protocol]:
    """Connections that are closed if a request's head is not there after so many seconds."""

    class BoundedConnection(H11Protocol):
        _head: asyncio.TimerHandle | None = None
        _upgraded = False  # to a WebSocket connection, which another protocol goes on with

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._upgraded:
                return
            if self.cycle is None or self.cycle.response_complete:  # no request is under way
                self._await_head()
            else:
                self._forget_head()

        def handle_websocket_upgrade(self, event: Any) -> None:  # noqa: ANN401 - h11's
            self._upgraded = True
            self._forget_head()
            super().handle_websocket_upgrade(event)

        def _await_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(seconds, self.transport.close)

        def _forget_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            super().connection_lost(exc)

    return BoundedConnection
