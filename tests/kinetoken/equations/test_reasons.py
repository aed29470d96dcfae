"""Early decisions in words: the template passes every check, and what the record does not hold fails one."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.equations.params import DescribeMotion
from kinetoken.equations.reasons import (
    MAX_CHARACTERS,
    Explained,
    check,
    explain,
    floor,
    motion_of,
    read_records,
    read_words,
    request,
    template,
)
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import Reply
from kinetoken.persistence.reasons import Reason

RECORD = Reason(2401, "magvit", "persistent", 0.9909, 12, 11, False, 2.147, 0.598, (0.5412, 0.8477, 0.9909), 13.69)
GONE = dataclasses.replace(RECORD, decision="transient", vanished=True, frames_in_sight=6, frames_seen=8)
RECORDS = st.builds(
    Reason, st.integers(0, 10**6), st.sampled_from(["magvit", "i3d"]), st.sampled_from(["persistent", "transient"]),
    st.floats(0.5, 1), st.integers(1, 32), st.integers(0, 32), st.booleans(), st.floats(0, 20), st.floats(0, 3),
    st.lists(st.floats(0, 1), max_size=8).map(tuple), st.floats(0, 50),
)


@given(RECORDS)
def test_the_template_says_what_the_record_holds(record: Reason) -> None:
    assert all(check(template(record), record).values())


@pytest.mark.parametrize(("words", "wrong"), [
    ("It was called persistent after 12 frames at 99.1%. It was in sight in 11 of them and moved smoothly.", set()),
    ("Called persistent after 12 frames (99 percent). Its step changed by 0.6 of itself, 2.1 px a frame.", set()),
    ("Called transient after 12 frames at 99.1%. It moved smoothly.", {"decision"}),
    ("Not persistent after 12 frames. It moved smoothly.", {"decision"}),
    ("Persistent or transient after 12 frames. It moved smoothly.", {"decision"}),
    ("Called persistent after 13 frames. It moved smoothly.", {"frames", "numbers"}),
    ("Called persistent soon. It moved smoothly.", {"frames"}),
    ("Called persistent after 12 frames at 98%. It moved smoothly.", {"numbers"}),
    ("Called persistent after 12 frames. It moved smoothly at 2.3 px a frame.", {"numbers"}),
    ("Called persistent after 12 frames. It moved erratically.", {"motion"}),
    ("Called persistent after 12 frames. It is gone.", {"vanished"}),
    ("Called persistent after 12 frames, moving smoothly.", {"two_sentences"}),
    ("Called persistent after 12 frames. It moved. Smoothly.", {"two_sentences"}),
    ("", {"two_sentences", "decision", "frames"}),
])
def test_each_check_catches_what_it_is_for(words: str, wrong: set[str]) -> None:
    assert {name for name, held in check(words, RECORD).items() if not held} == wrong


def test_what_is_gone_may_be_said_to_be_gone() -> None:
    assert all(check("Called transient after 8 frames. It was in sight in 6 of them and vanished.", GONE).values())
    assert not check("Called transient after 8 frames. It moved erratically.", GONE)["motion"]


def test_too_little_in_sight_says_nothing_of_how_it_moved() -> None:
    brief = dataclasses.replace(RECORD, roughness=0.0)
    assert motion_of(brief) == "" and not check("Persistent after 12 frames. It moved smoothly.", brief)["motion"]


def test_the_question_is_the_record_and_nothing_beside() -> None:
    asked = json.loads(request(RECORD).messages[1]["content"])
    assert set(asked) == {field.name for field in dataclasses.fields(Reason)} - {"track_id"}
    other = dataclasses.replace(RECORD, track_id=7)
    assert request(RECORD).messages == request(other).messages and "2401" in request(RECORD).label


@pytest.mark.parametrize(("content", "outcome", "words"), [
    ('{"reason": "A. B."}', Outcome.ANSWERED, "A. B."), ('{"reason": "A\\u202e.\\n\\nB."}', Outcome.ANSWERED, "A. B."),
    ('{"reason": 3}', Outcome.SCHEMA, ""), ('{"reason": "a", "more": 1}', Outcome.SCHEMA, ""),
    ("[]", Outcome.SCHEMA, ""), ("A. B.", Outcome.MALFORMED, ""),
])
def test_words_of_a_reply(content: str, outcome: Outcome, words: str) -> None:
    assert read_words(Reply(Outcome.ANSWERED, content)) == (outcome, words)


def test_words_are_cut_and_other_outcomes_pass_through() -> None:
    long = read_words(Reply(Outcome.ANSWERED, json.dumps({"reason": "word " * 500})))[1]
    assert len(long) <= MAX_CHARACTERS
    assert read_words(Reply(Outcome.REFUSED, "x")) == (Outcome.REFUSED, "")


def line(extractor: str, decision: str, actual: str, track: int) -> str:
    record = dataclasses.asdict(dataclasses.replace(RECORD, extractor=extractor, decision=decision, track_id=track))
    return json.dumps(record | {"actual": actual, "sentence": "not read"}) + "\n"


def test_records_are_right_and_wrong_ones_of_each_extractor_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "reasons.jsonl"
    path.write_text("".join([
        line("a", "persistent", "persistent", 1), line("a", "persistent", "persistent", 2),
        line("a", "transient", "persistent", 3), line("b", "transient", "transient", 4),
    ]))
    assert [record.track_id for record, _ in read_records(path, 10)] == [1, 3, 4, 2]
    assert [actual for _, actual in read_records(path, 2)] == ["persistent", "persistent"]
    assert read_records(path, 0) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"decision": "persistent"}', "3"])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "reasons.jsonl"
    path.write_text(line("a", "persistent", "persistent", 1) + text + "\n")
    with pytest.raises(UserError, match=r"reasons.jsonl: line 2 is no record of a decision"):
        read_records(path, 5)


def test_what_other_questions_cost_counts_towards_the_cap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is left of it, so nothing is sent: the address could not be reached."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    params = dataclasses.replace(load_params("params.yaml", "describe_motion", DescribeMotion), provider="openai")
    spent = params.language_model.spend_cap
    with pytest.raises(UserError, match=r"spend cap .*spend_cap"):
        explain([(RECORD, "persistent")], params, tmp_path / "ledger.sqlite", Progress.silent(), spent)


def test_floor_is_the_first_ones_words_said_of_all() -> None:
    words = template(RECORD)
    alike = [Explained(RECORD, "persistent", words, Outcome.ANSWERED, check(words, RECORD))] * 3
    other = Explained(GONE, "transient", template(GONE), Outcome.ANSWERED, check(template(GONE), GONE))
    assert floor([*alike, other]) == 0.75 and floor([]) == 0 and other.correct
