"""The stage with a language model: asked over a real socket, scored as any other, its key nowhere."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinetoken.equations import reading, reasons
from kinetoken.errors import UserError
from kinetoken.progress import Progress
from kinetoken.stage import Context
from kinetoken.tracks import Tracks
from stages import describe_motion
from studies.language_model import stand_in
from tests.disguises import DISGUISES, sightings
from tests.disguises import written as written_files
from tests.llm_server import BEHAVIOURS, EQUATION, KEY_SENT, Behaviour, LlmServer, completion, good, says, written
from tests.stages.test_describe_motion import MODEL, PARAMS, Reader, lay_out, run_with, tracks  # noqa: F401

KEY = "sk-secret/0123456789+abcdef"
ASKING = dataclasses.replace(PARAMS, provider="openai", examined=0)  # which takes most of the time
HYBRID = dataclasses.replace(ASKING, provider="hybrid")
WORDS = "It was called persistent after 12 frames, with a confidence of 99.1%. It was in sight in 11 of them."


def plays(body: dict[str, Any], nth: int) -> Behaviour:
    """The study's stand-in, under the name that the test server gives."""
    told = stand_in.completion(body)
    return Behaviour(json.dumps(told).encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LlmServer(plays) as listening:
        monkeypatch.setenv("OPENAI_BASE_URL", listening.address)
        yield listening


def questions(server: LlmServer) -> list[str]:
    return sorted(asked.question for asked in server.requests)


def test_rows_say_who_wrote_them_and_what_it_cost(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    paths = lay_out(tmp_path, tracks)
    rows, metrics = run_with(Reader(tracks, 0.0), paths, monkeypatch, HYBRID)
    assert len(rows) == 20 and {row["provider"] for row in rows} == {"hybrid"}
    assert {(row["asked"], row["model"]) for row in rows} == {(MODEL.model, stand_in.MODEL)}
    assert metrics["is_hybrid"] == 1
    assert metrics["is_stand_in"] == 1 and metrics["is_llm"] == 0  # by the name that the server answers with
    assert metrics["attempts"] == len(server.requests) == 20 + 2
    assert metrics["cost"] == pytest.approx((metrics["prompt_tokens"] + 2 * metrics["completion_tokens"]) / 1e6, 1e-4)
    assert 40 * metrics["cost"] < metrics["cost_per_1200_clips"] < 60 * metrics["cost"]  # of clips alone
    providers = [line.split(",")[0] for line in paths.ladder.read_text().splitlines()[1:]]
    assert list(dict.fromkeys(providers))[:3] == ["hybrid", "offline", "openai"]
    shares = {tuple(line.split(",")[:3]): float(line.split(",")[3]) for line in paths.ladder.read_text().splitlines()
              if line.split(",")[0] in ("hybrid", "offline", "openai")}
    correct = {name: shares[name, "all", "equation_correct"] for name in ("hybrid", "offline", "openai")}
    assert correct["offline"] == 1 and correct["hybrid"] > correct["openai"]  # exact points: fitting mends constants


def test_a_model_of_another_name_is_a_language_model(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    server.behave = lambda body, nth: Behaviour(completion(written()).replace(b"stand-in", b"large"))
    _, metrics = run_with(Reader(tracks, 0.0), lay_out(tmp_path, tracks), monkeypatch, ASKING)
    assert metrics["is_llm"] == 1 and metrics["is_stand_in"] == 0
    assert metrics["equation_correct"] == 0 and metrics["parsed"] == 1
    server.behave = lambda body, nth: BEHAVIOURS["refusal"]
    examined = dataclasses.replace(ASKING, examined=8)
    _, silent = run_with(Reader(tracks, 0.0), lay_out(tmp_path / "b", tracks), monkeypatch, examined)
    assert silent["parsed"] == silent["symbolic_match"] == silent["description_correct"] == 0


def test_prompts_do_not_depend_on_the_future_or_the_truth(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    """Scramble the last slice, and give every track another path: byte for byte the same questions."""
    reader = Reader(tracks, 0.01)
    run_with(reader, lay_out(tmp_path / "a", tracks), monkeypatch, ASKING)
    first = questions(server)
    server.requests.clear()
    planted = np.random.default_rng(5).normal(0, 1, tracks.points.shape) + [0, 0, 3]
    other = dataclasses.replace(tracks, points=planted)
    run_with(reader, lay_out(tmp_path / "b", other, scramble_future=True), monkeypatch, ASKING)
    assert questions(server) == first and len(first) == 22
    assert not any("actual" in question for question in first)


def test_true_points_are_another_question_and_are_named(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    exact = dataclasses.replace(ASKING, points=True, reasons=0)
    rows, metrics = run_with(Reader(tracks, 0.05), lay_out(tmp_path, tracks), monkeypatch, exact)
    assert metrics["points_are_true"] == 1 and metrics["points.error_m"] == 0
    place = {int(track): row for row, track in enumerate(tracks.track_id)}
    for row in rows:
        np.testing.assert_allclose(row["points"], tracks.points[place[row["track_id"]]][:12], atol=1e-4)


def test_neighbours_are_classes_of_training_clips(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    run_with(Reader(tracks, 0.01), lay_out(tmp_path / "a", tracks), monkeypatch, ASKING)
    lines = {question.splitlines()[1] for question in questions(server) if "t x y z" in question}
    begin = "Classes of the 3 most similar known clips: "
    assert lines == {begin + ", ".join(f"{law} {3 * (law == own)}" for law in ("linear", "circular", "helical",
                     "parabolic")) for own in ("linear", "circular", "helical", "parabolic")}
    server.requests.clear()
    alone = dataclasses.replace(ASKING, neighbours=0)
    run_with(Reader(tracks, 0.01), lay_out(tmp_path / "b", tracks), monkeypatch, alone)
    assert not any("similar" in question for question in questions(server))


def test_a_colleague_replays_the_stage_without_key_and_server(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    reader, paths = Reader(tracks, 0.01), lay_out(tmp_path / "a", tracks)
    run_with(reader, paths, monkeypatch, HYBRID)
    outputs = (paths.descriptions, paths.reasons, paths.metrics, paths.ladder, paths.forms)
    before, asked = [path.read_bytes() for path in outputs], len(server.requests)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    replay = dataclasses.replace(HYBRID, language_model=dataclasses.replace(MODEL, mode="replay"))
    run_with(reader, paths, monkeypatch, replay)
    assert [path.read_bytes() for path in outputs] == before and len(server.requests) == asked
    with pytest.raises(UserError, match=r"no answer for track \d+ .*mode: live"):
        run_with(Reader(tracks, 0.02), paths, monkeypatch, replay)


def test_the_same_run_again_pays_nothing(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    reader, paths = Reader(tracks, 0.01), lay_out(tmp_path, tracks)
    run_with(reader, paths, monkeypatch, ASKING)
    first = paths.metrics.read_bytes()
    asked = len(server.requests)
    run_with(reader, paths, monkeypatch, ASKING)
    assert len(server.requests) == asked and paths.metrics.read_bytes() == first


def test_the_key_is_in_nothing_that_a_run_wrote(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Even from a server that repeats the key in all it says, each time in another disguise: rows, ledger, notes,
    messages, output."""
    disguises = [*DISGUISES.values()][::3]

    def echoes(body: dict[str, Any], nth: int) -> Behaviour:
        place, sent = len(server.requests), KEY_SENT.decode()
        equation = EQUATION | {"x": f"{sent}*t"} if place % 5 == 1 else EQUATION
        spoken = says(written(equation, f"You sent {sent}, {sent}."))
        echo = BEHAVIOURS["echo refusal"] if place % 5 == 0 else spoken
        return dataclasses.replace(echo, disguise=disguises[place % len(disguises)])

    server.behave = echoes
    paths = lay_out(tmp_path, tracks)
    before = set(written_files(tmp_path))
    monkeypatch.setattr(reading, "load_readers", lambda sources: (Reader(tracks, 0.0), Reader(tracks, 0.0)))
    notes = tmp_path / "run_info"
    with Progress("describe_motion", notes) as progress:
        describe_motion.run(HYBRID, paths, dataclasses.replace(Context.silent(), progress=progress, run_info=notes))
    assert {asked.authorization for asked in server.requests} == {f"Bearer {KEY}"}  # it was sent
    wrote = {path: data for path, data in written_files(tmp_path).items() if path not in before}
    assert {"bill.json", "answers.sqlite", "descriptions.jsonl", "status.json"} <= {path.name for path in wrote}
    assert {path.name: found for path, data in wrote.items() if (found := sightings(data, KEY))} == {}
    assert sightings("".join(capfd.readouterr()).encode(), KEY) == []
    assert paths.descriptions.read_text(encoding="utf-8").count("You sent [key]") > 10
    for echo in ("echo", "echo 400"):
        told = dataclasses.replace(BEHAVIOURS[echo], disguise=DISGUISES["zero width"])
        server.behave = lambda body, nth, told=told: told
        with pytest.raises(UserError, match="OPENAI_API_KEY|you sent Bearer .key.") as stopped:
            run_with(Reader(tracks, 0.03), paths, monkeypatch, ASKING)
        assert sightings(str(stopped.value).encode(), KEY) == []


def test_nothing_hostile_reaches_a_row(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("code", "20,000 minus signs", "tower", "control characters", "fences", "deep content", "length")
    server.behave = lambda body, nth: BEHAVIOURS[names[len(server.requests) % len(names)]]
    paths = lay_out(tmp_path, tracks)
    rows, metrics = run_with(Reader(tracks, 0.0), paths, monkeypatch, HYBRID)
    assert {row["outcome"] for row in rows} >= {"no equation", "malformed JSON", "truncated", "answered"}
    assert metrics["parsed"] == np.mean([row["outcome"] == "answered" for row in rows])
    assert all("x" not in row for row in rows if row["outcome"] != "answered")
    text = paths.descriptions.read_text(encoding="utf-8")
    assert all(character == "\n" or character.isprintable() for character in text) and "\u202e" not in text
    assert max(len(row["description"]) for row in rows) <= 300
    assert not (tmp_path / "PWNED").exists()


def test_a_key_is_asked_for_before_anything_is_lost(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    paths = lay_out(tmp_path, tracks)
    with pytest.raises(UserError, match=r"set OPENAI_API_KEY .* 'mode: replay' .* 'provider: offline'"):
        run_with(Reader(tracks, 0.0), paths, monkeypatch, ASKING)
    assert not paths.descriptions.exists()


def test_the_environment_does_not_choose_the_provider(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    rows, metrics = run_with(Reader(tracks, 0.0), lay_out(tmp_path, tracks), monkeypatch, PARAMS)
    assert server.requests == [] and metrics["is_llm"] == 0 and {row["provider"] for row in rows} == {"offline"}


# ---- reasons


def test_reasons_are_asked_without_what_the_candidate_was(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LlmServer,  # noqa: F811
) -> None:
    def answer(body: dict[str, Any], nth: int) -> Behaviour:
        return says(json.dumps({"reason": WORDS})) if body["messages"][0]["content"] == reasons.INSTRUCTIONS else good()

    server.behave = answer
    paths = lay_out(tmp_path, tracks)
    _, metrics = run_with(Reader(tracks, 0.0), paths, monkeypatch, ASKING)
    told = [json.loads(line) for line in paths.reasons.read_text(encoding="utf-8").splitlines()]
    assert [row["words"] for row in told] == [WORDS, WORDS] and {row["provider"] for row in told} == {"openai"}
    right = {row["record"]["decision"]: all(row["verdicts"].values()) for row in told}
    assert right == {"persistent": True, "transient": False}  # said of the other record it is wrong
    assert metrics["reasons_correct"] == 0.5 and metrics["reasons_correct_floor"] == 0.5
    asked = [each for each in server.requests if each.body["messages"][0]["content"] == reasons.INSTRUCTIONS]
    keys = set().union(*(json.loads(each.question) for each in asked))
    assert len(asked) == 2 and not {"actual", "sentence", "track_id"} & keys


