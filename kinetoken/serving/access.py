"""Whom the server answers: bearers of the token; without a token, programs and pages of this machine."""

import hmac
from urllib.parse import urlsplit

from kinetoken.serving.asgi import App, Receive, Scope, Send, header, refuse
from kinetoken.serving.settings import Serving, is_loopback

OPEN = ("/", "/health/live", "/health/ready", "/openapi.json")  # need no token: nothing in them is anybody's


class Guarded:
    """Refuses requests and WebSocket connections without the token (401).

    A server without a token listens on this machine alone. There it refuses requests that a foreign web page makes a
    browser send (403): their Host or Origin is another machine's.
    """

    def __init__(self, app: App, serving: Serving) -> None:
        self.app, self.token = app, serving.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            stream = scope["type"] == "websocket"
            if self.token and scope["path"] not in OPEN and not self._bears_token(scope):
                said = "a token is needed: send the header 'Authorization: Bearer TOKEN'"
                await refuse(send, 401, said, websocket=stream)
                return
            if not self.token and not _of_this_machine(scope):
                said = "this server answers requests from its own machine only"
                await refuse(send, 403, said, websocket=stream)
                return
        await self.app(scope, receive, send)

    def _bears_token(self, scope: Scope) -> bool:
        scheme, _, given = (header(scope, b"authorization") or "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.token)  # in constant time
        return right and scheme.lower() == "bearer"


def _of_this_machine(scope: Scope) -> bool:
    host, origin = header(scope, b"host"), header(scope, b"origin")
    try:
        asked = urlsplit(f"//{host or 'localhost'}").hostname
        by = "localhost" if origin is None else urlsplit(origin).hostname
    except ValueError:
        return False
    return is_loopback(asked or "") and is_loopback(by or "")
