"""What a server is started with: where it listens, whom it answers, and how much one request may ask for."""

import dataclasses
import ipaddress
from pathlib import Path

from kinetoken.core.errors import UserError

MIB = 1 << 20
SHORTEST_TOKEN = 16  # characters, where others than this machine can connect


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much requests may take. Beyond these bounds they are refused; the server goes on."""

    max_bytes: int = 64 * MIB  # of one request's body
    max_seconds: float = 60.0  # of work on one request; after that its worker process is ended
    max_clips: int = 64  # clips or windows of one request
    max_frames: int = 4096  # of one uploaded clip
    max_side: int = 4096  # pixels of a frame's longer side
    max_memory: int = 2048 * MIB  # that one worker process may take beside its models
    concurrency: int = 2  # requests worked on at once, a process each
    waiting: int = 16  # further requests that may upload or wait
    wait_seconds: float = 5.0  # for a free process, before a request is refused
    upload_seconds: float = 60.0  # for a whole body
    idle_seconds: float = 10.0  # between two pieces of a body, and for a request's head
    max_message: int = 16 * MIB  # of one WebSocket message: a frame
    sessions: int = 64  # open at once, WebSocket connections among them
    session_seconds: float = 300.0  # without a frame, after which a session is closed
    stop_seconds: float = 30.0  # for requests under way, once the server was told to stop


@dataclasses.dataclass(frozen=True)
class Serving:
    """One server."""

    models: Path = Path("models")
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    device: str = "auto"
    threads: int = 1  # of each worker process
    limits: Limits = Limits()

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    def require_safe(self) -> None:
        """UserError for a server that others can reach and that answers everybody, and for a token that is none."""
        if any(not "!" <= letter <= "~" for letter in self.token):
            raise UserError("the token may hold visible ASCII characters only, since it travels in a header")
        if self.local:
            return
        if not self.token:
            raise UserError(
                f"--host {self.host}: others can connect to this address, so a token is needed; set the environment "
                "variable KINETOKEN_TOKEN, or listen on 127.0.0.1"
            )
        if len(self.token) < SHORTEST_TOKEN:
            raise UserError(f"--host {self.host}: the token needs at least {SHORTEST_TOKEN} characters")


def is_loopback(host: str) -> bool:
    """Whether an address or a name, as a URL has it, is this machine's own alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
