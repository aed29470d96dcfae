"""The stand-in answers what a model could, from the prompt alone, and the table says what it is."""

import dataclasses
import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.equations import prompt, reasons
from kinetoken.equations.answers import read_answer
from kinetoken.equations.evidence import Evidence
from kinetoken.equations.params import DescribeMotion
from kinetoken.llm.language_model import LanguageModel
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import read_reply
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.motion import Trajectories, draw_tracks
from studies.language_model import compare
from studies.language_model.stand_in import MISTAKES, MODEL, completion, serving
from tests.support.readings import READ, Reader, lay_out, read_with

PARAMS = load_params("studies/language_model/params.yaml", "describe_motion", DescribeMotion)
TIMES = np.arange(12) / 16


def asked(clips: int) -> list[dict]:
    """Bodies of requests about lines, each from another place."""
    draw = np.random.default_rng(1)
    points = draw.normal(0, 0.2, (clips, 1, 3)) + [0, 0, 3] + TIMES[:, None] * draw.normal(0, 1, (clips, 1, 3))
    sure = np.log(np.broadcast_to([0.97, 0.01, 0.01, 0.01], (clips, 4)))
    whitening = np.broadcast_to(np.eye(3) / 0.01, (clips, 12, 3, 3))
    evidence = Evidence(TIMES, points, whitening, CLASSES, sure)
    return [each.body(PARAMS.language_model) for each in prompt.requests(evidence, range(clips))]


def outcome(body: dict) -> Outcome:
    return read_answer(read_reply(json.dumps(completion(body)).encode())).outcome


def test_most_answers_are_equations_and_each_mistake_occurs() -> None:
    found = [outcome(body) for body in asked(600)]
    share = found.count(Outcome.ANSWERED) / len(found)
    expected = 1 - sum(MISTAKES[name] for name in ("refusal", "length", "prose", "caret"))
    assert abs(share - expected) < 0.04
    assert {Outcome.REFUSED, Outcome.TRUNCATED, Outcome.MALFORMED, Outcome.EQUATION} <= set(found)


def test_the_same_question_has_the_same_answer_over_the_socket_too() -> None:
    body = asked(1)[0]
    with serving() as address:
        call = urllib.request.Request(
            f"{address}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        told = [json.loads(urllib.request.urlopen(call, timeout=10).read()) for _ in range(2)]
    assert told[0] == told[1] == completion(body) and told[0]["model"] == MODEL


def test_lines_are_written_as_lines() -> None:
    answers = [read_answer(read_reply(json.dumps(completion(body)).encode())) for body in asked(40)]
    written = [text for answer in answers for text in answer.equations.values()]
    assert len(written) > 90 and sum("cos" not in text and "**" not in text for text in written) > 0.85 * len(written)


def test_records_are_put_in_words_that_mostly_hold() -> None:
    records = [
        reasons.Reason(row, "magvit", "persistent", 0.9 + row / 1000, 12, 11, False, 2.1, 0.6, (0.5, 0.9), 10.0)
        for row in range(60)
    ]
    held = []
    for record in records:
        body = reasons.request(record).body(PARAMS.language_model)
        kind, words = reasons.read_words(read_reply(json.dumps(completion(body)).encode()))
        assert kind is Outcome.ANSWERED
        held.append(all(reasons.check(words, record).values()))
    assert 0.75 < np.mean(held) < 1


def test_the_study_asks_no_one_else() -> None:
    assert isinstance(PARAMS.language_model, LanguageModel)
    assert PARAMS.language_model.model == MODEL and PARAMS.provider == "hybrid"


def test_the_table_has_the_three_providers_on_the_same_readings(
    trajectory_params: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = draw_tracks(trajectory_params)
    given = lay_out(tmp_path, tracks)
    read_with(Reader(tracks, 0.01), tmp_path, monkeypatch, dataclasses.replace(READ, clips=8))
    (tmp_path / "out").mkdir()
    paths = compare.Paths(
        given.readings, given.trajectories, given.track_params, given.records, tmp_path / "out/metrics.json",
        tmp_path / "out/table.md", tmp_path / "out/ladder.csv", tmp_path / "out/failures.csv",
    )
    compare.run(dataclasses.replace(PARAMS, examined=0, reasons=2), paths, Context.silent())
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["clips"] == 8 and metrics["attempts"] == 10 and metrics["is_llm"] == 0 == 1 - metrics["is_stand_in"]
    assert {"hybrid", "offline", "openai", "true_law_fitted"} <= set(metrics)
    text = paths.table.read_text()
    assert "no language model was asked" in text and f"| hybrid ({MODEL}) |" in text
