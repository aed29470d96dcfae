"""From the bytes of a reply to equations and a sentence: never an exception, never more than what is allowed."""

import json
import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.equations.answers import MAX_DESCRIPTION, Answer, judge, read_answer
from kinetoken.equations.grammar import MAX_CHARACTERS
from kinetoken.equations.outcomes import Outcome
from kinetoken.equations.redaction import WITHHELD_BODY
from kinetoken.equations.replies import MAX_BYTES, MAX_CONTENT, MAX_DETAIL, Reply, clean_text, complaint, read_reply
from tests.llm_server import EQUATION, TOKENS, completion, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12,
)
CHOICES = st.fixed_dictionaries({}, optional={
    "choices": JSON | st.lists(st.fixed_dictionaries({}, optional={
        "message": JSON | st.fixed_dictionaries({}, optional={"content": JSON, "refusal": JSON}), "finish_reason": JSON,
    }), max_size=2),
    "model": JSON, "usage": JSON | st.fixed_dictionaries({"prompt_tokens": JSON, "completion_tokens": JSON}),
})


def is_clean(text: str, limit: int) -> bool:
    return len(text) <= limit and all(unicodedata.category(character)[0] != "C" for character in text)


def answered(content: str) -> Answer:
    return read_answer(Reply(Outcome.ANSWERED, content))


@given(st.binary(max_size=200) | CHOICES.map(json.dumps).map(str.encode) | JSON.map(json.dumps).map(str.encode))
def test_any_bytes_are_a_reply(raw: bytes) -> None:
    reply = read_reply(raw)
    assert is_clean(reply.detail, MAX_DETAIL) and (reply.outcome is Outcome.ANSWERED) == bool(reply.content)
    assert reply.tokens is None or all(0 <= count <= 10**9 for count in reply.tokens)
    assert reply.model is None or is_clean(reply.model, 100)
    assert isinstance(judge(reply), Outcome)


@given(st.text() | JSON.map(json.dumps) | st.builds(
    lambda x, description: json.dumps({"equation": {"x": x, "y": "t", "z": "1"}, "description": description}),
    JSON, JSON,
))
def test_any_content_is_an_answer_or_an_outcome(content: str) -> None:
    answer = answered(content)
    assert is_clean(answer.description, MAX_DESCRIPTION) and is_clean(answer.detail, 200)
    assert bool(answer.equations) == (answer.outcome is Outcome.ANSWERED)
    for text in answer.equations.values():
        assert text.isascii() and text.isprintable() and len(text) <= MAX_CHARACTERS
    path = answer.path(np.arange(16) / 16)
    assert path.shape == (16, 3) and (bool(answer.equations) or np.isnan(path).all())


@pytest.mark.parametrize(("content", "outcome", "detail"), [
    ("", Outcome.MALFORMED, "no JSON"), ("Here it is: {}", Outcome.MALFORMED, "no JSON"),
    ("{}", Outcome.SCHEMA, "expected one object"), ("[]", Outcome.SCHEMA, "expected one object"),
    (written(description=None), Outcome.SCHEMA, "'description' is not text"),
    (written(EQUATION | {"y": ["t"]}), Outcome.SCHEMA, "'equation.y' is not text"),
    (json.dumps({"equation": "x = t", "description": ""}), Outcome.SCHEMA, "expected 'equation' with"),
    (written(EQUATION | {"z": "t^2"}), Outcome.EQUATION, "z: .*powers are written"),
    (written(EQUATION | {"z": "x(t) = t"}), Outcome.EQUATION, "z: not an expression"),
    (written(EQUATION | {"z": "t + " * 100 + "t"}), Outcome.EQUATION, "z: 401 characters"),
    (written(EQUATION | {"z": ""}), Outcome.EQUATION, "z: not an expression"),
    (written(), Outcome.ANSWERED, ""),
])
def test_outcomes(content: str, outcome: Outcome, detail: str) -> None:
    answer = answered(content)
    assert answer.outcome is outcome and re.search(detail, answer.detail)


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.ANSWERED])
def test_other_outcomes_pass_through(outcome: Outcome) -> None:
    answer = read_answer(Reply(outcome, "ignored", "why"))
    assert (answer.outcome, answer.equations, answer.description, answer.detail) == (outcome, {}, "", "why")
    assert answer.expressions() == []


def test_a_good_answer_is_a_path() -> None:
    answer = answered(written({"x": " 2*t ", "y": "-t**2", "z": "3"}, "It falls."))
    assert answer.equations == {"x": "2*t", "y": "-t**2", "z": "3"} and answer.description == "It falls."
    np.testing.assert_allclose(answer.path(np.array([0.0, 2.0])), [[0, 0, 3], [4, -4, 3]])


def test_hidden_characters_are_gone_and_spaces_are_plain() -> None:
    hostile = "a\x00b\x1b[31m\u202ec\u2066d\u200be\ud800f\u00a0g\r\n\th\ufeff\u2028i"
    assert clean_text(hostile, 100) == "ab[31mcdef g h i"
    assert answered(written(description=hostile)).description == "ab[31mcdef g h i"


