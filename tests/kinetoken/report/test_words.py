"""What the page says of laws in words: the writer as the metrics have it, every kind of failure, what it took."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.report.results import Results
from kinetoken.report.words import bill, choose_descriptions, choose_reasons, failures, ladder, providers, words

LADDER = """provider,class,rung,share
hybrid,circular,parsed,1
hybrid,helical,parsed,0.5
hybrid,all,parsed,0.75
hybrid,circular,equation_correct,0.25
hybrid,helical,equation_correct,0
hybrid,all,equation_correct,0.125
offline,circular,parsed,1
offline,all,parsed,1
"true law, fitted",all,equation_correct,0.5
"""
ASKED = {"attempts": 500, "prompt_tokens": 12_000, "completion_tokens": 3_000, "cost_per_1200_clips": 0.75}


def results(folder: Path, **numbers: float) -> Results:
    (folder / "describe_motion").mkdir(parents=True, exist_ok=True)
    (folder / "describe_motion" / "ladder.csv").write_text(LADDER)
    return Results({"describe_motion": dict(numbers)}, folder)


def row(provider: str, failure: str = "", **rest: object) -> dict:
    return {"provider": provider, "model": "large-1", "verdicts": {"failure": failure}, **rest}


@pytest.mark.parametrize(("provider", "numbers", "writer"), [
    ("offline", {"is_llm": 0}, "least-squares fit, no language model (is_llm 0)"),
    ("openai", {"is_llm": 1}, "equations and sentences by language model large-1"),
    ("hybrid", {"is_llm": 1}, "form and sentences by language model large-1, constants by least squares"),
    ("openai", {"is_llm": 0, "is_stand_in": 1},
     "equations and sentences by a scripted substitute for a language model, large-1"),
])
def test_writer(tmp_path: Path, provider: str, numbers: dict[str, float], writer: str) -> None:
    assert words(results(tmp_path, **numbers), [row(provider)]).writer == writer


def test_every_model_that_answered_is_named_and_one_that_never_did_is_too(tmp_path: Path) -> None:
    rows = [{"provider": "openai", "asked": "large", "model": name} for name in ("", "large-2", "large-1", "large-2")]
    assert words(results(tmp_path), rows).writer.endswith("language model large-1, large-2")
    assert words(results(tmp_path), rows[:1]).writer.endswith("language model large (which never answered)")


def test_a_control_and_a_stand_in_are_announced(tmp_path: Path) -> None:
    assert words(results(tmp_path, points_are_true=0, is_stand_in=0), []).warnings == []
    told = words(results(tmp_path, points_are_true=1, is_stand_in=1), []).warnings
    assert len(told) == 2 and "true positions" in told[0] and "not from a language model" in told[1]


def test_bill_only_where_something_was_asked(tmp_path: Path) -> None:
    assert bill(results(tmp_path, is_llm=0)) == ""
    told = bill(results(tmp_path, **ASKED))
    assert "500 requests, 12,000 prompt and 3,000 completion tokens" in told and "1,200 clips would cost 0.75" in told


def test_ladder_is_of_the_runs_own_provider(tmp_path: Path) -> None:
    found = ladder(results(tmp_path))
    assert found is not None and list(found.classes) == ["circular", "helical"]
    assert found.rows == [("parsed", [1.0, 0.5]), ("equation correct", [0.25, 0.0])]


def test_providers_stand_below_each_other_with_what_they_lack_left_empty(tmp_path: Path) -> None:
    found = providers(results(tmp_path))
    assert found is not None and list(found.classes) == ["parsed", "equation correct"]
    assert found.rows == [("hybrid", [0.75, 0.125]), ("offline", [1.0, None]), ("true law, fitted", [None, 0.5])]


def test_a_missing_table_is_noted_once_and_a_damaged_one_named(tmp_path: Path) -> None:
    known = Results({}, tmp_path / "none")
    section = words(known, [])
    assert section.ladder is section.providers is None and known.missing == ["plots/describe_motion/ladder.csv"]
    damaged = results(tmp_path)
    (tmp_path / "describe_motion" / "ladder.csv").write_text("class,rung\na,b\n")
    with pytest.raises(UserError, match=r"ladder.csv: no column 'provider'"):
        ladder(damaged)


def test_failures_by_kind_the_most_frequent_first() -> None:
    rows = [row("openai", kind, track_id=i) for i, kind in enumerate(["refused", "", "another law", "another law"])]
    assert [(one.kind, one.clips, one.row["track_id"]) for one in failures(rows)] == [
        ("another law", 2, 2), ("refused", 1, 0)
    ]


def test_descriptions_shown_are_right_and_wrong_ones_of_every_law() -> None:
    rows = [
        {"track_id": i, "true_law": "ab"[i % 2], "verdicts": {"equation_correct": i >= 4}} for i in range(8)
    ]
    assert [row["track_id"] for row in choose_descriptions(rows, 3)] == [4, 5, 6, 0, 1, 2]
    assert choose_descriptions(rows, 0) == [] and choose_descriptions([], 2) == []


def test_reasons_shown_are_right_and_wrong_ones_of_every_extractor() -> None:
    rows = [
        {"n": i, "record": {"extractor": "ab"[i % 2]}, "verdicts": {"numbers": i != 3, "frames": True}}
        for i in range(6)
    ]
    assert [row["n"] for row in choose_reasons([*rows, {"n": 9}], 3)] == [0, 1, 2, 9, 3]
