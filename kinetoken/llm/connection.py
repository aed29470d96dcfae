"""One attempt at one request over the network, and what became of it.

The library's own retries are off, since they would be paid for and not counted. Every attempt ends within its
time-out, and whatever the server does, it ends as an `Outcome`.
"""

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import openai

from kinetoken.core.errors import UserError
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.redaction import Redaction, may_be_shown, secrets_within
from kinetoken.llm.replies import MAX_BYTES, Reply, clean_text, complaint, parse_json, read_reply
from kinetoken.llm.retries import asked_wait

KEY_VARIABLE = "OPENAI_API_KEY"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_ADDRESS = "https://api.openai.com/v1"
PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
BY_STATUS = {
    401: Outcome.WRONG_KEY, 402: Outcome.QUOTA, 403: Outcome.NOT_PERMITTED, 404: Outcome.UNKNOWN_MODEL,
    408: Outcome.SERVER_ERROR, 409: Outcome.SERVER_ERROR, 429: Outcome.RATE_LIMITED,
}


Store = Callable[[int, bytes, float], None]  # of status, body and seconds


@dataclasses.dataclass(frozen=True)
class Tried:
    """One attempt: what came back, how long it took, and the wait that the server asked for.

    `billed`: whether anything may have been paid; a server's refusal to work is not billed.
    """

    reply: Reply
    seconds: float
    billed: bool = True
    wait: float | None = None


class Connection:
    """A client for one server and one key, both from the environment; an async context manager.

    UserError if there is no key, or if key or address cannot be ones. Neither the key nor a secret of the address is
    in any message, nor in what a reply is stored and read as.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._key = _key_from_environment()
        address = _address_from_environment(self._key)
        self.redaction = redaction_from_environment()
        self.server = self.redaction.address(address)  # to be shown and stored
        try:
            http = openai.DefaultAsyncHttpxClient(
                follow_redirects=False, timeout=timeout_s, event_hooks={"response": [_limit_body]}
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise _no_way_out(error) from None
        self._client = openai.AsyncOpenAI(
            api_key=self._key, base_url=address, max_retries=0, timeout=timeout_s,
            default_headers={"Accept-Encoding": "identity"}, http_client=http,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def attempt(self, body: dict[str, Any], store: Store) -> Tried:
        """Send the body; `store` gets status, raw reply and seconds before anything reads the reply."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self._client.chat.completions.with_raw_response.create(**body)
                raw = answer.http_response.content
        except (TimeoutError, openai.APITimeoutError):
            return _failed(Outcome.TIMED_OUT, started, f"no whole answer within {self.timeout_s:g} s")
        except openai.APIStatusError as error:
            return self._turned_away(error.response, store, started)
        except (
            openai.APIConnectionError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, UnicodeError,
        ) as error:
            return _broken(error, started)
        seconds = time.monotonic() - started
        raw = self.redaction.body(raw)
        store(answer.http_response.status_code, raw, seconds)
        return Tried(read_reply(raw), seconds)

    def _turned_away(self, response: httpx2.Response, store: Store, started: float) -> Tried:
        seconds = time.monotonic() - started
        raw = self.redaction.body(response.content)
        store(response.status_code, raw, seconds)
        outcome, detail = sort_status(response.status_code, raw)
        return Tried(
            Reply(outcome, detail=detail), seconds, billed=False,
            wait=asked_wait({name.lower(): value for name, value in response.headers.items()}, datetime.now(UTC)),
        )


def sort_status(status: int, raw: bytes) -> tuple[Outcome, str]:
    """The outcome of an error status with this body, and the server's complaint, clean."""
    try:
        body = parse_json(raw[:MAX_BYTES].decode("utf-8", "replace"))
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    codes = {error.get("code"), error.get("type")} & _texts(error) if isinstance(error, dict) else set()
    detail = f"status {status}" + (f": {text}" if (text := complaint(body)) else "")
    if codes & QUOTA_CODES:
        return Outcome.QUOTA, detail
    if codes & FILTER_CODES:
        return Outcome.FILTERED, detail
    if status in BY_STATUS:
        return BY_STATUS[status], detail
    return (Outcome.SERVER_ERROR if status >= 500 else Outcome.REJECTED), detail


def _texts(error: dict[str, Any]) -> set[str]:
    return {value for value in error.values() if isinstance(value, str)}


def _broken(error: BaseException, started: float) -> Tried:
    """No reply, or not all of one; only a connection that never was is certainly not billed."""
    cause = error.__cause__ or error
    if isinstance(cause, httpx2.ConnectError):
        return _failed(Outcome.UNREACHABLE, started, "no connection", billed=False)
    if isinstance(cause, (httpx2.UnsupportedProtocol, httpx2.ProxyError, httpx2.InvalidURL)):
        return _failed(Outcome.UNREACHABLE, started, type(cause).__name__, billed=False)
    return _failed(Outcome.CUT, started, f"the connection broke off ({type(cause).__name__})")


def _failed(outcome: Outcome, started: float, detail: str, *, billed: bool = True) -> Tried:
    return Tried(Reply(outcome, detail=detail), time.monotonic() - started, billed)


class _Limited(httpx2.AsyncByteStream):
    """The first bytes of a body, one more than are read at most: that one says that there were more."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BYTES + 1
        async for part in self._body:
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._body.aclose()


async def _limit_body(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.DecodingError("compressed, though that was not asked for", request=response.request)
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Limited(response.stream)


def redaction_from_environment() -> Redaction:
    """That of the key and of what is secret in the address, whether or not they are there and can be used."""
    try:
        within = secrets_within(os.environ.get(ADDRESS_VARIABLE, "").strip())
    except ValueError:
        within = []
    return Redaction(os.environ.get(KEY_VARIABLE, "").strip(), *within)


def _no_way_out(error: Exception) -> UserError:
    """What is wrong with the proxy or the certificates that the environment names; their values may be secret."""
    named = {name.upper() for name in os.environ} & {*PROXY_VARIABLES, *CERTIFICATE_VARIABLES}
    if isinstance(error, OSError):
        there = " and ".join(sorted(named & {*CERTIFICATE_VARIABLES})) or "the system's own"
        return UserError(f"the certificates cannot be read ({error.strerror or 'no certificate in it'}): see {there}")
    there = ", ".join(sorted(named & {*PROXY_VARIABLES})) or "the system's settings"
    return UserError(f"the proxy that {there} names cannot be used; http:// and https:// proxies can")


def _key_from_environment() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise UserError(
            f"no key: set {KEY_VARIABLE} in the environment (to anything, for a server that wants none), or set "
            "'mode: replay' to answer from the ledger, or 'provider: offline' to do without a language model"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{KEY_VARIABLE} holds characters that no key has; copy it again")
    return key


def _address_from_environment(key: str) -> str:
    address = os.environ.get(ADDRESS_VARIABLE, "").strip() or DEFAULT_ADDRESS
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        known = key in address or Redaction(key).text(address) != address
        shown = "(not shown)" if known or not may_be_shown(address) else clean_text(address, 100)
        raise UserError(f"{ADDRESS_VARIABLE}={shown}: not an address; expected one like {DEFAULT_ADDRESS}")
    return address
