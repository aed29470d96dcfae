"""Files that were sound once, and what a reader may do with them: give a result, or say in a sentence what is wrong."""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kinetoken.core.errors import UserError

LONGEST_S = 20.0  # of one reading on a busy machine; what has no end takes longer
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))

quick = settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def reads(read: Callable[[], object]) -> UserError | None:
    """Run it: None for a result, the message for a UserError, which must be one printable line; else the test fails."""
    started = time.monotonic()
    try:
        read()
        found = None
    except UserError as error:
        found = error
        assert str(error).isprintable() and str(error).strip(), ascii(str(error))
    except MemoryError:
        pytest.fail("memory was asked for that there is not")
    assert time.monotonic() - started < LONGEST_S
    return found


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The bytes cut, with some of them flipped, replaced, left out or repeated; or any bytes at all."""
    how = draw(st.sampled_from(("flip", "flip", "cut", "insert", "remove", "any")))
    if how == "any":
        return draw(st.binary(max_size=400))
    place = draw(st.integers(0, max(len(sound) - 1, 0)))
    if how == "cut":
        return sound[:place]
    if how == "flip":
        content = bytearray(sound)
        for at in draw(st.lists(st.integers(0, max(len(sound) - 1, 0)), min_size=1, max_size=8)):
            content[at] = draw(st.integers(0, 255))
        return bytes(content)
    length = draw(st.integers(1, 64))
    if how == "remove":
        return sound[:place] + sound[place + length :]
    return sound[:place] + draw(st.binary(min_size=1, max_size=64)) + sound[place:]


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from((10**7, 2**31, 2**62, 10**30, -1)) | st.floats()
    | st.text(max_size=5) | st.sampled_from(("\x1b[2J", "\u202e", "\n", "9" * 5000)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=4,
)


def places(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is within a JSON value, and of itself."""
    yield here
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from places(value, (*here, key))


@st.composite
def changed(draw: st.DrawFn, sound: Any) -> Any:
    """A JSON value with one thing in it replaced, removed or added."""
    content = json.loads(json.dumps(sound))
    path = draw(st.sampled_from(list(places(content))))
    value = draw(odd)
    if not path:
        return value
    node = content
    for key in path[:-1]:
        node = node[key]
    how = draw(st.sampled_from(("replace", "replace", "remove", "add")))
    if how == "remove":
        del node[path[-1]]
    elif how == "add" and isinstance(node, dict):
        node[draw(st.text(max_size=5))] = value
    else:
        node[path[-1]] = value
    return content
