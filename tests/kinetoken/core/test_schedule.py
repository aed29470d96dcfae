"""Where a stage stands in its run, from dvc.yaml and the statuses of the last run."""

import json
from pathlib import Path

import pytest

from kinetoken.core.schedule import Place, place

PIPELINE = """\
stages:
  draw:
    foreach: {a: {}, b: {}}
    do: {cmd: x, deps: [code/draw.txt], outs: ["data/${key}/clips"]}
  train: {cmd: x, deps: [data/a/clips/part-0], outs: [models/net], metrics: [m.json: {cache: false}]}
  score: {cmd: x, deps: [models/net, data/b/clips]}
  other: {cmd: x, deps: [data/b]}
"""
LABELS = ("draw_a", "draw_b", "train", "score", "other")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Every stage done in a run that began at 0 and took 10, 20, 30 … seconds a stage."""
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for number, label in enumerate(LABELS, 1):
        status(tmp_path, label, state="done", started=1.0, elapsed_s=10.0 * number, last_s=10.0 * number)
    return tmp_path


def status(project: Path, label: str, **state: object) -> None:
    folder = project / "run_info" / label
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps(state))


def stands(project: Path, label: str, began: float, reference: str = "none.json") -> Place | None:
    return place(label, project / "dvc.yaml", project / "run_info", began, project / reference)


def test_only_readers_are_ahead(project: Path) -> None:
    assert stands(project, "train", 100.0) == Place(1, 2, 30.0 + 40.0)
    assert stands(project, "draw_b", 100.0) == Place(1, 3, 20.0 + 40.0 + 50.0)
    assert stands(project, "other", 100.0) == Place(1, 1, 50.0)


def test_what_is_done_since_the_run_began_counts(project: Path) -> None:
    status(project, "draw_a", state="done", started=101.0, elapsed_s=10.0, last_s=10.0)
    assert stands(project, "train", 100.0) == Place(2, 3, 70.0)
    assert stands(project, "draw_b", 100.0) == Place(2, 5, 20.0 + 30.0 + 40.0 + 50.0)


def test_stages_that_never_ended_well_are_ahead(project: Path) -> None:
    status(project, "other", state="failed", started=1.0, last_s=None)
    assert stands(project, "train", 100.0) == Place(1, 3, None)
    (project / "seconds.json").write_text(json.dumps({"other": 7.0}))
    assert stands(project, "train", 100.0, "seconds.json") == Place(1, 3, 77.0)


def test_a_first_run_is_scaled_by_what_it_has_done(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "seconds.json").write_text(json.dumps(dict.fromkeys(LABELS, 100.0)))
    assert stands(tmp_path, "draw_a", 100.0) == Place(1, 5, None)
    assert stands(tmp_path, "draw_a", 100.0, "seconds.json") == Place(1, 5, 500.0)
    status(tmp_path, "draw_a", state="done", started=101.0, elapsed_s=200.0, last_s=200.0)
    assert stands(tmp_path, "draw_b", 100.0, "seconds.json") == Place(2, 5, 800.0)


@pytest.mark.parametrize("text", ["", "stages: [1]", "stages: {a: 3}", "{", "other: 1"])
def test_no_place_without_a_pipeline(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    assert stands(tmp_path, "a", 0.0) is None
    assert place("a", tmp_path / "none.yaml", tmp_path, 0.0) is None


def test_no_place_for_a_stranger(project: Path) -> None:
    assert stands(project, "somebody", 0.0) is None


def test_words() -> None:
    assert str(Place(5, 19, 1230.0)) == "stage 5 of 19, about 20 min left"
    assert str(Place(1, 2, 42.4)) == "stage 1 of 2, about 42 s left"
    assert str(Place(1, 1, None)) == "stage 1 of 1"
