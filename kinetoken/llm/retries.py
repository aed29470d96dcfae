"""How long to wait before the next attempt.

Full jitter: a uniform draw below a bound that doubles (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture
Blog, 2015), on top of what the server asked for (Retry-After, RFC 9110 section 10.2.3).
"""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_BOUND_S = 0.5  # of the draw before the second attempt


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server asks for, never negative; None if it asks for nothing that can be read.

    `headers` by lower-case name: retry-after-ms, or retry-after in seconds or as an HTTP date.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _seconds(text)
    if seconds is not None or text is None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
        return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def draw_wait(attempt: int, asked: float | None, longest: float, draw: random.Random) -> float | None:
    """Seconds to wait after the `attempt`-th attempt (from 1); None if the server asks for more than `longest`."""
    if asked is not None and asked > longest:
        return None
    jitter = draw.uniform(0, min(FIRST_BOUND_S * 2 ** (attempt - 1), longest))
    return min((asked or 0.0) + jitter, longest)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(value, 0.0) if math.isfinite(value) else None
