"""How many requests are let in at once, and how large and how slow their bodies may be."""

import asyncio
import time

from fastapi import HTTPException

from kinetoken.serving.asgi import App, Message, Receive, Scope, Send, header, refuse
from kinetoken.serving.settings import Limits

CLOSE = {"connection": "close"}  # after a body that was not read to its end


class Admitting:
    """Lets in so many requests with a body at once (503 for more), and reads no body beyond its bounds.

    A body that is too large ends with 413, whether or not its length was told; one that comes too slowly with 408.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self.app, self.limits, self.inside = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return
        length = header(scope, b"content-length") or ""
        if length.isdigit() and int(length) > self.limits.max_bytes:
            await refuse(send, 413, _too_large(self.limits))
        elif self.inside >= self.limits.concurrency + self.limits.waiting:
            await refuse(send, 503, "the server is busy; try again", retry=2)
        else:
            self.inside += 1
            try:
                await self.app(scope, _bounded(receive, self.limits), send)
            finally:
                self.inside -= 1


def _bounded(receive: Receive, limits: Limits) -> Receive:
    """The same messages, until there are too many bytes or they take too long: then HTTPException."""
    until, count, whole = time.monotonic() + limits.upload_seconds, 0, False

    async def bounded() -> Message:
        nonlocal count, whole
        if whole:  # nothing more of the body is waited for
            return await receive()
        left = min(limits.idle_seconds, until - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), max(left, 0))
        except TimeoutError:
            raise HTTPException(408, "the request's body came too slowly", CLOSE) from None
        count += len(message.get("body", b""))
        if count > limits.max_bytes:
            raise HTTPException(413, _too_large(limits), CLOSE)
        whole = not message.get("more_body", False)
        return message

    return bounded


def _too_large(limits: Limits) -> str:
    return f"the request's body has more than {limits.max_bytes} bytes, the most that are read"
