"""How long is waited: what the server asks for, in every spelling, and jitter below a bound on top."""

import math
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.llm.retries import FIRST_BOUND_S, asked_wait, draw_wait

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
ATTEMPTS = st.integers(1, 20)
WAITS = st.floats(0, 1000, allow_nan=False)
LONGEST = st.floats(0.001, 1000)


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None), ({"date": "5"}, None),
    ({"retry-after": "5"}, 5.0), ({"retry-after": " 1.5 "}, 1.5), ({"retry-after": "0"}, 0.0),
    ({"retry-after-ms": "1500"}, 1.5), ({"retry-after-ms": "0", "retry-after": "7"}, 0.0),
    ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
    ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0), ({"retry-after-ms": "inf", "retry-after": "7"}, 7.0),
    ({"retry-after": "Thu, 26 Nov 2026 12:00:30 GMT"}, 30.0),
    ({"retry-after": "Thu, 26 Nov 2026 13:00:30 +0100"}, 30.0),
    ({"retry-after": "Thu, 26 Nov 2026 12:00:30"}, 30.0), ({"retry-after": "Thu, 26 Nov 2026 12:00:30 -0000"}, 30.0),
    ({"retry-after": "Thursday, 26-Nov-26 12:00:30 GMT"}, 30.0),
    ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    ({"retry-after": "-5"}, 0.0), ({"retry-after-ms": "-5"}, 0.0),
    ({"retry-after": "inf"}, None), ({"retry-after": "-inf"}, None), ({"retry-after": "nan"}, None),
    ({"retry-after": "1e999"}, None), ({"retry-after-ms": "nan"}, None),
    ({"retry-after": ""}, None), ({"retry-after": "soon"}, None), ({"retry-after": "5 s"}, None),
    ({"retry-after": "Thu, 99 Nov 2026 12:00:30 GMT"}, None),
    ({"retry-after": "Thu, 26 Nov 99999999999999999999 12:00:30 GMT"}, None),
    ({"retry-after": "Thu, 26 Nov 2026 12:00:30 +9999999999"}, None),
])
def test_what_the_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, NOW) == seconds


@given(st.integers(-(10**6), 10**6))
def test_a_date_is_as_far_as_it_is(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert asked_wait({"retry-after": date}, NOW) == max(seconds, 0)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=40)))
def test_any_header_is_a_wait_or_none(headers: dict[str, str]) -> None:
    seconds = asked_wait(headers, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.lists(st.sampled_from(["Thu,", "26", "Nov", "2026", "12:00:30", "99:99", "GMT", "+0100", "-", "1e9", "00"])))
def test_anything_like_a_date_is_a_wait_or_none(parts: list[str]) -> None:
    seconds = asked_wait({"retry-after": " ".join(parts)}, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(ATTEMPTS, WAITS | st.none(), LONGEST, st.integers(0, 2**32))
def test_a_wait_is_what_was_asked_and_less_than_the_bound_more(
    attempt: int, asked: float | None, longest: float, seed: int
) -> None:
    wait = draw_wait(attempt, asked, longest, random.Random(seed))
    if asked is not None and asked > longest:
        assert wait is None
        return
    assert wait is not None
    least = asked or 0.0
    assert least <= wait <= longest and wait <= least + min(FIRST_BOUND_S * 2 ** (attempt - 1), longest) + 1e-9


@pytest.mark.parametrize(("attempt", "longest", "bound"), [
    (1, 60.0, 0.5), (2, 60.0, 1.0), (5, 60.0, 8.0), (9, 60.0, 60.0),
])
def test_the_whole_range_below_a_doubling_bound_is_drawn_from(attempt: int, longest: float, bound: float) -> None:
    draw = random.Random(5)
    waits = [draw_wait(attempt, None, longest, draw) or 0.0 for _ in range(400)]
    assert min(waits) < 0.05 * bound and 0.95 * bound < max(waits) <= bound
    assert sum(waits) / len(waits) == pytest.approx(bound / 2, rel=0.15)


def test_the_longest_wait_itself_is_waited_for() -> None:
    assert draw_wait(1, 60.0, 60.0, random.Random(0)) is not None
    assert draw_wait(1, 60.001, 60.0, random.Random(0)) is None
