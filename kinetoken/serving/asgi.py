"""The types of an ASGI application, and a response that is sent before any application is asked."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name (lower case), or None."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


async def refuse(send: Send, status: int, sentence: str, *, retry: int | None = None, websocket: bool = False) -> None:
    """One plain sentence as the whole response; the connection is closed, since the body was not read.

    `websocket`: it answers the handshake of a WebSocket connection, which is then never opened.
    """
    body = json.dumps({"detail": sentence}, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close"),
    ]
    if retry is not None:
        headers.append((b"retry-after", str(retry).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    kind = "websocket.http.response" if websocket else "http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
