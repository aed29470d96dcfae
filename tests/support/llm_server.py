"""A chat-completions server on 127.0.0.1 that answers as it is told to, well or badly, and remembers what it was sent.

For tests, as a context manager, or alone: python -m tests.support.llm_server good 429 good prints its address and
answers each request in turn that way, the last behaviour for ever.
"""

import contextlib
import dataclasses
import gzip
import json
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

MODEL = "stand-in-7b-2026-10"  # that answers, by its own word
TOKENS = (50, 20)  # of prompt and completion, by its own word
KEY_SENT = b"<the key that was sent>"  # in a body: replaced by it, in the disguise of the behaviour
PATH_SENT = b"<the path that was asked for>"  # replaced by that, with its query
EQUATION = {"x": "0.1 + 1.5*t", "y": "0.2 - 0.5*t", "z": "3"}
DESCRIPTION = "The ball moves fast along a straight line, falling."


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What one request is met with.

    `manner`: whole, the body; cut, less of it than was announced; closed, not a byte and the connection closed;
    never, not a byte and the connection kept; dribble, the head and then a space now and again for ever.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    manner: Literal["whole", "cut", "closed", "never", "dribble"] = "whole"
    delay_s: float = 0.0  # before the first byte
    disguise: Callable[[str], str] = str  # of a key that is repeated


Behave = Callable[[dict[str, Any], int], Behaviour]  # of a body, and the number of its askings so far, with this one


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request as it came."""

    body: dict[str, Any]
    authorization: str
    moment: float  # of the monotonic clock, when all of it was read

    @property
    def question(self) -> str:
        """What the last message says."""
        return str(self.body["messages"][-1]["content"])


class LlmServer:
    """Listens while its `with` block lasts; `behave` is called from a thread for each connection."""

    def __init__(self, behave: Behave | None = None) -> None:
        self.behave = behave or (lambda body, nth: good())
        self.requests: list[Asked] = []
        self.most_at_once = 0  # requests, from the last byte read to the last byte written
        self.paths: set[str] = set()
        self.closing = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        self._sockets: set[socket.socket] = set()
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def times_asked(self) -> Counter[str]:
        """By what the last message says."""
        with self._lock:
            return Counter(asked.question for asked in self.requests)

    def connected(self, connection: socket.socket, *, open: bool) -> None:
        with self._lock:
            (self._sockets.add if open else self._sockets.discard)(connection)

    def begin(self, body: dict[str, Any], authorization: str, path: str) -> Behaviour:
        text = json.dumps(body, sort_keys=True)
        with self._lock:
            self.requests.append(Asked(body, authorization, time.monotonic()))
            self.paths.add(path)
            self._times[text] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            nth = self._times[text]
        return self.behave(body, nth)

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: LlmServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def handle(self) -> None:
        owner = self.server.owner
        owner.connected(self.connection, open=True)
        try:
            with contextlib.suppress(OSError):
                super().handle()
        finally:
            owner.connected(self.connection, open=False)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        authorization = self.headers.get("authorization", "")
        try:
            behaviour = owner.begin(body, authorization, self.path)
            owner.closing.wait(behaviour.delay_s)
            sent = authorization.removeprefix("Bearer ").removeprefix("Basic ")
            raw = behaviour.body.replace(KEY_SENT, behaviour.disguise(sent).encode())
            raw = raw.replace(PATH_SENT, self.path.encode())
            getattr(self, f"_{behaviour.manner}")(behaviour, raw)
        finally:
            owner.end()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _head(self, behaviour: Behaviour, length: int) -> None:
        self.send_response(behaviour.status)
        for name, value in ({"content-type": "application/json"} | dict(behaviour.headers)).items():
            self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.end_headers()

    def _whole(self, behaviour: Behaviour, raw: bytes) -> None:
        self._head(behaviour, len(raw))
        self.wfile.write(raw)

    def _cut(self, behaviour: Behaviour, raw: bytes) -> None:
        self._head(behaviour, len(raw))
        self.wfile.write(raw[: len(raw) // 2])
        self.close_connection = True

    def _closed(self, behaviour: Behaviour, raw: bytes) -> None:
        self.close_connection = True

    def _never(self, behaviour: Behaviour, raw: bytes) -> None:
        self.close_connection = True
        while not self.server.owner.closing.is_set() and not select.select([self.connection], [], [], 0.02)[0]:
            pass  # readable: the client went away

    def _dribble(self, behaviour: Behaviour, raw: bytes) -> None:
        self.close_connection = True
        self._head(behaviour, 10**6)
        while not self.server.owner.closing.wait(0.02):
            self.wfile.write(b" ")


def completion(content: object, *, finish: str = "stop", tokens: tuple[int, int] = TOKENS, **message: object) -> bytes:
    """The body of a reply in which the model wrote `content`."""
    return json.dumps({
        "id": "c-1", "object": "chat.completion", "created": 1790000000, "model": MODEL,
        "choices": [{
            "index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content} | message,
        }],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }).encode()


def written(equation: Mapping[str, object] = EQUATION, description: object = DESCRIPTION) -> str:
    """An answer of the asked schema."""
    return json.dumps({"equation": dict(equation), "description": description})


def good(delay_s: float = 0.0, tokens: tuple[int, int] = TOKENS) -> Behaviour:
    return Behaviour(completion(written(), tokens=tokens), delay_s=delay_s)


def says(content: object, **rest: Any) -> Behaviour:
    """Status 200, and the model wrote `content`."""
    return Behaviour(completion(content, **rest))


def fails(status: int, code: str | None = None, message: str = "no", **headers: str) -> Behaviour:
    """An error status with a body like OpenAI's; `retry_after="1"` is the header retry-after."""
    body = {"error": {"message": message, "type": code or "error", "code": code, "param": None}}
    spelled = {name.replace("_", "-"): text for name, text in headers.items()}
    return Behaviour(json.dumps(body).encode(), status, spelled)


