"""Equations, replies and answers from outside: any text ends in a result or in what is wrong with it."""

import json
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.equations.answers import Answer, read_answer
from kinetoken.equations.grammar import FUNCTIONS, EquationError, parse
from kinetoken.equations.reasons import read_words
from kinetoken.llm.connection import sort_status
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import MAX_CONTENT, Reply, parse_answer, read_reply
from tests.fuzz.mutations import changed, damaged, quick

TIMES = np.linspace(0, 1, 5)
REPLY = {
    "model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 6},
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(
        {"equation": {"x": "0.1 + 1.5*t", "y": "sin(3*t)**2", "z": "3"}, "description": "Fast."}
    )}}],
}
ANSWER = json.loads(REPLY["choices"][0]["message"]["content"])  # type: ignore[index]

pieces = st.lists(
    st.sampled_from((
        *FUNCTIONS, "t", "pi", "+", "-", "*", "/", "**", "^", "(", ")", "1", "0.5", "1e308", "9" * 20, ",", " ",
        "lambda:", "__import__", "[", "]", "{", "}", "'", '"', "if", "else", ":=", ".", "@", "j",
    )),
    max_size=40,
).map("".join)
terms = st.recursive(
    st.sampled_from(("t", "pi", "1", "0.5", "1e30", "-2")),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda each: f"({''.join(each)})")
    | st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner).map(lambda each: f"{each[0]}({each[1]})")
    | inner.map(lambda each: f"({each})**2"), max_leaves=12,
)


def parsed(text: str) -> bool:
    """Whether it is an equation; then it has values, as many as there are times."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = parse(text)
        except EquationError as error:
            assert str(error)
            return False
        assert found.evaluate(TIMES).shape == TIMES.shape
    return True


@quick
@given(st.text(max_size=400) | pieces | terms | terms.flatmap(lambda text: damaged(text.encode())).map(
    lambda raw: raw.decode("utf-8", "replace")))
def test_any_text_is_an_equation_or_says_why_not(text: str) -> None:
    parsed(text)


@quick
@given(terms.filter(lambda text: len(text) <= 300))
def test_what_the_grammar_has_is_an_equation_unless_it_is_too_large(text: str) -> None:
    try:
        assert parse(text).evaluate(TIMES).shape == TIMES.shape
    except EquationError as error:
        assert "more than" in str(error)


def check(reply: Reply) -> None:
    """A reply is read to its end by whoever asked."""
    answer, (outcome, words) = read_answer(reply), read_words(reply)
    assert isinstance(reply.outcome, Outcome) and isinstance(answer, Answer) and isinstance(outcome, Outcome)
    for text in (reply.detail, reply.model or "", answer.description, answer.detail, words, *answer.equations.values()):
        assert text.isprintable()
    assert answer.path(TIMES).shape == (5, 3) and len(reply.content) <= MAX_CONTENT
    assert reply.tokens is None or min(reply.tokens) >= 0


@quick
@given(damaged(json.dumps(REPLY).encode()))
def test_any_bytes_of_a_reply(raw: bytes) -> None:
    check(read_reply(raw))
    sort_status(500, raw)


@quick
@given(changed(REPLY), st.sampled_from((200, 400, 401, 429, 500)))
def test_any_values_of_a_reply(content: object, status: int) -> None:
    raw = json.dumps(content).encode()
    check(read_reply(raw))
    outcome, detail = sort_status(status, raw)
    assert isinstance(outcome, Outcome) and detail.isprintable()


WRAPPED = (
    "{}", "```json\n{}\n```", "```\n{}\n```\n", "<think>\nA {{b}}?\n</think>\n{}", "Hm.\n</think>\n\n```json\n{}\n```",
    "  {}  ", "<thinking></thinking>{}", "```JSON\r\n{}\r\n```",
)


@quick
@given(st.sampled_from(WRAPPED), changed(ANSWER) | st.just(ANSWER))
def test_what_is_wrapped_round_an_answer_changes_nothing_of_it(wrapping: str, answer: object) -> None:
    text = json.dumps(answer)
    message = {"role": "assistant", "content": wrapping.format(text)}
    reply = read_reply(json.dumps(REPLY | {"choices": [{"message": message}]}).encode())
    check(reply)
    if text not in ('""', "null") and len(text) < 1000:
        bare = read_answer(Reply(Outcome.ANSWERED, text))
        assert read_answer(reply).outcome is bare.outcome and read_answer(reply).equations == bare.equations


@quick
@given(st.text("`{}\n <think/>\"ab", max_size=60))
def test_any_wrapping_is_json_or_a_value_error(text: str) -> None:
    try:
        parse_answer(text)
    except ValueError:
        pass
