"""Questions to a language model over real sockets: whatever the server does, an outcome, and nothing paid for twice."""

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.equations import answers
from kinetoken.equations.params import DescribeMotion
from kinetoken.llm.client import FAILED_IN_A_ROW, UNFIT_IN_A_ROW, ask
from kinetoken.llm.language_model import LanguageModel, Price, Request
from kinetoken.llm.ledger import Ledger
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import MAX_BYTES, Reply
from kinetoken.llm.spending import Bill
from tests.support.disguises import DISGUISES, sightings, written
from tests.support.llm_server import (
    BEHAVIOURS,
    KEY_SENT,
    MODEL,
    TOKENS,
    Behaviour,
    LlmServer,
    fails,
    good,
    in_seconds,
    in_turn,
    redirect,
)

ROOT = Path(__file__).parents[3]
KEY = "sk-test/0123456789+abcdef"
SLACK_S = 2.0  # of a busy machine
HANGING = ("never", "dribble")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    """Answers well until its `behave` is changed."""
    with LlmServer() as listening:
        monkeypatch.setenv("OPENAI_BASE_URL", listening.address)
        yield listening


def settings(**changes: Any) -> LanguageModel:
    plain = LanguageModel(
        model="asked-for", mode="live", temperature=None, max_tokens=100, token_limit="max_completion_tokens",
        concurrency=8, attempts=3, timeout_s=10.0, longest_wait_s=0.02, retry_failed=False, spend_cap=1000.0,
        prices={"asked-for": Price(1.0, 2.0)},
    )
    return dataclasses.replace(plain, **changes)


def questions(count: int) -> list[Request]:
    return [Request(f"track {row}", ({"role": "user", "content": f"question {row:04d}"},), {}) for row in range(count)]


def asking(folder: Path, rows: int = 1, **changes: Any) -> tuple[list[Reply], Bill]:
    """The rows asked into the folder's ledger, as a stage does."""
    return ask(questions(rows), settings(**changes), folder / "ledger.sqlite", Progress.silent(), answers.judge)


def worst_cost() -> float:
    return settings().worst_cost(questions(1)[0].canonical(settings()))


def always(behaviour: Behaviour) -> Callable[[dict[str, Any], int], Behaviour]:
    return lambda body, nth: behaviour