def in_seconds(seconds: float) -> str:
    """That moment as an HTTP date."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def _equation(x: str) -> Behaviour:
    return says(written(EQUATION | {"x": x}))


HTML = {"content-type": "text/html"}
BEHAVIOURS: dict[str, Behaviour] = {
    "good": good(),
    "created": dataclasses.replace(good(), status=201),
    "429": fails(429, "rate_limit_exceeded"),
    "429 now": fails(429, retry_after="0"),
    "429 for long": fails(429, retry_after="3600"),
    "429 quota": fails(429, "insufficient_quota", "You exceeded your current quota."),
    "402": fails(402, message="Pay."),
    "500": fails(500),
    "503 html": Behaviour(b"<html>overloaded</html>", 503, HTML),
    "401": fails(401, "invalid_api_key", "Incorrect API key."),
    "403": fails(403, message="Not in your country."),
    "404": fails(404, "model_not_found", "The model does not exist."),
    "400": fails(400, message="Unsupported parameter: 'temperature'."),
    "400 filter": fails(400, "content_filter", "The prompt was filtered."),
    "never": Behaviour(manner="never"),
    "dribble": Behaviour(manner="dribble"),
    "cut": Behaviour(completion(written()), manner="cut"),
    "closed": Behaviour(manner="closed"),
    "html": Behaviour(b"<html><body>Sign in to the hotel's network</body></html>", 200, HTML),
    "empty": Behaviour(b""),
    "choices null": Behaviour(b'{"choices": null}'),
    "choices empty": Behaviour(b'{"choices": []}'),
    "a list": Behaviour(b"[1, 2]"),
    "error in 200": Behaviour(b'{"error": {"message": "overloaded", "code": 502}}'),
    "refusal": says(None, refusal="I cannot help with balls."),
    "length": says('{"equation": {"x": "0.1 + ', finish="length"),
    "content filter": says("", finish="content_filter"),
    "null content": says(None),
    "malformed": says('{"equation": {"x": "t",'),
    "NaN": says('{"equation": NaN, "description": ""}'),
    "fences": says(f"```json\n{written()}\n```"),
    "thoughts": says(f"<think>{{x}} or {{y}}?\nFast.</think>\n\n{written()}"),
    "end of thoughts": says(f"Fast.\n</think>\n```\n{written()}\n```\n"),
    "parts": says([{"type": "thinking", "thinking": "Fast."}, {"type": "text", "text": written()}]),
    "two fences": says(f"```json\n{written()}\n```\n```json\n{written()}\n```"),
    "parts without text": says([{"type": "image_url", "image_url": {}}, 3, None]),
    "other schema": says('{"x": "t", "y": "t", "z": "t", "description": "up"}'),
    "number": says(written(EQUATION | {"y": 3})),
    "extra axis": says(written(EQUATION | {"w": "t"})),
    "description list": says(written(description=["fast"])),
    "code": _equation("__import__('os').system('touch PWNED')"),
    "minus signs": says(written(EQUATION | {"x": "-" * 19_000 + "t"})),
    "20,000 minus signs": _equation("-" * 20_000 + "t"),
    "tower": _equation("9**9**9"),
    "control characters": says(written(description="The ball\x00 \x1b[31mmoves\u202e fast\u2066\u200b\ud800\nup.")),
    "enormous": Behaviour(completion("x" * 5_000_000)),
    "enormous error": Behaviour(b"x" * 5_000_000, 500),
    "echo": Behaviour(b'{"error": {"message": "bad key ' + KEY_SENT + b'", "code": "invalid_api_key"}}', 401),
    "echo 400": Behaviour(b'{"error": {"message": "you sent Bearer ' + KEY_SENT + b'"}}', 400),
    "echo refusal": says(None, refusal="I was sent " + KEY_SENT.decode()),
    "echo model": Behaviour(completion(written()).replace(MODEL.encode(), KEY_SENT)),
    "echo path": Behaviour(b'{"error": {"message": "no ' + PATH_SENT + b" for " + KEY_SENT + b'"}}', 404),
    "deep": Behaviour(b"[" * 100_000 + b"]" * 100_000),
    "deep content": says("[" * 9_000 + "]" * 9_000),
    "many digits": Behaviour(b'{"choices": ' + b"9" * 5000 + b"}"),
    "gzip bomb": Behaviour(gzip.compress(b" " * 10_000_000), 200, {"content-encoding": "gzip"}),
    "gzip error": Behaviour(gzip.compress(b" " * 10_000_000), 500, {"content-encoding": "gzip"}),
    "no utf-8": Behaviour(b'{"choices": "\xff\xfe"}'),
}


def redirect(to: str) -> Behaviour:
    return Behaviour(b"", 307, {"location": to})


def in_turn(*behaviours: Behaviour) -> Behave:
    """A request's first asking is met with the first, its second with the second, and the last for ever."""
    return lambda body, nth: behaviours[min(nth, len(behaviours)) - 1]


def main(names: list[str]) -> None:
    with LlmServer(in_turn(*(BEHAVIOURS[name] for name in names or ["good"]))) as server:
        print(server.address, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