@given(st.text(max_size=400), st.integers(5, 50))
def test_clean_text_is_short_and_clean_and_cleaning_again_changes_nothing(text: str, limit: int) -> None:
    once = clean_text(text, limit)
    assert is_clean(once, limit) and clean_text(once, limit) == once and "  " not in once


def test_what_is_too_long_is_not_read() -> None:
    assert read_reply(b" " * (MAX_BYTES + 1)).outcome is Outcome.TOO_LONG
    assert read_reply(completion("x" * (MAX_CONTENT + 1))).outcome is Outcome.TOO_LONG
    assert len(answered(written(description="word " * 1000)).description) <= MAX_DESCRIPTION


@pytest.mark.parametrize(("usage", "tokens"), [
    ({"prompt_tokens": 5, "completion_tokens": 7}, (5, 7)), ({"prompt_tokens": True, "completion_tokens": 7}, None),
    ({"prompt_tokens": -1, "completion_tokens": 7}, None), ({"prompt_tokens": 5}, None), (None, None), ([1, 2], None),
    ({"prompt_tokens": 10**10, "completion_tokens": 7}, None), ({"prompt_tokens": 5.0, "completion_tokens": 7}, None),
])
def test_tokens_are_counts_or_unknown(usage: Any, tokens: tuple[int, int] | None) -> None:
    body = json.loads(completion(written())) | {"usage": usage}
    assert read_reply(json.dumps(body).encode()).tokens == tokens
    assert read_reply(completion(written())).tokens == TOKENS


def test_a_refusal_goes_before_what_else_is_said() -> None:
    reply = read_reply(completion(written(), refusal="No\u202e."))
    assert reply.outcome is Outcome.REFUSED and reply.detail == "No." and reply.content == ""


@pytest.mark.parametrize(("body", "said"), [
    ({"error": {"message": "no\x07 credit"}}, "no credit"), ({"error": "plain"}, "plain"), ({"message": "m"}, "m"),
    ({"error": {"message": 3}}, ""), ([], ""), (None, ""),
])
def test_complaints_are_read_from_either_place(body: object, said: str) -> None:
    assert complaint(body) == said


BODIES: dict[Outcome, bytes] = {
    Outcome.ANSWERED: completion(written()), Outcome.REFUSED: completion(written(), refusal="No."),
    Outcome.TRUNCATED: json.dumps({"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}).encode(),
    Outcome.FILTERED: json.dumps({"choices": [{"message": {}, "finish_reason": "content_filter"}]}).encode(),
    Outcome.MALFORMED: completion("{'x': 1}"), Outcome.SCHEMA: completion("{}"),
    Outcome.EQUATION: completion(written(EQUATION | {"x": "import os"})), Outcome.TOO_LONG: b"[" * (MAX_BYTES + 1),
    Outcome.NOT_JSON: b"\xff{}", Outcome.NO_CHOICES: b'{"choices": []}',
    Outcome.WITHHELD: WITHHELD_BODY,
}


@pytest.mark.parametrize("outcome", BODIES)
def test_every_outcome_that_a_body_can_have_is_reached(outcome: Outcome) -> None:
    reply = read_reply(BODIES[outcome])
    assert judge(reply) is outcome
    assert bool(read_answer(reply).equations) == (outcome is Outcome.ANSWERED)


def test_the_other_outcomes_are_the_connections() -> None:
    """Only what says that nobody spoke, or that the run must stop, is no business of a body."""
    assert all(other.asks_again or other.stops for other in set(Outcome) - set(BODIES))


@pytest.mark.parametrize("raw", [b"[" * 500_000, b'{"a":' * 100_000, b"1" * 10_000, b"\xef\xbb\xbf{}", b"NaN", b"\x00"])
def test_bodies_that_break_parsers_are_no_json(raw: bytes) -> None:
    assert read_reply(raw).outcome is Outcome.NOT_JSON


@pytest.mark.parametrize("content", ["[" * 15_000, "9" * 15_000, "Infinity", "-NaN", "\ud800"])
def test_contents_that_break_parsers_are_malformed(content: str) -> None:
    assert answered(content).outcome is Outcome.MALFORMED


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("bad", ["２*t", "t²", "π*t", "−t", "t\u0301", "ｓｉｎ(t)", "t٣", "ｔ", "х", "t # t", "t)("])
def test_one_bad_equation_leaves_none(axis: str, bad: str) -> None:
    answer = answered(written(EQUATION | {axis: bad}, "It rises."))
    assert answer.outcome is Outcome.EQUATION and answer.equations == {} and answer.detail.startswith(f"{axis}: ")
    assert answer.description == "It rises."


def test_hidden_characters_are_gone_from_equations_and_reasons() -> None:
    hidden = "\u202e1\u200b + \u20662*t\ufeff\x00"
    assert answered(written(EQUATION | {"x": hidden})).equations["x"] == "1 + 2*t"
    assert answered(written(EQUATION | {"x": "os\u202e.\ud800x\x1b"})).detail.endswith("os.x")
