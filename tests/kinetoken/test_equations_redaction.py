"""Secrets are struck out in every disguise, and nothing else is."""

import base64
import json
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetoken.equations import redaction
from kinetoken.equations.redaction import LEAST, STRUCK_OUT, WITHHELD, WITHHELD_BODY, Redaction
from tests.disguises import DISGUISES, sightings

KEY = "sk-proj-Ab3dEf6hIjKl_Mn0pQrStUv-Wx9z"
keys = st.text(string.ascii_letters + string.digits + "-_/+.", min_size=20, max_size=170).filter(
    lambda key: sum(character.isalnum() for character in key) > LEAST
)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)


@settings(deadline=None)
@given(keys, st.sampled_from(sorted(DISGUISES)))
def test_any_key_in_any_disguise_and_nothing_around_it(key: str, name: str) -> None:
    before, after = '{"?": "\u00ab', '\u00bb (...)"}'  # no letter that the key may go on with
    struck = Redaction(key).text(before + DISGUISES[name](key) + after)
    assert struck.startswith(before) and struck.endswith(after[1:])
    assert set(json.loads(struck)) == {"?"}
    assert sightings(struck.encode(), key) == []


@settings(deadline=None)
@given(words, words)
def test_what_holds_no_secret_stays_as_it_is(one: str, other: str) -> None:
    rule = Redaction(KEY, "another-secret/0123456789")
    assert rule.text(one) is one
    body = json.dumps({one: [other, {"x": "0.1 + 1.5*t"}]}).encode()
    assert rule.body(body) is body
    assert rule.body(body[:-3] + b"\xff\xfe") == body[:-3] + b"\xff\xfe"


@settings(deadline=None)
@given(words, words)
def test_the_parts_around_a_key_are_kept_to_the_byte(before: str, after: str) -> None:
    raw = f"{before} <{KEY}> {after}".encode()
    assert Redaction(KEY).body(raw) == f"{before} <{STRUCK_OUT}> {after}".encode()
    assert Redaction(KEY).body(b"\xff" + raw) == b"\xff" + f"{before} <{STRUCK_OUT}> {after}".encode()


@pytest.mark.parametrize("start", range(0, 20, 3))
def test_a_piece_is_struck_out_from_twelve_letters_on(start: int) -> None:
    letters = "".join(character for character in KEY if character.isalnum())
    piece = letters[start : start + LEAST]
    assert Redaction(KEY).text(f"({piece})") == f"({STRUCK_OUT})"
    assert Redaction(KEY).text(f"({piece[1:]})") == f"({piece[1:]})"
    assert Redaction(KEY).text(f"({piece[:-1]})") == f"({piece[:-1]})"
    assert Redaction(KEY).text(f"({piece[:6]}?{piece[6:]})") == f"({STRUCK_OUT})"
    assert Redaction(KEY).text(f"({piece[:6]}q7{piece[6:]})") == f"({piece[:6]}q7{piece[6:]})"


@settings(deadline=None)
@given(st.binary(max_size=9), st.binary(max_size=9), st.sampled_from([base64.b64encode, base64.b32encode]))
def test_a_key_is_found_wherever_it_begins_in_what_was_recoded(before: bytes, after: bytes, encode: object) -> None:
    code = encode(before + KEY.encode() + after).decode()  # type: ignore[operator]
    assert STRUCK_OUT in Redaction(KEY).text(code)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_letters_are_the_same_one_by_one(text: str) -> None:
    """By which what is found is traced back to where it stands."""
    for dropped in (redaction.NO_LETTERS, redaction.UNSEEN):
        assert redaction._letters(text, dropped) == b"".join(redaction._letters(each, dropped) for each in text)


@settings(deadline=None)
@given(st.text("\\u%x0U+&#;=a1{}", max_size=30))
def test_traces_are_as_long_as_what_they_trace(text: str) -> None:
    for (layer, spans), plain in zip(redaction._traced_layers(text), redaction._layers(text), strict=True):
        assert layer == plain and len(spans) == len(layer)
        assert all(0 <= start < end <= len(text) for start, end in spans)


def test_a_short_key_is_none_and_so_is_no_key() -> None:
    for rule in (Redaction(), Redaction(""), Redaction("none"), Redaction("1234567")):
        assert rule.text("none 1234567 [key]") == "none 1234567 [key]"


def test_a_key_of_few_letters_counts_as_it_is_written() -> None:
    rule = Redaction("!$/-#+?)(a")
    assert rule.text(r"it is !$\/-#+?)(A, so") == "it is [key], so"
    assert rule.text("! $ a - #") == "! $ a - #"
    assert Redaction("abcd-1234").text("as ABCD 1234") == "as [key]"


def test_striking_out_again_changes_nothing() -> None:
    for key in (KEY, "key-key-key-key-key", "monkey-monkey-monkey"):
        for disguise in DISGUISES.values():
            once = Redaction(key).text(f"<{disguise(key)}>")
            assert Redaction(key).text(once) == once


def test_what_cannot_be_taken_out_is_withheld() -> None:
    whole = json.dumps({"a": {KEY[:12]: KEY[12:]}})
    assert Redaction(KEY).text(whole) == WITHHELD
    assert Redaction(KEY).body(whole.encode()) == WITHHELD_BODY
    assert Redaction(KEY).body(json.dumps([KEY[:12], KEY[12:]]).encode()) == b'["[key]"]'
    assert Redaction("1234567890123").body(b'{"id": 1234567890123}') == WITHHELD_BODY
    assert Redaction(KEY).text("-" * 200_000 + KEY) == WITHHELD


@pytest.mark.parametrize("part", ["x", "%20", "[ ", "%25", "\u00e9", r"\u0041", "sk-proj-", KEY[:10] + " "])
def test_a_large_body_takes_no_longer_than_an_answer(part: str) -> None:
    text = part * (1_000_000 // len(part.encode()))
    started = time.monotonic()
    assert Redaction(KEY).body(text.encode()) == text.encode()
    assert time.monotonic() - started < 20  # a second or so on an idle machine


def test_several_secrets_are_told_apart_from_the_rest() -> None:
    rule = Redaction(KEY, "hunter2-hunter2", "short")
    assert rule.text(f"{KEY} and hunter2-hunter2 and short") == "[key] and [key] and short"
