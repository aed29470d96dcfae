"""Online decisions over a WebSocket: one connection is one session, each binary message one frame.

The server sends the state of the session when the connection opens and after every frame. The last state is followed by
code 1000. Anything else ends with a sentence as `{"detail": …}`, then with the code of its kind and the same sentence.
"""

import asyncio
import contextlib

from fastapi import WebSocket, WebSocketDisconnect

from kinetoken.serving.answers import SessionState
from kinetoken.serving.sessions import OnlineSession, OnlineSessions
from kinetoken.serving.workers import WorkRefused

DECIDED, NOT_BINARY, BAD_FRAME, POLICY, BROKEN, BUSY = 1000, 1003, 1007, 1008, 1011, 1013
CODES = {404: POLICY, 409: POLICY, 410: BROKEN, 422: BAD_FRAME, 503: BUSY, 504: BUSY}  # of HTTP's statuses
REASON = 123  # bytes that a closing frame has room for


class StreamEnded(Exception):
    """Why the server closes a connection: a sentence, and the code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def watch(
    socket: WebSocket, sessions: OnlineSessions, detector: str, width: int | None, height: int | None, resize: bool
) -> None:
    """One connection from its handshake to its end. WorkRefused, before it is opened, where no session can be had."""
    session = await sessions.open(detector)
    try:
        await socket.accept()
        await socket.send_text(state_of(session).model_dump_json())
        while not session.decided:
            frame = await _received(socket, sessions.limits.session_seconds)
            await _fed(sessions, session, frame, width, height, resize)
            await socket.send_text(state_of(session).model_dump_json())
        raise StreamEnded(DECIDED, f"decided {session.verdict['status']} after {session.verdict['frames']} frames")
    except StreamEnded as ended:
        await _closed(socket, ended)
    except WebSocketDisconnect:
        pass  # the client left
    except Exception:
        await _closed(socket, StreamEnded(BROKEN, "an error of the server; its log has more"))
        raise
    finally:
        with contextlib.suppress(WorkRefused):
            await sessions.close(session.name)


def state_of(session: OnlineSession) -> SessionState:
    """What a client is sent of a session."""
    return SessionState(
        session=session.name, size=session.size, most=session.most, decided=session.decided, **session.verdict
    )


async def _received(socket: WebSocket, seconds: float) -> bytes:
    """The next frame. StreamEnded for a text message, and without a whole message in time."""
    try:
        message = await asyncio.wait_for(socket.receive(), seconds)
    except TimeoutError:
        raise StreamEnded(POLICY, f"no whole frame came for {seconds:g} seconds") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    frame = message.get("bytes")
    if frame is None:
        raise StreamEnded(NOT_BINARY, "a frame is a binary message, this one is text")
    return bytes(frame)


async def _fed(
    sessions: OnlineSessions, session: OnlineSession, frame: bytes, width: int | None, height: int | None, resize: bool
) -> None:
    try:
        await sessions.feed(session.name, frame, number=None, width=width, height=height, resize=resize)
    except WorkRefused as refused:
        raise StreamEnded(CODES.get(refused.status, BROKEN), str(refused)) from None


async def _closed(socket: WebSocket, ended: StreamEnded) -> None:
    sentence = str(ended)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client may have left meanwhile
        if ended.code != DECIDED:
            await socket.send_json({"detail": sentence})
        await socket.close(ended.code, sentence.encode()[:REASON].decode(errors="ignore"))