def states(folder: Path) -> dict[str, str]:
    """State by question, as the ledger's file has it."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as rows:
        return {json.loads(request)["messages"][-1]["content"]: state
                for request, state in rows.execute("SELECT request, state FROM requests")}


# --- what becomes of a row -------------------------------------------------------------------------------------------

SPOKEN = [  # asked once, paid for by the server's own count, never asked again
    ("good", Outcome.ANSWERED), ("created", Outcome.ANSWERED), ("control characters", Outcome.ANSWERED),
    ("echo model", Outcome.ANSWERED),
    ("refusal", Outcome.REFUSED), ("length", Outcome.TRUNCATED), ("content filter", Outcome.FILTERED),
    ("null content", Outcome.MALFORMED), ("malformed", Outcome.MALFORMED), ("NaN", Outcome.MALFORMED),
    ("fences", Outcome.ANSWERED), ("thoughts", Outcome.ANSWERED), ("end of thoughts", Outcome.ANSWERED),
    ("parts", Outcome.ANSWERED), ("two fences", Outcome.MALFORMED), ("parts without text", Outcome.MALFORMED),
    ("deep content", Outcome.MALFORMED),
    ("other schema", Outcome.SCHEMA), ("number", Outcome.SCHEMA), ("extra axis", Outcome.SCHEMA),
    ("description list", Outcome.SCHEMA),
    ("code", Outcome.EQUATION), ("minus signs", Outcome.EQUATION), ("tower", Outcome.EQUATION),
    ("20,000 minus signs", Outcome.TOO_LONG), ("enormous", Outcome.TOO_LONG), ("400 filter", Outcome.FILTERED),
]
UNSPOKEN = [  # asked to the bound; and whether each attempt may have been paid for
    ("429", Outcome.RATE_LIMITED, False), ("429 now", Outcome.RATE_LIMITED, False),
    ("500", Outcome.SERVER_ERROR, False), ("503 html", Outcome.SERVER_ERROR, False),
    ("enormous error", Outcome.SERVER_ERROR, False),
    ("never", Outcome.TIMED_OUT, True), ("dribble", Outcome.TIMED_OUT, True),
    ("cut", Outcome.CUT, True), ("closed", Outcome.CUT, True),
    ("gzip bomb", Outcome.CUT, True), ("gzip error", Outcome.CUT, True),
    ("html", Outcome.NOT_JSON, True), ("empty", Outcome.NOT_JSON, True), ("deep", Outcome.NOT_JSON, True),
    ("many digits", Outcome.NOT_JSON, True), ("no utf-8", Outcome.NOT_JSON, True),
    ("choices null", Outcome.NO_CHOICES, True), ("choices empty", Outcome.NO_CHOICES, True),
    ("a list", Outcome.NO_CHOICES, True), ("error in 200", Outcome.NO_CHOICES, True),
]
STOPPED = [  # the run stops; and what it says
    ("429 quota", "quota exhausted .*You exceeded your current quota.*add credit"),
    ("402", "quota exhausted .*add credit"),
    ("401", "wrong key.*Set OPENAI_API_KEY"),
    ("403", "not permitted .*Not in your country.*another key"),
    ("404", "unknown model .*no model 'asked-for'.*OPENAI_BASE_URL"),
    ("400", "request rejected .*Unsupported parameter: 'temperature'.*temperature: null"),
]


def test_every_behaviour_of_the_server_has_its_expectation() -> None:
    expected = {row[0] for row in [*SPOKEN, *UNSPOKEN, *STOPPED]}
    assert set(BEHAVIOURS) - expected == {"429 for long", "echo path", *ECHOES} - {"echo model"}, "tested further below"


@pytest.mark.parametrize(("name", "outcome"), SPOKEN)
def test_what_the_model_said_is_final(name: str, outcome: Outcome, server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS[name])
    replies, bill = asking(tmp_path)
    assert answers.judge(replies[0]) is outcome
    assert bill.outcomes == {outcome.value: 1}
    if name == "enormous":
        assert bill.cost == bill.cost_unknown == worst_cost()
        assert MAX_BYTES < (tmp_path / "ledger.sqlite").stat().st_size < 2.5 * MAX_BYTES  # not all of it is kept
    else:
        assert bill.cost_unknown == 0
        assert bill.cost == (0 if name == "400 filter" else settings().cost(*TOKENS))

    again, bill_again = asking(tmp_path, retry_failed=True)
    assert len(server.requests) == 1
    assert answers.judge(again[0]) is outcome
    assert again[0].content == replies[0].content
    assert (bill_again.cost, bill_again.attempts_now, bill_again.cost_now) == (bill.cost, 0, 0)


@pytest.mark.parametrize(("name", "outcome", "paid"), UNSPOKEN)
def test_where_nobody_spoke_the_row_is_asked_to_the_bound(
    name: str, outcome: Outcome, paid: bool, server: LlmServer, tmp_path: Path
) -> None:
    server.behave = always(BEHAVIOURS[name])
    timeout_s = 0.3 if name in HANGING else 10.0
    started = time.monotonic()
    replies, bill = asking(tmp_path, timeout_s=timeout_s)
    assert time.monotonic() - started < 3 * 0.3 + SLACK_S
    assert answers.judge(replies[0]) is outcome
    assert len(server.requests) == 3
    assert bill.outcomes == {outcome.value: 3}
    assert bill.cost == bill.cost_unknown == pytest.approx(3 * worst_cost() if paid else 0)

    kept, _ = asking(tmp_path, timeout_s=timeout_s)
    assert len(server.requests) == 3
    assert answers.judge(kept[0]) is outcome

    server.behave = always(good())
    mended, bill = asking(tmp_path, retry_failed=True)
    assert len(server.requests) == 4
    assert mended[0].outcome is Outcome.ANSWERED
    assert bill.outcomes == {outcome.value: 3, "answered": 1}


@pytest.mark.parametrize("name", ["429", "500", "cut", "closed", "html", "choices null", "gzip bomb"])
def test_a_passing_trouble_passes(name: str, server: LlmServer, tmp_path: Path) -> None:
    server.behave = in_turn(BEHAVIOURS[name], good())
    replies, bill = asking(tmp_path, 5)
    assert [reply.outcome for reply in replies] == [Outcome.ANSWERED] * 5
    assert set(server.times_asked().values()) == {2}
    assert (bill.attempts, bill.models) == (10, {MODEL: 5})


@pytest.mark.parametrize(("name", "advice"), STOPPED)
def test_what_would_end_every_row_stops_the_run(
    name: str, advice: str, server: LlmServer, tmp_path: Path
) -> None:
    first = {f"question {row:04d}" for row in range(3)}
    server.behave = lambda body, nth: good() if body["messages"][-1]["content"] in first else BEHAVIOURS[name]
    with pytest.raises(UserError, match=f"{server.address}: {advice}.* 3 of 40 rows are answered"):
        asking(tmp_path, 40, concurrency=2)
    assert len(server.requests) <= 3 + 2, "those in flight were the last"
    assert {question for question, state in states(tmp_path).items() if state == "answered"} == first

    server.behave = always(good())
    before = len(server.requests)
    replies, bill = asking(tmp_path, 40)
    assert len(server.requests) - before == 37
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert bill.cost == pytest.approx(40 * settings().cost(*TOKENS)), "a request that was turned away costs nothing"


def test_twenty_rows_in_a_row_without_an_answer_stop_the_run_and_are_asked_again(
    server: LlmServer, tmp_path: Path
) -> None:
    first = {f"question {row:04d}" for row in range(5)}
    server.behave = lambda body, nth: good() if body["messages"][-1]["content"] in first else BEHAVIOURS["500"]
    with pytest.raises(UserError, match="20 rows in a row .*status 500.* 5 of 60 rows are answered"):
        asking(tmp_path, 60, attempts=1, concurrency=1)
    assert len(server.requests) == 5 + FAILED_IN_A_ROW
    server.behave = always(good())
    replies, _ = asking(tmp_path, 60, attempts=1)
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert max(server.times_asked()[question] for question in first) == 1


def test_twenty_answers_in_a_row_in_another_form_stop_the_run_and_can_be_asked_again(
    server: LlmServer, tmp_path: Path
) -> None:
    first = {f"question {row:04d}" for row in range(5)}
    server.behave = lambda body, nth: good() if body["messages"][-1]["content"] in first else BEHAVIOURS["two fences"]
    with pytest.raises(UserError, match="malformed JSON .20 answers in a row.*retry_unfit: true.* 25 of 60 rows are"):
        asking(tmp_path, 60, concurrency=1)
    assert len(server.requests) == 5 + UNFIT_IN_A_ROW
    server.behave = always(good())
    replies, _ = asking(tmp_path, 60)
    assert [answers.judge(reply) for reply in replies].count(Outcome.MALFORMED) == UNFIT_IN_A_ROW, "they stay so"
    replies, bill = asking(tmp_path, 60, retry_unfit=True)
    assert {answers.judge(reply) for reply in replies} == {Outcome.ANSWERED}
    assert bill.attempts_now == UNFIT_IN_A_ROW and max(server.times_asked()[question] for question in first) == 1
    assert asking(tmp_path, 60, retry_unfit=True)[1].attempts_now == 0


def test_single_answers_in_another_form_stop_nothing(server: LlmServer, tmp_path: Path) -> None:
    server.behave = lambda body, nth: (
        BEHAVIOURS["malformed"] if int(body["messages"][-1]["content"][-4:]) % 10 else good()
    )
    replies, _ = asking(tmp_path, 60, concurrency=1)
    assert [reply.outcome for reply in replies] == [Outcome.ANSWERED] * 60 and len(server.requests) == 60


def test_an_answer_that_an_earlier_version_could_not_read_is_read_and_paid_for_once(
    server: LlmServer, tmp_path: Path
) -> None:
    server.behave = always(BEHAVIOURS["fences"])
    asking(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as rows, rows:
        rows.execute("UPDATE attempts SET outcome = 'malformed JSON'")
        rows.execute("UPDATE requests SET outcome = 'malformed JSON'")
    replies, bill = asking(tmp_path, retry_unfit=True)
    assert answers.judge(replies[0]) is Outcome.ANSWERED
    assert (len(server.requests), bill.attempts_now, bill.outcomes) == (1, 0, {"answered": 1})
    assert bill.cost == settings().cost(*TOKENS)


def test_a_redirect_is_not_followed(server: LlmServer, tmp_path: Path) -> None:
    with LlmServer() as elsewhere:
        server.behave = always(redirect(elsewhere.address + "/chat/completions"))
        with pytest.raises(UserError, match="request rejected .status 307"):
            asking(tmp_path)
        assert elsewhere.requests == []
    assert len(server.requests) == 1


# --- what is sent ----------------------------------------------------------------------------------------------------

def test_what_is_sent_is_the_canonical_request(server: LlmServer, tmp_path: Path) -> None:
    question = Request("track 7", ({"role": "user", "content": "where to?"},), {"type": "json_object"})
    ask([question], settings(temperature=0.5, token_limit="max_tokens"), tmp_path / "l.sqlite", Progress.silent())
    assert [asked.body for asked in server.requests] == [{
        "model": "asked-for", "messages": [{"role": "user", "content": "where to?"}], "temperature": 0.5,
        "response_format": {"type": "json_object"}, "max_tokens": 100,
    }]
    assert server.paths == {"/v1/chat/completions"}
    assert server.requests[0].authorization == f"Bearer {KEY}"


def test_rows_with_the_same_request_are_asked_once(server: LlmServer, tmp_path: Path) -> None:
    rows = [dataclasses.replace(question, label=f"copy {n}") for n in range(3) for question in questions(2)]
    replies, bill = ask(rows, settings(), tmp_path / "l.sqlite", Progress.silent(), answers.judge)
    assert server.times_asked() == {"question 0000": 1, "question 0001": 1}
    assert [reply.outcome for reply in replies] == [Outcome.ANSWERED] * 6
    assert (bill.rows, bill.attempts) == (6, 2)


def test_another_setting_is_another_request(server: LlmServer, tmp_path: Path) -> None:
    asking(tmp_path)
    asking(tmp_path, temperature=0.0)
    asking(tmp_path, max_tokens=101)
    assert len(server.requests) == 3
    asking(tmp_path, timeout_s=9.0, concurrency=1, spend_cap=7.0)  # none of these is sent
    assert len(server.requests) == 3


def test_the_replies_come_in_the_order_of_the_rows(server: LlmServer, tmp_path: Path) -> None:
    def behave(body: dict[str, Any], nth: int) -> Behaviour:
        row = int(body["messages"][-1]["content"].split()[1])
        return good(0.1 if row == 0 else 0.0, tokens=(row, row))

    server.behave = behave
    replies, bill = asking(tmp_path, 20)
    assert [reply.tokens for reply in replies] == [(row, row) for row in range(20)]
    assert (bill.prompt_tokens, bill.completion_tokens) == (190, 190)


def test_the_bill_names_the_model_that_answered(server: LlmServer, tmp_path: Path) -> None:
    replies, bill = asking(tmp_path, 4)
    assert bill.models == {MODEL: 4} and replies[0].model == MODEL
    cost = settings().cost(*TOKENS)
    assert bill.cost == pytest.approx(4 * cost) and bill.cost_per_1200_clips == pytest.approx(1200 * cost)
    assert (bill.rows, bill.attempts, bill.attempts_now) == (4, 4, 4)
    assert (bill.prompt_tokens, bill.completion_tokens) == (4 * TOKENS[0], 4 * TOKENS[1])
    assert bill.latency_s_median is not None and 0 < bill.latency_s_median < SLACK_S
    more, bill = asking(tmp_path, 6)
    assert (bill.attempts, bill.attempts_now, bill.cost_now) == (6, 2, pytest.approx(2 * cost))
    assert bill.models == {MODEL: 6}


# --- waits and time-outs ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("header", "least_s"), [
    ({"retry_after": "1"}, 1.0), ({"retry_after_ms": "900"}, 0.9), ({"retry_after": "in two seconds"}, 1.0),
])
def test_a_wait_that_the_server_asks_for_is_kept(
    header: dict[str, str], least_s: float, server: LlmServer, tmp_path: Path
) -> None:
    def behave(body: dict[str, Any], nth: int) -> Behaviour:
        asked = {name: in_seconds(2) if "two" in text else text for name, text in header.items()}
        return fails(429, **asked) if nth == 1 else good()

    server.behave = behave
    replies, _ = asking(tmp_path, longest_wait_s=2.5)
    first, second = server.requests
    assert least_s <= second.moment - first.moment < 2.5 + SLACK_S
    assert replies[0].outcome is Outcome.ANSWERED


def test_a_wait_that_is_too_long_is_not_waited_for(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS["429 for long"])
    started = time.monotonic()
    replies, _ = asking(tmp_path, 3)
    assert time.monotonic() - started < SLACK_S
    assert {reply.outcome for reply in replies} == {Outcome.RATE_LIMITED}
    assert set(server.times_asked().values()) == {1}


def test_a_long_wait_of_one_row_ends_when_the_run_stops(server: LlmServer, tmp_path: Path) -> None:
    def behave(body: dict[str, Any], nth: int) -> Behaviour:
        waits = body["messages"][-1]["content"] == "question 0000"
        return fails(429, retry_after="30") if waits else dataclasses.replace(BEHAVIOURS["401"], delay_s=0.3)

    server.behave = behave
    started = time.monotonic()
    with pytest.raises(UserError, match="wrong key"):
        asking(tmp_path, 2, longest_wait_s=60.0)
    assert time.monotonic() - started < 0.3 + SLACK_S
    assert len(server.requests) == 2


@pytest.mark.parametrize("name", HANGING)
def test_an_attempt_ends_with_its_time_out(name: str, server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS[name])
    started = time.monotonic()
    replies, bill = asking(tmp_path, 8, attempts=1, timeout_s=0.5)
    assert 0.5 <= time.monotonic() - started < 0.5 + SLACK_S
    assert {reply.outcome for reply in replies} == {Outcome.TIMED_OUT}
    assert bill.latency_s_median is not None and 0.5 <= bill.latency_s_median < 0.5 + SLACK_S


# --- money -----------------------------------------------------------------------------------------------------------

def dearest() -> Behaviour:
    """A good answer that costs the most it can."""
    return good(0.01, tokens=(len(questions(1)[0].canonical(settings()).encode()) + 64, settings().max_tokens))


def test_the_cap_holds_with_eight_at_once(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(dearest())
    cap = 10.5 * worst_cost()
    with pytest.raises(UserError, match=r"^spend cap .*Raise describe_motion.language_model.spend_cap.* 10 of 40 rows"):
        asking(tmp_path, 40, spend_cap=cap)
    assert len(server.requests) == 10

    with pytest.raises(UserError, match="spend cap"):  # it counts over all runs
        asking(tmp_path, 40, spend_cap=cap)
    assert len(server.requests) == 10

    replies, bill = asking(tmp_path, 40, spend_cap=40.001 * worst_cost())
    assert len(server.requests) == 40 and bill.cost == pytest.approx(40 * worst_cost())


def test_the_cap_lets_cheap_answers_through_as_far_as_what_is_in_flight_allows(
    server: LlmServer, tmp_path: Path
) -> None:
    server.behave = always(good(0.02, tokens=(1, 1)))
    replies, bill = asking(tmp_path, 30, spend_cap=3.5 * worst_cost())
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert server.most_at_once == 3


def test_attempts_of_unknown_cost_count_in_full(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS["cut"])
    with pytest.raises(UserError, match="spend cap"):
        asking(tmp_path, 1, attempts=9, spend_cap=4.5 * worst_cost())
    assert len(server.requests) == 4


def test_a_model_without_a_price_is_not_asked(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    params = load_params(ROOT / "params.yaml", "describe_motion", DescribeMotion)
    (tmp_path / "params.yaml").write_text(text.replace(f"model: {params.language_model.model}", "model: gpt-99"))
    with pytest.raises(UserError, match=r"prices: none for model 'gpt-99'.*add prices.gpt-99"):
        load_params(tmp_path / "params.yaml", "describe_motion", DescribeMotion)


# --- no server, no key -----------------------------------------------------------------------------------------------

def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with LlmServer() as gone:
        pass
    monkeypatch.setenv("OPENAI_BASE_URL", gone.address)
    advice = "unreachable .*Check the address in OPENAI_BASE_URL and the network. 0 of 30 rows"
    with pytest.raises(UserError, match=f"{gone.address}: {advice}"):
        asking(tmp_path, 30, attempts=2)
    with LlmServer() as back:
        monkeypatch.setenv("OPENAI_BASE_URL", back.address)
        replies, bill = asking(tmp_path, 30)
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert bill.cost == pytest.approx(30 * settings().cost(*TOKENS)), "no connection costs nothing"


@pytest.mark.parametrize("key", [None, "", "  ", "sk-tést/0123456789", "two words-0123456789", "sk-line\nbreak-0123"])
def test_no_key_or_none_that_can_be_one(
    key: str | None, server: LlmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if key is None:
        monkeypatch.delenv("OPENAI_API_KEY")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="OPENAI_API_KEY") as told:
        asking(tmp_path)
    assert not key or not key.strip() or key not in str(told.value)
    assert server.requests == []


def test_white_space_round_a_key_is_none_of_it(
    server: LlmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    asking(tmp_path)
    assert server.requests[0].authorization == f"Bearer {KEY}"


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://host:99999/v1", KEY])
def test_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match="OPENAI_BASE_URL.*not an address") as told:
        asking(tmp_path)
    assert KEY not in str(told.value), "pasted into the wrong variable"


# --- replay ----------------------------------------------------------------------------------------------------------

def test_replay_needs_neither_key_nor_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["good", "refusal", "code", "created"]
    with LlmServer(lambda body, nth: BEHAVIOURS[names[int(body["messages"][-1]["content"][-1])]]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        live, bill = asking(tmp_path, 4)
    monkeypatch.delenv("OPENAI_API_KEY")
    before = (tmp_path / "ledger.sqlite").read_bytes()
    replayed, bill_replayed = asking(tmp_path, 4, mode="replay")
    assert replayed == live and [answers.judge(reply) for reply in live][:3] == [
        Outcome.ANSWERED, Outcome.REFUSED, Outcome.EQUATION,
    ]
    assert bill_replayed == dataclasses.replace(bill, attempts_now=0, cost_now=0)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_replay_of_what_was_never_asked(server: LlmServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ledger.sqlite: no such ledger"):
        asking(tmp_path, mode="replay")
    assert list(tmp_path.iterdir()) == []
    asking(tmp_path, 3)
    with pytest.raises(UserError, match=r"no answer for track 3 .*mode: live"):
        asking(tmp_path, 5, mode="replay")
    with pytest.raises(UserError, match="no answer for track 0"):
        asking(tmp_path, 3, mode="replay", temperature=1.0)
    assert len(server.requests) == 3


def test_replay_of_a_row_that_was_in_flight(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS["401"])
    with pytest.raises(UserError, match="wrong key"):
        asking(tmp_path)
    with pytest.raises(UserError, match="no answer for track 0"):
        asking(tmp_path, mode="replay")


def test_replay_of_a_row_that_failed_fails_alike(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS["500"])
    live, _ = asking(tmp_path)
    assert asking(tmp_path, mode="replay")[0] == live


# --- what comes from a server is not trusted -------------------------------------------------------------------------

ECHOES = ("echo", "echo 400", "echo refusal", "echo model")
SPLIT = b'{"model": "m", "id": {"sk-test/012": "3456789+abcdef"}, "choices": []}'


def everything_said(folder: Path, **changes: Any) -> str:
    """What becomes of two rows that are asked as a stage asks them: replies, answers, bill or message; all as text."""
    with contextlib.suppress(UserError), Progress("asking", folder / "run_info") as progress:
        try:
            ledger = folder / "ledger.sqlite"
            replies, bill = ask(questions(2), settings(**changes), ledger, progress, answers.judge)
            return f"{replies} {[answers.read_answer(reply) for reply in replies]} {bill}"
        except UserError as error:
            message = str(error)
            raise
    return message


@pytest.mark.parametrize(("name", "echoes"), [
    *((name, ("echo 400", "echo model")) for name in DISGUISES), ("JSON escapes", ("echo", "echo refusal")),
])
def test_the_key_is_nowhere(
    name: str, echoes: tuple[str, ...], server: LlmServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """However a server writes it: not in what is written, printed or raised, by any decoding."""
    for echo in echoes:
        folder = tmp_path / echo
        server.behave = always(dataclasses.replace(BEHAVIOURS[echo], disguise=DISGUISES[name]))
        said = everything_said(folder)
        assert ("[key]" in said) == (echo != "echo"), "the disguise is taken out, and the rest is kept"
        assert "withheld" not in said
        files = written(folder)
        assert {"ledger.sqlite", "status.json", "PROGRESS.txt"} <= {path.name for path in files}
        assert b"[key]" in files[folder / "ledger.sqlite"]
        said += "".join(capfd.readouterr())
        assert sightings(b"\n\n".join([said.encode(), *files.values()]), KEY) == []
    assert {asked.authorization for asked in server.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("name", DISGUISES)
def test_every_disguise_would_be_seen(name: str) -> None:
    assert sightings(BEHAVIOURS["echo 400"].body.replace(KEY_SENT, DISGUISES[name](KEY).encode()), KEY)


@pytest.mark.parametrize("body", [
    SPLIT, SPLIT.replace(b'"choices"', b'"x": "' + b"-" * 200_000 + b'", "choices"').replace(b'": "3', b"3"),
])
def test_a_body_that_the_key_cannot_be_taken_out_of_is_withheld(
    body: bytes, server: LlmServer, tmp_path: Path
) -> None:
    """Across a name and its value, or in too long a body: nothing of it is kept, and it is not asked for again."""
    server.behave = always(Behaviour(body))
    replies, bill = asking(tmp_path)
    assert replies[0].outcome is Outcome.WITHHELD and "withheld" in replies[0].detail
    assert (len(server.requests), bill.outcomes, bill.cost) == (1, {"withheld": 1}, worst_cost())
    assert asking(tmp_path, mode="replay")[0] == replies
    assert sightings(b"\n\n".join(written(tmp_path).values()), KEY) == []
    server.behave = always(Behaviour(body, 400))
    with pytest.raises(UserError, match="request rejected .status 400: withheld: it held the key"):
        asking(tmp_path, 2)


def test_what_an_earlier_run_stored_is_read_without_the_key(server: LlmServer, tmp_path: Path) -> None:
    """A ledger of a version that knew fewer disguises, read live and replayed."""
    server.behave = always(dataclasses.replace(BEHAVIOURS["echo model"], disguise=str))
    asking(tmp_path)
    told = BEHAVIOURS["echo model"].body.replace(KEY_SENT, DISGUISES["JSON escapes"](KEY).encode())
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as rows, rows:
        rows.execute("UPDATE attempts SET raw = ?, raw_crc = ?, model = ?", (told, zlib.crc32(told), KEY.upper()))
    for mode in ("live", "replay"):
        replies, bill = asking(tmp_path, mode=mode)
        assert (replies[0].model, bill.models) == ("[key]", {"[key]": 1})
    assert len(server.requests) == 1


ADDRESSES = {  # as it is set, and as it is shown; `@` stands for the server's own
    "http://@/v1": "http://@/v1",
    "http://@/v1/": "http://@/v1/",
    "http://@/accounts/acme/gpt-4o-mini-2024-07-18/v1": "http://@/accounts/acme/gpt-4o-mini-2024-07-18/v1",
    "http://@/sk-test/0123456789+abcdef/v1": "http://@/[key]/v1",
    "http://@/sk-test%2F0123456789%2Babcdef/v1": "http://@/[key]/v1",
    "http://@/SK-TEST%252F0123456789+ABCDEF/v1": "http://@/[key]/v1",
    "http://@/c2stdGVzdC8wMTIzNDU2Nzg5K2FiY2RlZg==/v1": "http://@/[key]==/v1",
    "http://@/t/hf7Q2mZx81LkPw05/v1": "http://@/t/[key]/v1",
    "http://@/t/550e8400-e29b-41d4-a716-446655440000/v1": "http://@/t/[key]/v1",
    "http://@/sk-other-1234567/v1": "http://@/[key]/v1",
    "http://@/v1?api-key=Qwertyuiop&version=2024-02-01": "http://@/v1",
    "http://@/v1#hf7Q2mZx81LkPw05": "http://@/v1",
    "http://someone:p%40ssw0rd-of-mine@@/v1": "http://@/v1",
    "http://hf7Q2mZx81LkPw05@@/v1": "http://@/v1",
    "http://sk-test%2F0123456789+abcdef@@/v1": "http://@/v1",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_of_the_address_are_nowhere(
    address: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not even where the server repeats the path and the authorization that it was sent."""
    own = server.address.removeprefix("http://").removesuffix("/v1")
    set_to = address.replace("@@", "@" + own) if "@@" in address else address.replace("@", own)
    monkeypatch.setenv("OPENAI_BASE_URL", set_to)
    server.behave = lambda body, nth: BEHAVIOURS["echo path"] if body["max_completion_tokens"] == 9 else good()
    said = everything_said(tmp_path) + everything_said(tmp_path, max_tokens=9) + "".join(capfd.readouterr())
    shown = ADDRESSES[address].replace("@", own)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as rows:
        assert rows.execute("SELECT DISTINCT server FROM attempts").fetchall() == [(shown,)]
    assert f"{shown}: unknown model" in said
    data = b"\n\n".join([said.encode(), *written(tmp_path).values()])
    for secret in (KEY, "hf7Q2mZx81LkPw05", "550e8400-e29b-41d4-a716-446655440000", "p@ssw0rd-of-mine"):
        assert sightings(data, secret) == []
    assert b"Qwertyuiop" not in data and b"sk-other-1234567" not in data


