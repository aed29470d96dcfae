"""Online decisions over HTTP: a session is one track, whose frames are sent one after another."""

import asyncio
import dataclasses
import secrets
import time
from typing import Any

from kinetoken.serving.tasks import Role, Task
from kinetoken.serving.workers import Workers, WorkRefused


@dataclasses.dataclass
class OnlineSession:
    """One that is open."""

    name: str  # that a client knows it by; not to be guessed
    detector: str  # folder of the model
    track: int  # of the detector
    size: int  # pixels a side of what the detector reads
    most: int  # frames, after which it decides in any case
    touched: float  # when it was last used, by the monotonic clock
    verdict: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"status": "undecided", "confidence": 0.5, "frames": 0}
    )
    turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)  # frames are fed one after another
    lost: bool = False  # the process that knew its frames is no more

    @property
    def decided(self) -> bool:
        return bool(self.verdict["status"] != "undecided")


class OnlineSessions:
    """The sessions that are open, at most so many; those without frames for long are closed.

    One whose frames went with their process is kept as long, so that its client is told what became of it.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers, self.limits = workers, workers.limits
        self._open: dict[str, OnlineSession] = {}
        self._tracks = 0
        workers.lost.append(self._lost)

    def __len__(self) -> int:
        return sum(not session.lost for session in self._open.values())

    async def open(self, detector: str) -> OnlineSession:
        """A new session. WorkRefused without that model, or while too many are open."""
        model = f"persistence/{detector}"
        self.workers.require(model)
        await self.close_idle()
        if len(self) >= self.limits.sessions:
            raise WorkRefused(503, f"{self.limits.sessions} sessions are open, the most that may be", retry=10)
        shape = self.workers.report["frames"]["detectors"][model]
        self._tracks += 1
        name = secrets.token_urlsafe(16)
        session = OnlineSession(name, model, self._tracks, shape["size"], shape["frames"], time.monotonic())
        self._open[name] = session
        return session

    def find(self, name: str) -> OnlineSession:
        """WorkRefused for one that is not open, or was lost."""
        session = self._known(name)
        if session.lost:
            raise WorkRefused(410, "the process that knew the frames of this session ended; open another session")
        return session

    async def feed(
        self, name: str, frame: bytes, *, number: int | None, width: int | None, height: int | None, resize: bool
    ) -> OnlineSession:
        """The session after its next frame: RGB bytes, row by row. WorkRefused for a frame that cannot be the next."""
        session = self.find(name)
        async with session.turn:
            self.find(name)  # while other frames had their turn, it may have been lost or closed
            expected = session.verdict["frames"]
            if session.decided:
                raise WorkRefused(409, f"decided {session.verdict['status']} after frame {expected - 1}; open another")
            if number is not None and number != expected:
                raise WorkRefused(409, f"frame {number} is out of order, expected is frame {expected}")
            wide, high = width or session.size, height or session.size
            if len(frame) != 3 * wide * high:
                raise WorkRefused(
                    422, f"{len(frame)} bytes; a frame of {wide}×{high} pixels has {3 * wide * high}, red, green and "
                    "blue of each pixel row by row"
                )
            options = {
                "detector": session.detector, "track": session.track, "number": expected, "width": wide,
                "height": high, "resize": resize,
            }
            session.touched = time.monotonic()
            session.verdict = await self.workers.ask(
                "frames", Task("feed", options=options), frame, require=lambda: self.find(name)
            )
        return session

    async def close(self, name: str) -> None:
        """Drop a session and all that is known of it. WorkRefused for one that is not open."""
        session = self._known(name)
        del self._open[name]
        await self._forget(session)

    async def close_idle(self) -> None:
        """Close what had no frame for too long."""
        last = time.monotonic() - self.limits.session_seconds
        for session in [each for each in self._open.values() if each.touched < last]:
            self._open.pop(session.name, None)
            await self._forget(session)

    def _known(self, name: str) -> OnlineSession:
        if name not in self._open:
            raise WorkRefused(404, "no such session is open; it was closed, or was idle for too long")
        return self._open[name]

    async def _forget(self, session: OnlineSession) -> None:
        if session.lost:
            return
        options = {"detector": session.detector, "track": session.track}
        await self.workers.ask("frames", Task("forget", options=options))

    def _lost(self, role: Role) -> None:
        """Of a session without frames a process knows nothing, and of a decided one nothing more is asked."""
        if role == "frames":
            for session in self._open.values():
                session.lost |= session.verdict["frames"] > 0 and not session.decided