@pytest.mark.parametrize(("name", "value", "message"), [
    ("ALL_PROXY", "socks5://127.0.0.1:9", "the proxy that ALL_PROXY names cannot be used"),
    ("HTTPS_PROXY", "gopher://someone:passw0rd@host", "the proxy that HTTPS_PROXY names cannot be used"),
    ("HTTP_PROXY", "::::", "the proxy that HTTP_PROXY names cannot be used"),
    ("SSL_CERT_FILE", "/nowhere/at/all", "certificates cannot be read .No such file or directory.: .*SSL_CERT_FILE"),
    ("SSL_CERT_FILE", "/etc/hostname", "the certificates cannot be read .*SSL_CERT_FILE"),
])
def test_a_proxy_or_certificates_that_cannot_be_used(
    name: str, value: str, message: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as told:
        asking(tmp_path)
    assert "passw0rd" not in str(told.value)


def test_a_proxy_without_a_host_is_unreachable(
    server: LlmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://[bad")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(UserError, match="unreachable"):
        asking(tmp_path, attempts=1)


@pytest.mark.parametrize("address", [
    "ftp://someone:passw0rd@host/v1", "http://host:port/v1?key=passw0rd", "http://u:pass/w0rd@host:x/v1",
    "host/sk-test%2f0123456789%2babcdef", "hf7Q2mZx81LkPw05",
])
def test_an_address_that_is_none_and_may_hold_a_secret_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match=r"^OPENAI_BASE_URL=\(not shown\): not an address; expected one like"):
        asking(tmp_path)


def test_nothing_that_the_model_writes_is_run(server: LlmServer, tmp_path: Path) -> None:
    for name in ("code", "tower", "minus signs", "20,000 minus signs", "deep content"):
        server.behave = always(BEHAVIOURS[name])
        (tmp_path / name).mkdir()
        started = time.monotonic()
        replies, _ = asking(tmp_path / name)
        answer = answers.read_answer(replies[0])
        assert answer.expressions() == [] and np.isnan(answer.path(np.linspace(0, 1, 4))).all()
        assert time.monotonic() - started < SLACK_S
        assert len(answer.detail) <= 300 and answer.detail.isprintable()
    assert list(tmp_path.rglob("PWNED")) == []


def test_words_are_plain_before_anyone_sees_them(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(BEHAVIOURS["control characters"])
    replies, _ = asking(tmp_path)
    assert answers.read_answer(replies[0]).description == "The ball [31mmoves fast up."


def test_a_complaint_is_plain_before_anyone_sees_it(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(fails(400, message="no\x1b[2J\u202e good\n" + "x" * 5000))
    with pytest.raises(UserError) as told:
        asking(tmp_path)
    assert str(told.value).isprintable() and "no[2J good xxx" in str(told.value) and len(str(told.value)) < 1000


# --- many rows, and runs that are killed -----------------------------------------------------------------------------

ALONE = """
import json, signal, sys
from pathlib import Path
from kinetoken.equations.answers import judge
from kinetoken.llm.client import ask
from kinetoken.llm.language_model import LanguageModel, Price, Request
from kinetoken.core.progress import Progress
told = json.load(sys.stdin)
told["settings"]["prices"] = {name: Price(**price) for name, price in told["settings"]["prices"].items()}
questions = [Request(label, tuple(messages), form) for label, messages, form in told["questions"]]
if told["handled"]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(77))
replies, bill = ask(questions, LanguageModel(**told["settings"]), Path(told["ledger"]), Progress.silent(), judge)
print(bill.attempts)
"""


MANY = 400  # rows: enough that a kill falls among them


def alone(folder: Path, rows: int, *, handled: bool = False, **changes: Any) -> subprocess.Popen[str]:
    """A process of its own that asks the rows into the folder's ledger."""
    told = {
        "settings": dataclasses.asdict(settings(**changes)), "ledger": str(folder / "ledger.sqlite"),
        "handled": handled,
        "questions": [(each.label, each.messages, each.response_format) for each in questions(rows)],
    }
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(told))
    process.stdin.close()
    process.stdin = None  # or `communicate` would write to it
    return process


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"it ended early: {process.stderr.read() if process.stderr else ''}")
        time.sleep(0.005)


def test_never_more_than_eight_of_many_rows_at_once(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(good(0.03))
    replies, bill = asking(tmp_path, MANY)
    assert server.most_at_once == 8
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED} and len(replies) == MANY
    assert (len(server.requests), bill.attempts, bill.models) == (MANY, MANY, {MODEL: MANY})


def test_a_run_that_was_killed_pays_for_no_finished_row_twice(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(good(0.01))
    killed = alone(tmp_path, MANY)
    wait_for(lambda: len(server.requests) > MANY // 2, killed)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    finished = {question for question, state in states(tmp_path).items() if state == "answered"}
    assert MANY // 2 - 16 < len(finished) < MANY
    replies, bill = asking(tmp_path, MANY)
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    times = server.times_asked()
    assert len(times) == MANY
    assert {times[question] for question in finished} == {1}
    twice = [question for question, count in times.items() if count > 1]
    assert len(twice) <= 8 and max(times.values()) <= 2
    assert bill.attempts <= len(server.requests) + 8, "written down before it is sent"
    assert bill.outcomes["answered"] == MANY
    assert bill.cost_unknown == pytest.approx((bill.attempts - MANY) * worst_cost())


def test_a_process_that_handles_sigterm_ends_at_once_and_keeps_what_it_has(
    server: LlmServer, tmp_path: Path
) -> None:
    first = {f"question {row:04d}" for row in range(20)}
    server.behave = lambda body, nth: good() if body["messages"][-1]["content"] in first else good(30.0)
    told = alone(tmp_path, 60, handled=True, timeout_s=40.0)
    wait_for(lambda: len(server.requests) == 28, told)
    told.terminate()
    told.communicate(timeout=5)
    assert told.returncode == 77
    server.behave = always(good())
    asking(tmp_path, 60)
    assert {server.times_asked()[question] for question in first} == {1}


def test_a_reply_that_was_stored_but_not_read_is_read_by_the_next_run(server: LlmServer, tmp_path: Path) -> None:
    def crash(reply: Reply) -> Outcome:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        ask(questions(1), settings(), tmp_path / "ledger.sqlite", Progress.silent(), crash)
    replies, bill = asking(tmp_path)
    assert len(server.requests) == 1
    assert replies[0].outcome is Outcome.ANSWERED
    assert (bill.models, bill.outcomes, bill.cost_unknown) == ({MODEL: 1}, {"answered": 1}, 0)


def test_two_processes_at_the_same_time(server: LlmServer, tmp_path: Path) -> None:
    server.behave = always(good(0.05))
    first = alone(tmp_path, 60, concurrency=2)
    wait_for(lambda: len(server.requests) > 2, first)
    with pytest.raises(UserError, match=f"process {first.pid} .*is asking into this ledger; wait"):
        asking(tmp_path, 60)
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as book:  # but it can be read
        assert book.attempts([]) == []
    out, err = first.communicate(timeout=60)
    assert (first.returncode, out.strip(), err) == (0, "60", "")
    replies, bill = asking(tmp_path, 60)
    assert len(server.requests) == 60 and bill.attempts == 60
    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
